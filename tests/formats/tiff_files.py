"""TIFF files of every kind that a user may bring, made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

Maker = Callable[[Path, np.ndarray], None]


@dataclass(frozen=True)
class Variant:
    """One kind of file: how it is made, and what has to come out of it.

    `axes` is what the file says, or what a user has to say (`asked`).
    """

    name: str
    suffix: str
    axes: str
    shape: tuple[int, ...]
    dtype: str
    options: dict[str, Any]
    asked: bool = False
    lossless: bool = True
    writer: dict[str, Any] | None = None
    photometric: str = "minisblack"

    def make(self, folder: Path) -> tuple[Path, np.ndarray]:
        """Write the file, and return it with its pixels as tifffile reads them."""
        path = folder / f"{self.name}{self.suffix}"
        pixels = picture(self.shape, self.dtype)
        options = {"photometric": self.photometric, **self.options}
        with tifffile.TiffWriter(path, **(self.writer or {})) as tif:
            tif.write(pixels, **options)
        return path, pixels if self.lossless else tifffile.imread(path)


def picture(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return pixels that differ everywhere: an index or a transposition that is wrong shows."""
    rng = np.random.default_rng(sum(shape))
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) > 0.5
    if kind == "f":
        return rng.normal(100, 30, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


_ZYX = {"axes": "ZYX"}
_OME = {"ome": True}

VARIANTS = [
    Variant("ome-plain", ".ome.tif", "tczyx", (2, 2, 3, 40, 50), "uint16",
            {"metadata": {"axes": "TCZYX"}}),
    Variant("ome-lzw", ".ome.tif", "zyx", (3, 40, 50), "uint16",
            {"metadata": _ZYX, "compression": "lzw"}),
    Variant("ome-deflate", ".ome.tif", "zyx", (3, 40, 50), "uint16",
            {"metadata": _ZYX, "compression": "zlib", "rowsperstrip": 7}),
    Variant("ome-zstd-tiled", ".ome.tif", "zyx", (3, 140, 150), "uint16",
            {"metadata": _ZYX, "compression": "zstd", "tile": (32, 48)}),
    Variant("ome-jpeg2000", ".ome.tif", "zyx", (3, 40, 50), "uint16",
            {"metadata": _ZYX, "compression": "jpeg2000", "tile": (32, 32)}),
    Variant("ome-lzma", ".ome.tif", "zyx", (3, 40, 50), "uint16",
            {"metadata": _ZYX, "compression": "lzma"}),
    Variant("ome-packbits", ".ome.tif", "zyx", (3, 40, 50), "uint8",
            {"metadata": _ZYX, "compression": "packbits"}),
    Variant("plain-jpeg-rgb", ".tif", "yxs", (64, 80, 3), "uint8",
            {"compression": "jpeg", "tile": (32, 32)}, lossless=False, photometric="rgb"),
    Variant("ome-predictor-2", ".ome.tif", "zyx", (3, 40, 50), "uint16",
            {"metadata": _ZYX, "compression": "zlib", "predictor": 2}),
    Variant("ome-predictor-3", ".ome.tif", "zyx", (3, 40, 50), "float32",
            {"metadata": _ZYX, "compression": "zlib", "predictor": 3}),
    Variant("ome-bigtiff", ".ome.btf", "zyx", (3, 40, 50), "uint16",
            {"metadata": _ZYX}, writer={"bigtiff": True, "ome": True}),
    Variant("ome-big-endian", ".ome.tif", "zyx", (3, 40, 50), "uint16",
            {"metadata": _ZYX}, writer={"byteorder": ">"}),
    Variant("ome-big-endian-lzw", ".ome.tif", "zyx", (3, 40, 50), "float32",
            {"metadata": _ZYX, "compression": "lzw"}, writer={"byteorder": ">"}),
    Variant("imagej-hyperstack", ".tif", "tzcyx", (2, 3, 2, 40, 50), "uint16",
            {"metadata": {"axes": "TZCYX"}}, writer={"imagej": True}),
    Variant("imagej-rgb", ".tif", "zyxs", (3, 40, 50, 3), "uint8",
            {"metadata": {"axes": "ZYXS"}}, writer={"imagej": True}, photometric="rgb"),
    Variant("shaped-named", ".tif", "zyx", (5, 40, 50), "uint16", {"metadata": _ZYX}),
    Variant("shaped-unnamed", ".tif", "zyx", (5, 40, 50), "uint16", {}, asked=True),
    Variant("shaped-volume-unnamed", ".tif", "tzyx", (2, 5, 40, 50), "uint8",
            {"compression": "zlib"}, asked=True),
    Variant("without-metadata", ".tif", "zyx", (5, 40, 50), "uint16", {"metadata": None},
            asked=True),
    Variant("rgba-contiguous", ".tif", "yxs", (40, 50, 4), "uint8",
            {"extrasamples": "unassalpha"}, photometric="rgb"),
    Variant("ome-rgb-planar", ".ome.tif", "yxs", (3, 40, 50), "uint8",
            {"metadata": {"axes": "SYX"}, "planarconfig": "separate"}, photometric="rgb"),
    Variant("sixteen-bit-rgb", ".tif", "cyx", (40, 50, 3), "uint16", {}, photometric="rgb"),
    Variant("ome-sixteen-bit-rgb", ".ome.tif", "zcyx", (4, 40, 50, 3), "uint16",
            {"metadata": {"axes": "ZYXS"}, "compression": "zlib"}, photometric="rgb"),
    Variant("bool", ".tif", "yx", (40, 50), "bool", {}),
    Variant("float16", ".tif", "yx", (40, 50), "float16", {"compression": "zlib"}),
    Variant("float64", ".ome.tif", "yx", (40, 50), "float64", {}),
    Variant("int64", ".tif", "yx", (40, 50), "int64", {}),
    Variant("int8", ".ome.tif", "cyx", (2, 40, 50), "int8", {"metadata": {"axes": "CYX"}}),
    Variant("tiled-uncompressed", ".ome.tif", "zyx", (2, 100, 90), "uint16",
            {"metadata": _ZYX, "tile": (32, 32)}),
    Variant("one-row", ".tif", "yx", (1, 7), "uint16", {}),
    Variant("one-pixel", ".tif", "yx", (1, 1), "uint8", {}),
    Variant("twelve-bit", ".tif", "yx", (40, 51), "uint16", {"bitspersample": 16}),
]  # fmt: skip


def as_image_order(pixels: np.ndarray, variant: Variant) -> np.ndarray:
    """Return pixels as `Image` has them: y, x last, then the samples of a colour picture."""
    if variant.name == "ome-rgb-planar":
        return np.moveaxis(pixels, 0, -1)
    if "sixteen-bit-rgb" in variant.name:
        return np.moveaxis(pixels, -1, -3)
    return pixels


def write_pyramid(path: Path, shape: tuple[int, ...] = (2, 256, 200)) -> list[np.ndarray]:
    """Write an OME-TIFF with three levels in SubIFDs, and return them."""
    full = picture(shape, "uint16")
    levels = [full, full[:, ::2, ::2], full[:, ::4, ::4]]
    with tifffile.TiffWriter(path) as tif:
        options = {"tile": (64, 64), "compression": "zlib", "photometric": "minisblack"}
        metadata = {"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": 0.2, "PhysicalSizeYUnit": "µm"}  # fmt: skip
        tif.write(levels[0], subifds=2, metadata=metadata, **options)
        for level in levels[1:]:
            tif.write(level, subfiletype=1, **options)
    return levels


def write_multi_file_ome(folder: Path, compression: str | None = None) -> tuple[Path, np.ndarray]:
    """Write a stack of three planes in three files that name one another; return the first."""
    pixels = picture((3, 20, 30), "uint16")
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(3)]
    entries = "".join(
        f'<TiffData FirstZ="{i}" FirstC="0" FirstT="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="plane{i}.ome.tif">{uuid}</UUID></TiffData>'
        for i, uuid in enumerate(uuids)
    )
    for i, uuid in enumerate(uuids):
        xml = ome_text(f'SizeZ="3" {_XY}', entries, f'UUID="{uuid}"')
        tifffile.imwrite(
            folder / f"plane{i}.ome.tif", pixels[i], description=xml.encode(), metadata=None,
            ome=False, compression=compression,
        )  # fmt: skip
    return folder / "plane0.ome.tif", pixels


POSITIONS = {
    "contiguous plane": (1, {}),
    "contiguous stack": (4, {}),
    "page by page": (4, {"contiguous": False}),
    "deflate": (4, {"compression": "zlib"}),
}
"""How `write_positions` can store its files: planes of each, and options."""


def write_positions(folder: Path, kind: str) -> list[np.ndarray]:
    """Write ``pos0.ome.tif`` and two more, one position each, of which each describes all."""
    planes, options = POSITIONS[kind]
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(3)]
    images = "".join(
        f'<Image ID="Image:{i}" Name="p{i}"><Pixels ID="Pixels:{i}" DimensionOrder="XYZCT" '
        f'Type="uint16" {_XY} SizeZ="{planes}" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:{i}:0" SamplesPerPixel="1"/>'
        f'<TiffData IFD="0" PlaneCount="{planes}">'
        f'<UUID FileName="pos{i}.ome.tif">{uuid}</UUID></TiffData></Pixels></Image>'
        for i, uuid in enumerate(uuids)
    )
    stacks = [picture((planes, 20, 30), "uint16") // 4 + 100 * i for i in range(3)]
    for i, (uuid, stack) in enumerate(zip(uuids, stacks, strict=True)):
        xml = f'<OME xmlns="{_NAMESPACE}" UUID="{uuid}">{images}</OME>'.encode()
        with tifffile.TiffWriter(folder / f"pos{i}.ome.tif", ome=False) as tif:
            for part in [stack[z] for z in range(planes)] if "contiguous" in options else [stack]:
                tif.write(part, description=xml, metadata=None, photometric="minisblack", **options)
                xml = None
    return stacks


_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_XY = 'SizeX="30" SizeY="20"'


def ome_text(sizes: str, inside: str, root: str = "", image: str = "", top: str = "") -> str:
    """Return an OME-XML text of one uint16 image; sizes that are not given are 1."""
    for axis in "XYZCT":
        if f"Size{axis}=" not in sizes:
            sizes += f' Size{axis}="1"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="{_NAMESPACE}" {root}>{top}'
        f'<Image ID="Image:0">{image}<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        f'{sizes}><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{inside}</Pixels></Image></OME>'
    )


def write_ome(path: Path, pixels: np.ndarray, xml: str, **options: Any) -> Path:
    """Write planes with a description that may be anything."""
    with tifffile.TiffWriter(path, ome=False) as tif:
        for i, plane in enumerate(pixels):
            tif.write(
                plane,
                description=xml.encode() if i == 0 else None,
                metadata=None,
                photometric="minisblack",
                **options,
            )
    return path


def cut(path: Path, fraction: float) -> Path:
    """Leave the first part of a file, and return it."""
    size = os.path.getsize(path)
    with open(path, "rb+") as file:
        file.truncate(int(size * fraction))
    return path
