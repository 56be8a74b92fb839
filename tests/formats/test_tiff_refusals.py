"""Files that cannot be used are refused in one sentence: which file, what is wrong, what to do."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003
from xml.sax.saxutils import escape

import numpy as np
import pytest
import tifffile

from napari_superres.errors import AxesError, InputError, UnreadableError
from napari_superres.formats import read
from tests.formats.records import RECORD
from tests.formats.tiff_files import (
    VARIANTS,
    Variant,
    as_image_order,
    cut,
    ome_text,
    picture,
    write_multi_file_ome,
    write_ome,
)


def refused(path: Path, what: str, error: type[Exception] = UnreadableError) -> str:
    """Read a file that must be refused, and return the message."""
    with pytest.raises(error, match=what) as caught:
        read(path).data.compute()
    message = str(caught.value)
    assert path.name in message or path.stem in message
    assert message.rstrip().endswith(".")
    assert "Traceback" not in message
    return message


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """A failed download gives a traceback."""
    (tmp_path / "a.tif").write_bytes(b"")
    refused(tmp_path / "a.tif", "is empty")


@pytest.mark.parametrize("content", [b"II*\0", b"GIF89a....", b"II*\0\x08\0\0\0" + b"\xff" * 20])
def test_what_is_no_tiff_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file with the wrong suffix gives a traceback."""
    (tmp_path / "a.tif").write_bytes(content)
    refused(tmp_path / "a.tif", "not a complete TIFF|truncated or damaged")


@pytest.mark.parametrize("fraction", [0.02, 0.6, 0.99])
@pytest.mark.parametrize(
    "variant",
    [v for v in VARIANTS if len(v.shape) > 2 or v.options.get("compression")],
    ids=lambda v: v.name,
)
def test_a_truncated_file_is_refused(variant: Variant, fraction: float, tmp_path: Path) -> None:
    """A stack that was cut off by a full disk is upscaled as a shorter stack, or with zeros."""
    path, pixels = variant.make(tmp_path)
    cut(path, fraction)
    try:
        image = read(path, axes=variant.axes if variant.asked else None)
    except UnreadableError:
        return
    # Where the last bytes held nothing but a list of pages, everything is still there.
    assert any("list of pages is damaged" in warning for warning in image.warnings)
    np.testing.assert_array_equal(image.data.compute(), as_image_order(pixels, variant))


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzw", "jpeg2000"])
def test_a_corrupt_tile_is_refused_when_it_is_read(compression: str, tmp_path: Path) -> None:
    """One bad block on the disk loses the whole image, or passes as pixels."""
    path = tmp_path / "a.ome.tif"
    pixels = picture((3, 96, 96), "uint16")
    tifffile.imwrite(path, pixels, tile=(32, 32), compression=compression,
                     metadata={"axes": "ZYX"}, photometric="minisblack")  # fmt: skip
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[1].dataoffsets[4], tif.pages[1].databytecounts[4]
    with open(path, "rb+") as file:
        file.seek(offset)
        file.write(b"\xff\x00" * (count // 2))
    image = read(path)
    np.testing.assert_array_equal(image.data[0].compute(), pixels[0])  # the rest can be read
    np.testing.assert_array_equal(image.data[1, :32].compute(), pixels[1, :32])
    with pytest.raises(UnreadableError, match=r"a\.ome\.tif.*tile 4 of plane 1 cannot be decoded"):
        image.data[1].compute()


def test_fewer_planes_than_ome_declares_are_refused(tmp_path: Path) -> None:
    """The missing z-slices of an interrupted acquisition become black ones."""
    pixels = picture((6, 20, 30), "uint16")
    xml = ome_text('SizeX="30" SizeY="20" SizeZ="9"', '<TiffData IFD="0" PlaneCount="9"/>')
    path = write_ome(tmp_path / "a.ome.tif", pixels, xml)
    refused(path, "declares 9 planes, but only 6 of them are there")


def test_fewer_planes_than_imagej_declares_are_refused(tmp_path: Path) -> None:
    """The same for stacks of ImageJ."""
    path = tmp_path / "a.tif"
    description = "ImageJ=1.54f\nimages=9\nslices=9\n"
    with tifffile.TiffWriter(path, byteorder=">") as tif:
        for i, plane in enumerate(picture((6, 20, 30), "uint16")):
            tif.write(plane, description=description if i == 0 else None, metadata=None,
                      compression="zlib")  # fmt: skip
    refused(path, "declares 9 planes, but only 6 of them are there")


def test_fewer_planes_than_tifffile_declares_are_refused(tmp_path: Path) -> None:
    """The same for the shape that tifffile notes."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for i, plane in enumerate(picture((6, 20, 30), "uint16")):
            description = None if i else '{"shape": [9, 20, 30], "axes": "ZYX"}'
            tif.write(plane, description=description, metadata=None, compression="zlib")
    refused(path, "declares 9 planes, but only")


def test_a_missing_file_of_a_data_set_is_named(tmp_path: Path) -> None:
    """One plane that was not copied becomes a black one."""
    path, _ = write_multi_file_ome(tmp_path)
    (tmp_path / "plane2.ome.tif").unlink()
    refused(path, "declares 3 planes, but only 2 of them are there")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.tif",
        "../../../../etc/passwd",
        "/etc/passwd",
        "C:\\Users\\secret.tif",
        "sub/plane.tif",
        "..",
        "",
    ],
)
def test_a_file_name_that_leaves_the_folder_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file from a stranger reads other files of the user into a picture."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "sub").mkdir()
    for place in (tmp_path / "secret.tif", folder / "sub" / "plane.tif"):
        tifffile.imwrite(place, picture((20, 30), "uint16"))
    entry = f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData>'
    xml = ome_text('SizeX="30" SizeY="20"', entry)
    path = write_ome(folder / "a.ome.tif", picture((1, 20, 30), "uint16"), xml)
    opened: list[str] = []
    real = tifffile.TiffFile

    def watching(file: str, **options: object) -> tifffile.TiffFile:
        opened.append(file)
        return real(file, **options)

    monkeypatch.setattr("tifffile.TiffFile", watching)
    refused(path, "name a file outside its folder")
    assert set(opened) == {str(path)}


def test_a_pointer_to_metadata_outside_is_refused(tmp_path: Path) -> None:
    """The same through the other way of naming a file."""
    xml = '<OME><BinaryOnly MetadataFile="../../etc/passwd" UUID="urn:uuid:0"/></OME>'
    path = write_ome(tmp_path / "a.ome.tif", picture((1, 20, 30), "uint16"), xml)
    refused(path, "name a file outside its folder")


def test_ome_metadata_cut_in_half_are_told(tmp_path: Path) -> None:
    """Pixel sizes vanish without a word."""
    xml = ome_text('SizeX="30" SizeY="20"', '<TiffData IFD="0" PlaneCount="1"/>')
    plane = picture((1, 20, 30), "uint16")
    path = write_ome(tmp_path / "a.ome.tif", plane, xml[: len(xml) // 2])
    image = read(path)
    np.testing.assert_array_equal(image.data.compute(), plane[0])
    assert any("OME metadata unreadable" in warning for warning in image.warnings)
    stack = write_ome(tmp_path / "b.ome.tif", picture((4, 20, 30), "uint16"), xml[: len(xml) // 2])
    refused(stack, "does not say which of its axes", AxesError)
    assert read(stack, axes="zyx").warnings == image.warnings


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("history", "{"),
        ("image", "[1]"),
        ("image", '{"pixel_size": 5}'),
        ("image", '{"translation": {"x": []}}'),
        ("image", '{"units": {"x": 1}}'),
        ("image", '{"windows": [[1]]}'),
    ],
)
def test_a_damaged_record_of_ours_is_told(tmp_path: Path, key: str, text: str) -> None:
    """A result that somebody edited ends in a traceback."""
    image = read(result_with(tmp_path, key, text))
    assert any("OME metadata unreadable: " in warning for warning in image.warnings)


DAMAGED = [
    json.dumps([{**RECORD, **wrong}])
    for wrong in (
        {"weights": None},
        {"trained_on": None},
        {"plan": {**RECORD["plan"], "consistency": "none"}},
        {"plan": {**RECORD["plan"], "denoise": None}},
        {"plan": {k: v for k, v in RECORD["plan"].items() if k != "axes"}},
    )
]


@pytest.mark.parametrize("text", ["0", '["x"]', '[{"model": "x"}]', '[{"plan": {}}]', *DAMAGED])
def test_a_damaged_history_costs_nothing_else(tmp_path: Path, text: str) -> None:
    """Half a history is told as the whole, or ends the program that tells it."""
    image = read(result_with(tmp_path, "history", text))
    assert image.history == ()
    assert ["history" in warning for warning in image.warnings] == [True]
    assert "ome_xml" in image.metadata


def result_with(folder: Path, key: str, text: str) -> Path:
    """Write a file in which an entry of what we store is this."""
    record = (
        '<StructuredAnnotations><MapAnnotation ID="Annotation:0" Namespace="napari-superres/1">'
        f'<Value><M K="{key}">{escape(text)}</M></Value></MapAnnotation></StructuredAnnotations>'
    )
    xml = ome_text('SizeX="30" SizeY="20"', '<TiffData IFD="0"/>', top=record)
    return write_ome(folder / "a.ome.tif", picture((1, 20, 30), "uint16"), xml)


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    """A file of a few bytes fills the memory with its billion laughs."""
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(9))
    xml = f'<?xml version="1.0"?><!DOCTYPE OME [{laughs}]>' + ome_text(
        'SizeX="30" SizeY="20"', '<TiffData IFD="0"/>', image="<Description>&l8;</Description>"
    ).removeprefix('<?xml version="1.0" encoding="UTF-8"?>')
    path = write_ome(tmp_path / "a.ome.tif", picture((1, 20, 30), "uint16"), xml)
    image = read(path)
    assert "ome_xml" not in image.metadata
    assert any("OME metadata unreadable" in warning for warning in image.warnings)


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    """Half of the numbers are thrown away in silence."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.complex64))
    refused(tmp_path / "a.tif", "complex numbers", InputError)


def test_an_image_without_pixels_is_refused(tmp_path: Path) -> None:
    """An empty image fails somewhere deep inside."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture((20, 30), "uint16"))
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageWidth"].overwrite(0)
    refused(path, "without pixels|header makes no sense", InputError)


def test_pieces_without_pixels_are_refused(tmp_path: Path) -> None:
    """Two bytes that went missing in a header end in a division by zero."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, picture((64, 80, 3), "uint8"), tile=(32, 32), compression="jpeg",
        photometric="ycbcr", subsampling=(2, 2),
    )  # fmt: skip
    with tifffile.TiffFile(path) as tif:
        places = [tif.pages[0].tags[tag].offset for tag in ("Compression", "TileLength")]
    with open(path, "rb+") as file:
        for place in places:
            file.seek(place)
            file.write(b"\x00\x01")  # the tag is called ImageWidth now
    refused(path, "header makes no sense")


def test_a_broken_list_of_pages_is_refused(tmp_path: Path) -> None:
    """A stack without metadata becomes a shorter stack where its list of pages breaks."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture((5, 20, 30), "uint16"), metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[2]
        end = page.offset + 2 + len(page.tags) * 12
    with open(path, "rb+") as file:
        file.seek(end)
        file.write((10**9).to_bytes(4, "little"))
    refused(path, "after 3 pages, the next page would start at byte 1,000,000,000")


def test_pages_in_a_circle_are_refused(tmp_path: Path) -> None:
    """Reading the list of pages never ends."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture((5, 20, 30), "uint16"), metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        first, last = tif.pages[0].offset, tif.pages[4]
        end = last.offset + 2 + len(last.tags) * 12
    with open(path, "rb+") as file:
        file.seek(end)
        file.write(first.to_bytes(4, "little"))
    refused(path, "runs in a circle")


def test_an_unknown_series_or_level_lists_what_there_is(tmp_path: Path) -> None:
    """A wrong number gives an IndexError from a library."""
    tifffile.imwrite(tmp_path / "a.tif", picture((20, 30), "uint16"))
    with pytest.raises(InputError, match=r"no series 3; it holds 1 .*20 x 30"):
        read(tmp_path / "a.tif", series=3)
    with pytest.raises(InputError, match="no level 1; it holds 1"):
        read(tmp_path / "a.tif", level=1)
    with pytest.raises(InputError, match="no series -1"):
        read(tmp_path / "a.tif", series=-1)
