"""Vendor files through bioio, where it is installed."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_superres.errors import InputError, UnreadableError
from napari_superres.formats import read

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("bioio_czi", reason="needs the extra 'vendor'")


def test_the_scenes_of_a_real_czi_are_series(shared: Path) -> None:
    """Only the first image of a file with several can be opened."""
    path = shared / "real" / "xyz_multiple_images.czi"
    images = [read(path, series=series) for series in (0, 1)]
    for image in images:
        assert (image.axes, image.shape, image.dtype) == ("zyx", (2, 251, 251), np.uint16)
        assert image.pixel_size == pytest.approx((0.3, 0.19564, 0.19564), rel=1e-4)
        assert image.units == ("micrometer",) * 3
        assert [channel.name for channel in image.channels] == ["ChA"]
        assert "Plan-Apochromat 40x/1.4" in image.metadata["ome_xml"]
        assert image.data.chunksize == (1, 251, 251)
    first, second = (image.data.compute() for image in images)
    assert not np.array_equal(first, second)
    with pytest.raises(InputError, match="no series 2; it holds 2"):
        read(path, series=2)


def test_a_czi_travels(shared: Path) -> None:
    """Workers of a cluster cannot read the source."""
    data = read(shared / "real" / "xyz_multiple_images.czi", series=1).data
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data)).compute(), data.compute())


def test_a_damaged_vendor_file_is_refused(tmp_path: Path) -> None:
    """A file that is no CZI gives a traceback."""
    (tmp_path / "a.czi").write_bytes(b"nonsense" * 100)
    with pytest.raises(UnreadableError, match=r"a\.czi' cannot be read"):
        read(tmp_path / "a.czi")
