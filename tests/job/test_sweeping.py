"""The folder of a result that is there: swept now, or by the next run, and no fault of the job."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_superres as sr
from napari_superres.errors import OutputError
from napari_superres.job import folder, run, write
from napari_superres.job.exporting import is_streamable
from napari_superres.job.lock import Lock
from tests.job.conftest import part_of, stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.mark.parametrize("name", ["a.ome.zarr", "a.ome.tif"])
@pytest.mark.parametrize("removed", [0, 1])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_result_whose_folder_cannot_be_swept_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, removed: int, overwrite: bool
) -> None:
    """A virus scanner holds a file of the folder open, and a night's result is called failed."""
    path, remove = tmp_path / name, folder.remove
    left = [removed]

    def refuse(place: Path) -> None:
        if path.exists():
            left[0] -= 1
        if left[0] == -1:
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        remove(place)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "remove", refuse)
        write(stack(), path)
    assert left[0] == -1, "it was refused once"
    np.testing.assert_array_equal(sr.read(path).data, stack().data)
    assert part_of(path).exists()
    if overwrite:
        write(stack(), path, overwrite=True)
        np.testing.assert_array_equal(sr.read(path).data, stack().data)
    else:
        with pytest.raises(OutputError, match="exists already"):
            run(stack(), path)
    assert not part_of(path).exists()


def test_an_export_whose_folder_cannot_be_swept_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of `superres convert`."""
    image = sr.read(write(stack(), tmp_path / "in.ome.zarr"))
    assert is_streamable(image)
    path, remove = tmp_path / "a.ome.tif", folder.remove

    def refuse(place: Path) -> None:
        if path.exists():
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        remove(place)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "remove", refuse)
        write(image, path)
    np.testing.assert_array_equal(sr.read(path).data, stack().data)


def test_what_somebody_begins_beside_a_result_is_not_swept(tmp_path: Path) -> None:
    """The first part of a job has no list yet, and a second one takes that for rubbish."""
    path = write(stack(), tmp_path / "a.ome.zarr")
    scratch = part_of(path) / "scratch"
    scratch.mkdir(parents=True)
    with Lock(part_of(path) / "lock", path):
        with pytest.raises(OutputError, match="exists already"):
            run(stack(), path)
        assert scratch.exists()
    with pytest.raises(OutputError, match="exists already"):
        run(stack(), path)
    assert not part_of(path).exists()
