"""What a source says of the microscope is in the result, in valid OME-XML."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from napari_superres.formats import read
from napari_superres.formats.ome_schema import CARRIED, WORDS, attributes
from napari_superres.formats.ome_write import compose_ome
from napari_superres.formats.ome_xml import is_outside, parse_ome
from napari_superres.formats.tiff_write import write_ome_tiff
from napari_superres.image import Channel, Image
from napari_superres.job import write
from napari_superres.selection import select
from napari_superres.upscaling import upscale
from tests.formats.bio_formats import schema_text
from tests.formats.tiff_files import ome_text, picture, write_ome
from tests.formats.zarr_files import make_collection

if TYPE_CHECKING:
    from pathlib import Path

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
XSD = "{http://www.w3.org/2001/XMLSchema}"

TOP = """
<Experimenter ID="Experimenter:7" FirstName="Ada" DisplayName="left out"/>
<Instrument ID="Instrument:0">
  <Microscope Manufacturer="Zeiss" Model="LSM 880" Type="Inverted"/>
  <Laser ID="LightSource:0" Power="2.5" Wavelength="488" Type="Gas" LaserMedium="Ar"/>
  <Detector ID="Detector:0" Type="PMT" Gain="1.5"/>
  <Objective ID="Objective:0" LensNA="1.4" NominalMagnification="63" Immersion="Oil"
   Correction="of my own" WorkingDistance="0.19" WorkingDistanceUnit="mm"/>
  <Filter ID="Filter:0"><TransmittanceRange CutIn="500" CutOut="550"/></Filter>
</Instrument>
<Instrument ID="broken id"/>
"""
IMAGE = """
<AcquisitionDate>2021-03-04T05:06:07</AcquisitionDate>
<ExperimenterRef ID="Experimenter:7"/>
<Description>Two cells &amp; a half</Description>
<InstrumentRef ID="Instrument:0"/>
<ObjectiveSettings ID="Objective:0" Medium="Oil" RefractiveIndex="1.518"/>
<ImagingEnvironment Temperature="37" CO2Percent="0.05"/>
<StageLabel Name="A1" X="3" XUnit="mm"/>
"""
PLANES = "".join(
    f'<Plane TheZ="{z}" TheC="{c}" TheT="0" DeltaT="{10 * c + z}" ExposureTime="0.1" '
    f'PositionX="1.5" PositionXUnit="mm" PositionY="20" PositionYUnit="µm" PositionZ="{z}"/>'
    for c, z in itertools.product(range(2), range(3))
)
AFTER = """
<StructuredAnnotations>
  <TagAnnotation ID="Annotation:0"><Value>good one</Value></TagAnnotation>
  <XMLAnnotation ID="Annotation:1" Namespace="made.by/someone">
    <Value><settings xmlns="urn:other"><a b="1">c</a></settings></Value></XMLAnnotation>
  <MapAnnotation ID="Annotation:2"><Value><M K="dye">Alexa</M></Value></MapAnnotation>
  <LongAnnotation ID="Annotation:3"><Value>many</Value></LongAnnotation>
  <TagAnnotation ID="Annotation:4"><Value>of another image</Value></TagAnnotation>
</StructuredAnnotations>
<ROI ID="ROI:0"><Union><Point ID="Shape:0" X="3" Y="4"/></Union></ROI>
"""


def source_text() -> str:
    """Return the OME-XML of a microscope with everything."""
    channels = (
        '<Channel ID="Channel:0:0" Name="DAPI" Fluor="DAPI" EmissionWavelength="461" '
        'AcquisitionMode="LaserScanningConfocalMicroscopy" SamplesPerPixel="1">'
        '<LightSourceSettings ID="LightSource:0" Attenuation="0.5"/>'
        '<DetectorSettings ID="Detector:missing"/>'
        '<LightPath><EmissionFilterRef ID="Filter:0"/></LightPath></Channel>'
        '<Channel ID="Channel:0:1" Name="GFP" EmissionWavelength="0" PinholeSize="1" '
        'PinholeSizeUnit="airy" SamplesPerPixel="1"/>'
    )
    text = ome_text(
        'SizeX="30" SizeY="20" SizeZ="3" SizeC="2" PhysicalSizeX="0.2" PhysicalSizeY="0.2" '
        'PhysicalSizeZ="0.5"',
        '<TiffData IFD="0" PlaneCount="6"/>' + PLANES,
        image=IMAGE,
        top=TOP,
    )
    text = text.replace('<Channel ID="Channel:0:0" SamplesPerPixel="1"/>', channels)
    other = (
        '</Image><Image ID="Image:1" Name="other"><Pixels ID="Pixels:1" DimensionOrder="XYZCT" '
        'Type="uint16" SizeX="1" SizeY="1" SizeZ="1" SizeC="1" SizeT="1"/>'
        '<AnnotationRef ID="Annotation:4"/></Image>'
    )
    text = text.replace("</Pixels></Image>", f'</Pixels><AnnotationRef ID="Annotation:0"/>{other}')
    return text.replace("</OME>", f"{AFTER}</OME>")


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    """Return the OME-XML schema, from the program that ships it."""
    return etree.XMLSchema(etree.fromstring(schema_text()))


@pytest.fixture
def source(tmp_path: Path) -> Image:
    """Return an image with everything, as it was read."""
    path = write_ome(tmp_path / "a.ome.tif", picture((6, 20, 30), "uint16"), source_text())
    return read(path)


def finer(image: Image, factor: int = 4) -> Image:
    """Return the image with more pixels, as upscaling makes it."""
    data = image.data.repeat(factor, axis=-2).repeat(factor, axis=-1)
    return image.rescaled(factor, data, history=({"model": "nearest"},))


def parsed(image: Image) -> ElementTree.Element:
    """Return what would be written."""
    return ElementTree.fromstring(compose_ome(image))


def valid(schema: etree.XMLSchema, image: Image) -> ElementTree.Element:
    """Return what would be written, after it has passed the schema."""
    text = compose_ome(image)
    schema.assertValid(etree.fromstring(text.encode()))
    return ElementTree.fromstring(text)


def test_the_microscope_is_in_the_result(schema: etree.XMLSchema, source: Image) -> None:
    """Nobody can say any more with which objective a picture was taken."""
    root = valid(schema, finer(source))
    objective = root.find(f".//{OME}Objective")
    assert objective is not None
    assert objective.attrib == {
        "ID": "Objective:0",
        "LensNA": "1.4",
        "NominalMagnification": "63",
        "Immersion": "Oil",
        "WorkingDistance": "0.19",
        "WorkingDistanceUnit": "mm",
    }
    image = root.find(f"{OME}Image")
    assert image is not None
    assert image.findtext(f"{OME}AcquisitionDate") == "2021-03-04T05:06:07"
    assert image.findtext(f"{OME}Description") == "Two cells & a half"
    assert image.find(f"{OME}StageLabel").attrib["Name"] == "A1"  # type: ignore[union-attr]
    channel = root.find(f".//{OME}Channel[@Name='DAPI']")
    assert channel is not None
    assert channel.attrib["EmissionWavelength"] == "461"
    assert [child.tag for child in channel] == [f"{OME}LightSourceSettings", f"{OME}LightPath"]


def test_what_would_be_invalid_is_left_out(schema: etree.XMLSchema, source: Image) -> None:
    """A mistake in the source makes the result unreadable for strict programs."""
    text = ElementTree.tostring(valid(schema, finer(source)), encoding="unicode")
    for wrong in (
        "broken id",
        "of my own",
        "Detector:missing",
        "airy",
        "DisplayName",
        "many",
        "ROI",
    ):
        assert wrong not in text
    assert 'EmissionWavelength="0"' not in text


def test_annotations_of_the_image_and_of_nobody_come_along(source: Image) -> None:
    """Tags and vendor metadata are lost, or those of other images come with this one."""
    text = compose_ome(finer(source))
    for kept in ("good one", "<ns0:a", 'b="1"', "Alexa"):
        assert kept in text or kept.replace("ns0:", "ns1:") in text
    assert "of another image" not in text


def test_stage_positions_move_with_the_first_pixel(schema: etree.XMLSchema, source: Image) -> None:
    """Tiles of a mosaic are placed half a pixel beside one another."""
    root = valid(schema, finer(source))
    planes = root.findall(f".//{OME}Plane")
    assert len(planes) == 6
    shift = -0.075  # micrometers: 0.2 * (1/4 - 1) / 2
    for plane in planes:
        assert float(plane.attrib["PositionX"]) == pytest.approx(1.5 + shift / 1000)  # millimeters
        assert float(plane.attrib["PositionY"]) == pytest.approx(20 + shift)
        assert plane.attrib["PositionZ"] == plane.attrib["TheZ"]
        expected = 10 * int(plane.attrib["TheC"]) + int(plane.attrib["TheZ"])
        assert float(plane.attrib["DeltaT"]) == expected


def test_a_second_upscaling_moves_positions_by_its_own_step_only(
    schema: etree.XMLSchema, source: Image, tmp_path: Path
) -> None:
    """Each result drifts further from its source than it should."""
    once = finer(source, 2)
    write_ome_tiff([once.data], once, tmp_path / "once.ome.tif")
    twice = finer(read(tmp_path / "once.ome.tif"), 2)
    at_once = finer(source, 4)
    assert twice.translation == pytest.approx(at_once.translation)
    for a, b in zip(
        valid(schema, twice).findall(f".//{OME}Plane"),
        valid(schema, at_once).findall(f".//{OME}Plane"),
        strict=True,
    ):
        assert float(a.attrib["PositionY"]) == pytest.approx(float(b.attrib["PositionY"]))
    assert len(parse_ome(compose_ome(twice)).record["history"]) == 1  # the annotation is replaced


def test_part_of_a_stack_keeps_the_times_of_its_planes(source: Image) -> None:
    """A selection of planes gets the times and places of the first ones."""
    part = source.cropped([slice(1, 2), slice(0, 3, 2), slice(5, 9), slice(None)])
    assert part.channels[0].name == "GFP"
    planes = parsed(part).findall(f".//{OME}Plane")
    assert [float(plane.attrib["DeltaT"]) for plane in planes] == [10, 12]
    assert [plane.attrib["TheZ"] for plane in planes] == ["0", "1"]
    assert float(planes[0].attrib["PositionY"]) == pytest.approx(20 + 5 * 0.2)


def test_channels_in_another_order_keep_what_belongs_to_them(source: Image) -> None:
    """The wavelength of one dye is attached to another."""
    channels = (source.channels[1], source.channels[0])
    swapped = replace(source, data=source.data[[1, 0]], channels=channels)
    found = {c.attrib["Name"]: c.attrib for c in parsed(swapped).findall(f".//{OME}Channel")}
    assert list(found) == ["GFP", "DAPI"]
    assert found["DAPI"]["EmissionWavelength"] == "461"
    times = [float(plane.attrib["DeltaT"]) for plane in parsed(swapped).findall(f".//{OME}Plane")]
    assert times == [10, 11, 12, 0, 1, 2]


def test_channels_without_names_keep_what_belongs_to_them(source: Image, tmp_path: Path) -> None:
    """The wavelength of one dye is attached to another, or changes place with each copy."""
    text = str(source.metadata["ome_xml"])
    for name in ("DAPI", "GFP"):
        text = text.replace(f' Name="{name}"', "")
    unnamed = replace(source, channels=(), metadata={**source.metadata, "ome_xml": text})

    def wavelengths(image: Image) -> list[str | None]:
        found = parsed(image).findall(f".//{OME}Channel")
        return [channel.get("EmissionWavelength") for channel in found]

    first, second = wavelengths(unnamed)
    assert first != second
    swapped = select(unnamed, channels=[1, 0])
    assert wavelengths(swapped) == [second, first]
    assert wavelengths(select(swapped, channels=[1])) == [first]
    assert wavelengths(select(unnamed, channels=[1])) == [second]
    finer = upscale(unnamed, "bicubic", scale=2, channels=[1, 0])
    for suffix in (".ome.tif", ".ome.zarr"):
        write(finer, tmp_path / f"finer{suffix}")
        assert wavelengths(read(tmp_path / f"finer{suffix}")) == [second, first]
        last = select(read(tmp_path / f"finer{suffix}"), channels=[1])
        assert wavelengths(last) == [first]
    unclear = {**unnamed.metadata, "ome_channels": [0, 7]}
    assert wavelengths(replace(unnamed, metadata=unclear)) == [None, None]


def test_a_colour_picture_has_the_wavelength_of_none_of_its_channels(tmp_path: Path) -> None:
    """All three colours were said to be the light of the first channel."""
    path = tmp_path / "three.ome.tif"
    said = {"axes": "CYX", "Channel": {"EmissionWavelength": [450, 520, 600]}}
    tifffile.imwrite(path, np.zeros((3, 20, 24), np.uint8), metadata=said, photometric="minisblack")
    for rgb, count in ((False, 3), (True, 0)):
        finer = upscale(read(path), "nearest", scale=2, rgb=rgb)
        assert compose_ome(finer).count("EmissionWavelength=") == count


def test_each_series_brings_its_own_description(tmp_path: Path) -> None:
    """The objective and the date of another position, in a result and in copies of it."""
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name in ("first", "second"):
            writer.write(
                picture((20, 30), "uint16"),
                metadata={"axes": "YX", "Name": name, "Description": f"the {name}"},
            )
    collection = tmp_path / "a.zarr"
    make_collection(collection, 2)
    (collection / "OME").mkdir()
    (collection / "OME" / "METADATA.ome.xml").write_text(tifffile.tiffcomment(path))
    for number, name in enumerate(("first", "second")):
        direct = read(path, series=number)
        write(direct, tmp_path / f"{number}.ome.zarr")
        copy = read(tmp_path / f"{number}.ome.zarr")
        for image in (direct, copy, read(collection, series=number)):
            assert f"<Description>the {name}<" in compose_ome(image)
    unknown = dict(direct.metadata)
    del unknown["ome_image"]
    assert "<Description>" not in compose_ome(replace(direct, metadata=unknown))


def test_planes_that_cannot_be_told_apart_bring_no_times(source: Image) -> None:
    """Times of other planes are attached by guessing."""
    unknown = replace(source, data=source.data[:, :2], pixel_size=(1.0, 0.3, 0.2, 0.2))
    assert parsed(unknown).findall(f".//{OME}Plane") == []


def test_a_source_without_ome_or_with_broken_ome_writes_its_own(schema: etree.XMLSchema) -> None:
    """A result cannot be written because its source was careless."""
    for text in ("", "<OME", "<!DOCTYPE a><OME/>"):
        image = Image(
            data=da.zeros((2, 8, 8), dtype="uint8"), axes="cyx", metadata={"ome_xml": text}
        )
        valid(schema, image)


@settings(max_examples=100, deadline=None)
@given(
    name=st.text(),
    channel=st.text(),
    unit=st.one_of(st.none(), st.sampled_from(["micrometer", "second"]), st.text()),
    size=st.floats(1e-12, 1e12),
    color=st.one_of(st.none(), st.integers(0, 2**24 - 1).map(lambda n: f"{n:06X}")),
    history=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
        lambda inner: st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_any_text_and_number_is_valid_and_comes_back(
    schema: etree.XMLSchema,
    name: str,
    channel: str,
    unit: str | None,
    size: float,
    color: str | None,
    history: Any,
) -> None:
    """One odd character in a channel's name makes the whole file unreadable."""
    image = Image(
        data=da.zeros((4, 5), dtype="uint16"),
        axes="yx",
        pixel_size=(size, 1.0),
        units=(unit, None),
        channels=(Channel(channel, color, (0.5, 2.0)),),
        name=name,
        history=({"any": history},),
    )
    valid(schema, image)
    ome = parse_ome(compose_ome(image))
    assert ome.images[0].channels[0].color == color
    assert ome.record["history"] == [{"any": history}]
    assert ome.images[0].pixel_size.get("y", size) == size


def test_the_table_agrees_with_the_schema() -> None:
    """A typing error in our table drops metadata, or makes results invalid."""
    root = etree.fromstring(schema_text())
    named = {node.get("name"): node for node in root if node.get("name")}

    def bases(name: str) -> list[Any]:
        """Return a definition and what it extends, the latter first."""
        found: list[Any] = []
        while name in named:
            found.insert(0, named[name])
            extension = next(named[name].iter(f"{XSD}extension"), None)
            name = "" if extension is None else extension.get("base")
        return found

    for name, carried in CARRIED.items():
        if name in ("M", "Map", "AcquisitionDate", "Description"):
            continue  # parts of other definitions
        kind = "FilterRef" if name in ("ExcitationFilterRef", "EmissionFilterRef") else name
        nodes = bases(kind)
        known = {a.get("name"): a for node in nodes for a in node.iter(f"{XSD}attribute")}
        assert set(attributes(name)) <= set(known), name
        for attribute, (sort, _) in attributes(name).items():
            words = [w.get("value") for w in known[attribute].iter(f"{XSD}enumeration")]
            if sort == "word" and attribute != "Binning":
                assert WORDS[f"{name}.{attribute}"].split() == words
        lights = ["Laser", "Arc", "Filament", "LightEmittingDiode", "GenericExcitationSource"]
        order = [
            part
            for node in nodes
            for e in node.iter(f"{XSD}element")
            if e is not node
            for part in (
                lights if e.get("ref") == "LightSourceGroup" else [e.get("ref") or e.get("name")]
            )
        ]
        ours = carried.children.split()
        assert [child for child in order if child in ours] == ours, name


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("a.ome.tif", False),
        ("..a.tif", False),
        ("../a.tif", True),
        ("..\\a.tif", True),
        ("C:a.tif", True),
        ("/a.tif", True),
        ("a\0.tif", True),
        ("", True),
        ("..", True),
    ],
)
def test_names_that_leave_the_folder(name: str, outside: bool) -> None:
    """A file reads another user's file, on one of the systems."""
    assert is_outside(name) == outside


def test_numbers_that_make_no_sense_are_not_read() -> None:
    """A pixel size of zero divides by zero somewhere."""
    for wrong in ('PhysicalSizeX="0"', 'PhysicalSizeX="-1"', 'PhysicalSizeX="nan"',
                  'PhysicalSizeX="wide"', 'TimeIncrement="0.0"'):  # fmt: skip
        image = parse_ome(ome_text(f'SizeX="3" SizeY="2" {wrong}', "")).images[0]
        assert image.pixel_size == {}
