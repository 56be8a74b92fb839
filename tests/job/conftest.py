"""Small jobs with many blocks, so that whole stories take a second."""

from __future__ import annotations

import hashlib
import shutil
import time
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

from napari_superres.formats import ome_zarr_layout, pyramid
from napari_superres.image import Image
from napari_superres.progress import tick

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks of 64 pixels, chunks of 16, and levels down to 8: two passes for 150 pixels."""
    monkeypatch.setattr(ome_zarr_layout, "BLOCK", 64)
    monkeypatch.setattr(ome_zarr_layout, "CHUNK", 16)
    monkeypatch.setattr(pyramid, "SMALLEST_SIDE", 8)


class Source:
    """Pixels that are made when they are asked for; a lazy array without a file.

    Parameters
    ----------
    shape : tuple of int
    seconds : float
        How long each block takes, with a tick every hundredth.
    quick : int
        How many blocks take no time, before.
    poison : tuple of int, optional
        A pixel that cannot be read; ``()`` for all of them.
    error : Exception, optional
        What is raised there.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        seconds: float = 0.0,
        quick: int = 0,
        poison: tuple[int, ...] | None = None,
        error: BaseException | None = None,
    ) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = np.dtype(np.uint16)
        self.seconds = seconds
        self.quick = quick
        self.poison = poison
        self.error = error or OSError("this pixel is cursed")

    def __dask_tokenize__(self) -> Any:
        return "Source", self.shape

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        """Return the pixels of a region."""
        steps = 0 if self.quick > 0 else round(self.seconds * 100)
        self.quick -= 1
        for step in range(steps):
            time.sleep(0.01)
            tick(step + 1, steps)
        ranges = [range(n)[part] for n, part in zip(self.shape, key, strict=True)]
        pairs = zip(self.poison or (), ranges, strict=False)
        if self.poison is not None and all(p in r for p, r in pairs):
            raise self.error
        grid = np.meshgrid(*ranges, indexing="ij", sparse=True)
        # The empty plane z=1 is zeros all over: zarr would not write its chunks.
        values = sum(g * f for g, f in zip(grid, (1009, 31, 7, 3), strict=False))
        return np.where(grid[0] == 1, 0, values % 4093).astype(self.dtype)


def stack(
    shape: tuple[int, ...] = (3, 150, 170), axes: str = "zyx", *, chunk: int = 64, **options: Any
) -> Image:
    """Return a lazy image over `Source`, in dask chunks of some pixels along y and x."""
    array = Source(shape, **options)
    data = da.from_array(
        array,
        chunks=(1,) * (len(shape) - 2) + (chunk, chunk),
        name=f"source-{shape}",
        fancy=False,
        inline_array=True,
        meta=np.empty((0,) * len(shape), array.dtype),
    )
    return Image(data, axes, pixel_size=(1.0, 0.5, 0.5), units=("micrometer",) * 3)


def tree(root: Path) -> dict[str, str]:
    """Return a hash of every file below a folder."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def part_of(path: Path) -> Path:
    """Return the folder in which a result grows."""
    return path.with_name(path.name + ".part")


def shards_in(path: Path) -> list[Path]:
    """Return the files of finished blocks of an unfinished result."""
    return sorted(p for p in (part_of(path) / "image.zarr").rglob("c/**/*") if p.is_file())


def snapshot(folder: Path, to: Path) -> None:
    """Copy what a kill would leave: without a scratch file that goes while it is copied."""
    for _ in range(100):
        try:
            shutil.copytree(folder, to)
        except shutil.Error:
            shutil.rmtree(to)
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{folder} did not come to rest")
