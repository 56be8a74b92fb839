"""Opening reads no pixel, reading reads no more than it must, and everything travels."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_superres.errors import UnreadableError
from napari_superres.formats import read, tiff_index
from napari_superres.formats.decoded_cache import DecodedCache, decoded
from napari_superres.formats.tiff_levels import OpenFiles
from tests.formats.tiff_files import VARIANTS, Variant, picture, write_multi_file_ome, write_pyramid


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of how many bytes of pixels each reading took."""
    taken: list[int] = []
    real = OpenFiles.read

    def counting(self: OpenFiles, path: str, offset: int, count: int) -> bytes:
        taken.append(count)
        return real(self, path, offset, count)

    monkeypatch.setattr(OpenFiles, "read", counting)
    decoded.clear()
    return taken


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_opening_reads_no_pixel(variant: Variant, tmp_path: Path, reads: list[int]) -> None:
    """Opening a stack of 100 GB takes an hour."""
    path, _ = variant.make(tmp_path)
    image = read(path, axes=variant.axes if variant.asked else None)
    image.data[..., :1].persist  # noqa: B018, a lazy result costs nothing either
    assert reads == []


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_window_reads_its_own_rows_or_tiles(
    compression: str | None, tmp_path: Path, reads: list[int]
) -> None:
    """The preview of a corner reads the whole slide."""
    pixels = picture((1000, 3000), "uint16")
    options = {"compression": compression, "tile": (128, 128)} if compression else {}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    image = read(tmp_path / "a.tif")
    got = image.data[200:300, 500:600].compute()
    np.testing.assert_array_equal(got, pixels[200:300, 500:600])
    assert sum(reads) < 400_000  # of 6 million; 9 tiles of 32 kB, or 100 rows of 200 bytes


def test_a_strip_is_decoded_once_for_neighbouring_windows(tmp_path: Path, reads: list[int]) -> None:
    """Each tile of a plane in one strip decodes the whole plane again: minutes, not seconds."""
    pixels = picture((600, 500), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", rowsperstrip=600)
    image = read(tmp_path / "a.tif")
    windows = [(slice(y, y + 100), slice(x, x + 100)) for y in range(0, 600, 100) for x in (0, 400)]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda w: image.data[w].compute(scheduler="synchronous"), windows))
    for window, part in zip(windows, parts, strict=True):
        np.testing.assert_array_equal(part, pixels[window])
    assert len(reads) == 1


def test_an_image_travels_to_another_process(tmp_path: Path) -> None:
    """Workers of a cluster, and any worker on Windows, cannot read the source."""
    levels = write_pyramid(tmp_path / "a.ome.tif")
    image = read(tmp_path / "a.ome.tif")
    (tmp_path / "image.pickle").write_bytes(pickle.dumps(image.data[:, 10:20, 30:50]))
    assert os.path.getsize(tmp_path / "image.pickle") < 20_000  # a place to look, not pixels
    code = (
        "import pickle, sys, numpy as np\n"
        "data = pickle.load(open(sys.argv[1], 'rb'))\n"
        "np.save(sys.argv[2], data.compute(scheduler='synchronous'))\n"
    )
    result = tmp_path / "result.npy"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "image.pickle"), str(result)], check=True
    )
    np.testing.assert_array_equal(np.load(result), levels[0][:, 10:20, 30:50])


def test_a_file_that_changes_underneath_is_noticed(tmp_path: Path) -> None:
    """Half of a result comes from yesterday's file and half from today's."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture((40, 50), "uint16"))
    image = read(path)
    tifffile.imwrite(path, picture((41, 50), "uint16"))
    with pytest.raises(UnreadableError, match="has changed since it was opened"):
        image.data.compute()


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_each_file_of_a_data_set_may_change_underneath(
    compression: str | None, tmp_path: Path
) -> None:
    """A plane that was acquired anew keeps its old pixels, until the program is started again."""
    path, pixels = write_multi_file_ome(tmp_path, compression)
    image = read(path)
    np.testing.assert_array_equal(image.data.compute(), pixels)
    other = pixels[1][::-1]
    tifffile.imwrite(
        tmp_path / "plane1.ome.tif", other, compression=compression, metadata=None,
        software="another",
    )  # fmt: skip
    np.testing.assert_array_equal(image.data[0].compute(), pixels[0])
    with pytest.raises(UnreadableError, match=r"plane1.*has changed since it was opened"):
        image.data.compute()
    np.testing.assert_array_equal(read(path).data.compute(), [pixels[0], other, pixels[2]])
    with pytest.raises(UnreadableError, match="has changed since it was opened"):
        image.data.compute()


def test_no_file_stays_open(tmp_path: Path) -> None:
    """On Windows a file that was looked at can be neither renamed nor deleted."""
    path, _ = VARIANTS[3].make(tmp_path)
    read(path).data.compute()
    open_paths = _open_paths()
    if open_paths is None:
        path.rename(tmp_path / "other.tif")  # fails on Windows with an open handle
    else:
        assert str(path) not in open_paths


def _open_paths() -> list[str] | None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return None
    return [os.readlink(link) for link in folder.iterdir() if link.is_symlink() and link.exists()]


def test_a_header_that_claims_any_size_opens_at_once(tmp_path: Path) -> None:
    """A damaged header, or a joke, fills the memory before any plan can refuse it."""
    path = tmp_path / "huge.tif"
    tifffile.imwrite(path, picture((40, 50), "uint16"))
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageWidth"].overwrite(2**31)
        tif.pages[0].tags["ImageLength"].overwrite(2**31)
    image = read(path)
    assert image.shape == (2**31, 2**31)
    assert image.data.npartitions < 2**17
    with pytest.raises(UnreadableError, match="truncated"):
        image.data[-10:, -10:].compute()


def test_many_pages_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long time series seems to hang the program at each read, not only when it is opened."""
    path = tmp_path / "many.ome.tif"
    pixels = np.zeros((2000, 8, 8), np.uint8)
    tifffile.imwrite(path, pixels, metadata={"axes": "TYX"}, photometric="minisblack",
                     compression="zlib")  # fmt: skip
    looked: list[str] = []
    real = tiff_index.follow_chain
    monkeypatch.setattr(tiff_index, "follow_chain", lambda p: looked.append(p) or real(p))
    image = read(path)
    for t in (0, 999, 1999):
        image.data[t].compute()
    assert read(path).shape == (2000, 8, 8)
    assert len(looked) == 1


class TestDecodedCache:
    """The cache of decoded pieces."""

    def test_a_piece_is_decoded_once_for_all_threads(self) -> None:
        """Four threads decode the same plane at the same time, in four times the memory."""
        cache, calls = DecodedCache(), []
        gate = threading.Barrier(4)

        def decode() -> np.ndarray:
            calls.append(1)
            time.sleep(0.05)
            return np.arange(5)

        def ask(_: int) -> np.ndarray:
            gate.wait()
            return cache.get("key", decode)

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(ask, range(4)))
        assert len(calls) == 1
        assert all(result is results[0] for result in results)

    def test_the_oldest_go_when_it_is_full(self) -> None:
        """Reading a long stack fills the memory."""
        cache = DecodedCache(capacity=100)
        for i in range(10):
            cache.get(i, lambda: np.zeros(40, np.uint8))
            assert cache.size <= 100
        fresh: list[int] = []
        cache.get(9, lambda: fresh.append(9) or np.zeros(1))
        cache.get(0, lambda: fresh.append(0) or np.zeros(40, np.uint8))
        assert fresh == [0]

    def test_an_error_is_told_to_all_and_not_kept(self) -> None:
        """One failed read makes a plane unreadable until the program ends."""
        cache = DecodedCache()

        def fail() -> np.ndarray:
            raise UnreadableError("broken")

        with pytest.raises(UnreadableError):
            cache.get("key", fail)
        assert cache.get("key", lambda: np.ones(1)).sum() == 1

    def test_what_is_shared_cannot_be_written_to(self) -> None:
        """One caller's arithmetic in place changes the pixels of all others."""
        kept = DecodedCache().get("key", lambda: np.ones(3))
        with pytest.raises(ValueError, match="read-only"):
            kept[0] = 5
