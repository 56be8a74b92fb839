"""One function opens everything, and says what it cannot open."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_superres
from napari_superres.errors import InputError, MissingDependencyError, UnreadableError
from napari_superres.formats import READERS, read
from napari_superres.formats.suffixes import split_suffix
from tests.formats.tiff_files import VARIANTS, picture

if TYPE_CHECKING:
    from pathlib import Path


def test_a_path_may_be_a_text_or_a_path_or_start_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that works in the shell does not work here."""
    path, pixels = VARIANTS[0].make(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for way in (path, str(path), f"~{os.sep}{path.name}"):
        np.testing.assert_array_equal(napari_superres.read(way).data.compute(), pixels)


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    """A script that catches FileNotFoundError stops all the same."""
    path = tmp_path / "nothing.tif"
    with pytest.raises(FileNotFoundError) as caught:
        read(path)
    assert isinstance(caught.value, UnreadableError)
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == str(path)
    assert f"'{path}' does not exist" in str(caught.value)


def test_an_unknown_suffix_lists_what_is_known(tmp_path: Path) -> None:
    """Nobody learns which formats there are."""
    (tmp_path / "a.xyz").write_bytes(b"?")
    with pytest.raises(UnreadableError, match=r"a\.xyz.* is not known.*\.ome\.tif.*\.png"):
        read(tmp_path / "a.xyz")


def test_a_folder_of_pictures_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """A folder of planes opens as nothing, or in the order of its names."""
    for i in range(3):
        VARIANTS[-1].make(tmp_path)[0].rename(tmp_path / f"{i}.tif")
    with pytest.raises(InputError, match="a folder with 3 pictures") as caught:
        read(tmp_path)
    assert "Image Sequence" in caught.value.hint


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind here")
def test_a_file_without_permission_is_told(tmp_path: Path) -> None:
    """A file of another user gives a traceback."""
    for path in (VARIANTS[0].make(tmp_path)[0], tmp_path / "a.png"):
        path.touch()
        path.chmod(0)
        with pytest.raises(UnreadableError, match="cannot be read"):
            read(path)


@pytest.mark.parametrize("suffix", [".czi", ".nd2", ".lif"])
def test_a_vendor_file_names_the_extra_that_reads_it(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with a CZI file gives up, although one command would do."""
    monkeypatch.setitem(__import__("sys").modules, f"bioio_{suffix[1:]}", None)
    (tmp_path / f"a{suffix}").write_bytes(b"anything")
    with pytest.raises(MissingDependencyError) as caught:
        read(tmp_path / f"a{suffix}")
    assert 'pip install "napari-superres[vendor]"' in str(caught.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/cells.ome.tif", ("cells", ".ome.tif")),
        ("Cells.OME.TIFF", ("Cells", ".ome.tiff")),
        ("a.b.tif", ("a.b", ".tif")),
        ("https://x.org/a.ome.zarr/", ("a", ".ome.zarr")),
        ("notes.txt", ("notes.txt", "")),
    ],
)
def test_the_longest_suffix_counts(path: str, expected: tuple[str, str]) -> None:
    """A result is called 'cells.ome_x4'."""
    assert split_suffix(path) == expected


def test_upper_case_suffixes_are_read(tmp_path: Path) -> None:
    """Files from an old Windows program are of an unknown format."""
    path, pixels = VARIANTS[-3].make(tmp_path)
    other = path.rename(tmp_path / "A.TIF")
    np.testing.assert_array_equal(read(other).data.compute(), pixels)


def test_every_reader_exists_and_has_the_one_function() -> None:
    """A format is in the list and fails on its first file."""
    for module in set(READERS.values()):
        found = __import__(module, fromlist=["open_image"])
        assert callable(found.open_image)
    assert picture((1, 1), "uint8").shape == (1, 1)
