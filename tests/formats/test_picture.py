"""PNG and JPEG: single pictures in and out."""

from __future__ import annotations

import pickle
import struct
import zlib
from typing import TYPE_CHECKING

import dask.array as da
import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_superres.errors import AxesError, InputError, OutputError, UnreadableError
from napari_superres.formats import read
from napari_superres.formats.decoded_cache import decoded
from napari_superres.formats.picture import write_png
from napari_superres.formats.picture_header import RECORD
from napari_superres.image import Image
from napari_superres.job import write
from napari_superres.upscaling import upscale
from tests.formats.tiff_files import picture
from tests.strategies import pixels, regions

if TYPE_CHECKING:
    from pathlib import Path


def save(path: Path, array: np.ndarray) -> Path:
    """Encode a picture, and return its path."""
    encode = imagecodecs.png_encode if path.suffix == ".png" else imagecodecs.jpeg_encode
    path.write_bytes(encode(np.ascontiguousarray(array)))
    return path


@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [
        ((40, 50), "uint8", "yx"),
        ((40, 50), "uint16", "yx"),
        ((40, 50, 3), "uint8", "yxs"),
        ((40, 50, 4), "uint8", "yxs"),
        ((40, 50, 3), "uint16", "cyx"),  # colours have 8 bits; more is measured
        ((40, 50, 2), "uint8", "cyx"),
        ((1, 7), "uint8", "yx"),
        ((1, 1), "uint16", "yx"),
    ],
)
def test_png_reads_pixel_for_pixel(
    shape: tuple[int, ...], dtype: str, axes: str, tmp_path: Path
) -> None:
    """A picture comes in transposed, or with 8 of its 16 bits."""
    array = picture(shape, dtype)
    image = read(save(tmp_path / "a.png", array))
    expected = np.moveaxis(array, -1, 0) if axes == "cyx" else array
    assert (image.axes, image.dtype) == (axes, np.dtype(dtype))
    np.testing.assert_array_equal(image.data.compute(), expected)
    np.testing.assert_array_equal(image.data[..., :3, 1:].compute(), expected[..., :3, 1:])


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_jpeg_reads_as_its_decoder_does(shape: tuple[int, ...], tmp_path: Path) -> None:
    """JPEG colours come out swapped."""
    path = save(tmp_path / "a.jpg", picture(shape, "uint8"))
    image = read(path)
    np.testing.assert_array_equal(image.data.compute(), imagecodecs.jpeg_decode(path.read_bytes()))


def test_opening_decodes_nothing_and_reading_decodes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tile of a picture decodes the whole picture again."""
    array = picture((300, 200, 3), "uint8")
    path = save(tmp_path / "a.png", array)
    decoded.clear()
    calls: list[int] = []
    real = imagecodecs.png_decode

    def counting(data: bytes) -> np.ndarray:
        calls.append(len(data))
        return real(data)

    monkeypatch.setattr("imagecodecs.png_decode", counting)
    image = read(path)
    assert not calls
    for y in range(0, 300, 50):
        np.testing.assert_array_equal(image.data[y : y + 50].compute(), array[y : y + 50])
    assert len(calls) == 1


def test_a_picture_travels(tmp_path: Path) -> None:
    """Workers of a cluster cannot read the source."""
    array = picture((40, 50), "uint8")
    data = pickle.loads(pickle.dumps(read(save(tmp_path / "a.png", array)).data))
    np.testing.assert_array_equal(data.compute(), array)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_picture_is_refused_when_it_is_opened(
    kind: str, fraction: float, tmp_path: Path
) -> None:
    """The missing half of a JPEG is upscaled as gray, which decoders put there in silence."""
    path = save(tmp_path / f"a.{kind}", picture((200, 200, 3), "uint8"))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(UnreadableError, match=f"a.{kind}"):
        read(path)


def test_a_damaged_png_is_refused_when_it_is_read(tmp_path: Path) -> None:
    """Damaged pixels pass, although PNG has checksums."""
    path = save(tmp_path / "a.png", picture((200, 200), "uint8"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match=r"a\.png' is damaged"):
        read(path).data.compute()


def test_a_text_with_the_suffix_of_a_picture_is_refused(tmp_path: Path) -> None:
    """A web page that was saved as a picture gives a traceback."""
    (tmp_path / "a.jpg").write_text("<html>not found</html>")
    with pytest.raises(UnreadableError, match="neither PNG nor JPEG"):
        read(tmp_path / "a.jpg")


def test_transparency_of_a_palette_is_known_before_decoding(tmp_path: Path) -> None:
    """A picture with a transparent colour changes its shape when it is read."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = (2).to_bytes(4) + (2).to_bytes(4) + bytes([8, 2, 0, 0, 0])
    row = bytes([0, 1, 2, 3, 4, 5, 6])
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3]))
        + chunk(b"IDAT", zlib.compress(row * 2)) + chunk(b"IEND", b"")
    )  # fmt: skip
    image = read(path)
    assert image.data.compute().shape == image.shape == (2, 2, 4)


def test_the_colours_of_a_printer_are_refused(tmp_path: Path) -> None:
    """CMYK is shown with inverted colours."""
    data = imagecodecs.jpeg_encode(picture((16, 16, 4), "uint8"), colorspace="CMYK",
                                   outcolorspace="CMYK")  # fmt: skip
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(InputError, match="CMYK"):
        read(tmp_path / "a.jpg")


def test_axes_of_a_picture_can_be_named(tmp_path: Path) -> None:
    """The three colours of a fluorescence snapshot cannot be taken as channels."""
    array = picture((40, 50, 3), "uint8")
    path = save(tmp_path / "a.png", array)
    assert read(path, axes="yxc").axes == "cyx"
    assert read(path, axes="cyx").shape == (3, 40, 50)
    for axes in ("yx", "zyxs", "xys"):
        with pytest.raises(AxesError):
            read(path, axes=axes)
    with pytest.raises(InputError, match="series 0 and level 0"):
        read(path, series=1)


@st.composite
def planes(draw: st.DrawFn) -> np.ndarray:
    """Draw a plane that PNG can hold."""
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    samples = draw(st.sampled_from([(), (3,), (4,)]))
    return draw(pixels((*shape, *samples), draw(st.sampled_from(["uint8", "uint16"]))))


@settings(max_examples=60, deadline=None)
@given(array=planes(), data=st.data())
def test_what_is_written_is_read(
    array: np.ndarray, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A plane changes between the viewer and the file."""
    path = tmp_path_factory.mktemp("png") / "a.png"
    write_png(da.from_array(array, chunks=3), str(path))
    got = read(path, axes="yxs" if array.ndim == 3 else "yx").data
    region = data.draw(regions(array.shape))
    np.testing.assert_array_equal(got[region].compute(), array[region])


def test_a_picture_says_how_it_was_made(tmp_path: Path) -> None:
    """A slide shows a result, and nobody knows which model made it."""
    path = tmp_path / "a.png"
    array = picture((40, 50), "uint16")
    source = Image(da.from_array(array), "yx", name="µ cells")
    write(upscale(source, "bicubic", scale=2), path)
    image = read(path)
    assert [record["model"] for record in image.history] == ["bicubic"]
    assert image.history[0]["source"]["name"] == "µ cells"
    expected = upscale(array, "bicubic", scale=2)
    np.testing.assert_array_equal(image.data, expected)
    np.testing.assert_array_equal(imagecodecs.imread(path), expected)


@pytest.mark.parametrize(
    "words",
    ["{oops", "[1]", '{"history": 3}', '{"history": ["x"]}', '{"history": [{"model": "x"}]}'],
)
def test_a_damaged_history_is_told_and_the_picture_opens(words: str, tmp_path: Path) -> None:
    """What was said of the picture is lost, the picture is not."""
    path = tmp_path / "a.png"
    array = picture((4, 5), "uint8")
    write_png(array, str(path), [{"model": "x"}])
    whole = path.read_bytes()
    start = whole.index(b"tEXt")
    text = b"tEXt" + RECORD + b"\0" + words.encode()
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(whole[: start - 4] + chunk + whole[-12:])
    image = read(path)
    assert image.history == ()
    assert "history" in image.warnings[0]
    np.testing.assert_array_equal(image.data, array)


def test_a_mask_is_written_black_and_white(tmp_path: Path) -> None:
    """A mask of 0 and 1 looks black."""
    write_png(np.array([[True, False]]), str(tmp_path / "a.png"))
    assert read(tmp_path / "a.png").data.compute().tolist() == [[255, 0]]


@pytest.mark.parametrize(
    "plane", [np.zeros((4, 5), np.float32), np.zeros((2, 4, 5), np.uint8), np.zeros(3, np.uint8)]
)
def test_what_png_cannot_hold_is_refused(plane: np.ndarray, tmp_path: Path) -> None:
    """Float pixels are cut to bytes, or a stack to its first plane."""
    with pytest.raises(InputError, match=r"a\.png"):
        write_png(plane, str(tmp_path / "a.png"))
    assert not (tmp_path / "a.png").exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A wrong folder gives a traceback."""
    with pytest.raises(OutputError, match="cannot be written"):
        write_png(np.zeros((4, 5), np.uint8), str(tmp_path / "no" / "a.png"))
