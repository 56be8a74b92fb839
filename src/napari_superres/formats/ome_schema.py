"""Which parts of a source's OME-XML are handed on to a result, and what they must look like.

Everything that describes the microscope and the moment stays true for finer pixels of the same
field of view. What speaks of pixels (regions of interest, checksums, the pixel type) does not, and
is not in the table. Elements and attributes that are not listed are left out, so that what is
written is valid even where the source is not.

References
----------
OME-XML schema 2016-06, ome.xsd. A test compares the table with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from napari_superres.formats.units import full_name, ome_symbol

if TYPE_CHECKING:
    from collections.abc import Callable


class Carried(NamedTuple):
    """What is handed on of one element.

    Parameters
    ----------
    attributes : str
        ``name:kind`` pairs: ``s`` any text, ``f`` a number (``+f`` above, ``0f`` not below zero),
        ``%`` 0 to 1, ``i`` a whole number, ``b`` true or false, ``word`` one of `WORDS`, ``length``
        and ``time`` units, ``id`` and ``ref`` identifiers. A ``!`` marks what must be there.
    children : str
        Names of child elements, in the order of the schema.
    text : str
        Kind of the text of the element, where that counts.
    """

    attributes: str = ""
    children: str = ""
    text: str = ""


_MAKER = "Manufacturer:s Model:s SerialNumber:s LotNumber:s"
_LIGHT = f"ID:id! Power:f PowerUnit:s {_MAKER}"

CARRIED: dict[str, Carried] = {
    "Experimenter": Carried(
        "ID:id! FirstName:s MiddleName:s LastName:s Email:s Institution:s UserName:s",
        "AnnotationRef",
    ),
    "Instrument": Carried(
        "ID:id!",
        "Microscope Laser Arc Filament LightEmittingDiode GenericExcitationSource Detector "
        "Objective FilterSet Filter Dichroic AnnotationRef",
    ),
    "Microscope": Carried(f"Type:word {_MAKER}"),
    "Laser": Carried(
        f"{_LIGHT} Type:word LaserMedium:word Wavelength:+f WavelengthUnit:length "
        "FrequencyMultiplication:+i Tuneable:b Pulse:word PockelCell:b RepetitionRate:f "
        "RepetitionRateUnit:s",
        "AnnotationRef Pump",
    ),
    "Arc": Carried(f"{_LIGHT} Type:word", "AnnotationRef"),
    "Filament": Carried(f"{_LIGHT} Type:word", "AnnotationRef"),
    "LightEmittingDiode": Carried(_LIGHT, "AnnotationRef"),
    "GenericExcitationSource": Carried(_LIGHT, "AnnotationRef Map"),
    "Pump": Carried("ID:ref!"),
    "Map": Carried("", "M"),
    "M": Carried("K:s", text="s"),
    "Detector": Carried(
        "ID:id! Gain:f Voltage:f VoltageUnit:s Offset:f Zoom:f AmplificationGain:f Type:word "
        f"{_MAKER}",
        "AnnotationRef",
    ),
    "Objective": Carried(
        "ID:id! Correction:word Immersion:word LensNA:f NominalMagnification:f "
        f"CalibratedMagnification:f WorkingDistance:f WorkingDistanceUnit:length Iris:b {_MAKER}",
        "AnnotationRef",
    ),
    "FilterSet": Carried(f"ID:id! {_MAKER}", "ExcitationFilterRef DichroicRef EmissionFilterRef"),
    "Filter": Carried(
        f"ID:id! Type:word FilterWheel:s {_MAKER}", "TransmittanceRange AnnotationRef"
    ),
    "TransmittanceRange": Carried(
        "CutIn:+f CutInUnit:length CutOut:+f CutOutUnit:length CutInTolerance:0f "
        "CutInToleranceUnit:length CutOutTolerance:0f CutOutToleranceUnit:length Transmittance:%"
    ),
    "Dichroic": Carried(f"ID:id! {_MAKER}", "AnnotationRef"),
    "LightPath": Carried("", "ExcitationFilterRef DichroicRef EmissionFilterRef AnnotationRef"),
    "ExcitationFilterRef": Carried("ID:ref!"),
    "EmissionFilterRef": Carried("ID:ref!"),
    "DichroicRef": Carried("ID:ref!"),
    "FilterSetRef": Carried("ID:ref!"),
    "LightSourceSettings": Carried("ID:ref! Attenuation:% Wavelength:+f WavelengthUnit:length"),
    "DetectorSettings": Carried(
        "ID:ref! Offset:f Gain:f Voltage:f VoltageUnit:s Zoom:f ReadOutRate:f ReadOutRateUnit:s "
        "Binning:word Integration:+i"
    ),
    "ObjectiveSettings": Carried("ID:ref! CorrectionCollar:f Medium:word RefractiveIndex:f"),
    "ImagingEnvironment": Carried(
        "Temperature:f TemperatureUnit:s AirPressure:f AirPressureUnit:s Humidity:% CO2Percent:%",
        "Map",
    ),
    "StageLabel": Carried("Name:s! X:f XUnit:length Y:f YUnit:length Z:f ZUnit:length"),
    "AcquisitionDate": Carried(text="date"),
    "Description": Carried(text="s"),
    "ExperimenterRef": Carried("ID:ref!"),
    "InstrumentRef": Carried("ID:ref!"),
    "AnnotationRef": Carried("ID:ref!"),
    # Only what a finer picture of the same channel shares; name, colour and samples are written.
    "Channel": Carried(
        "IlluminationType:word PinholeSize:f PinholeSizeUnit:length AcquisitionMode:word "
        "ContrastMethod:word ExcitationWavelength:+f ExcitationWavelengthUnit:length "
        "EmissionWavelength:+f EmissionWavelengthUnit:length Fluor:s NDFilter:f "
        "PockelCellSetting:i",
        "LightSourceSettings DetectorSettings FilterSetRef AnnotationRef LightPath",
    ),
    "Plane": Carried(
        "DeltaT:f DeltaTUnit:time ExposureTime:f ExposureTimeUnit:time PositionX:f "
        "PositionXUnit:length PositionY:f PositionYUnit:length PositionZ:f PositionZUnit:length",
        "AnnotationRef",
    ),
}
"""By name of the element."""

IMAGE_CHILDREN = (
    "AcquisitionDate",
    "ExperimenterRef",
    "Description",
    "InstrumentRef",
    "ObjectiveSettings",
    "ImagingEnvironment",
    "StageLabel",
)
"""Children of ``Image`` that are handed on, in the order of the schema."""

ANNOTATIONS = {
    "XMLAnnotation": "",
    "CommentAnnotation": "s",
    "TagAnnotation": "s",
    "TermAnnotation": "s",
    "LongAnnotation": "i",
    "DoubleAnnotation": "f",
    "BooleanAnnotation": "b",
    "TimestampAnnotation": "date",
    "MapAnnotation": "",
}
"""Annotations that are handed on, and the kind of their value; not files and lists of others."""


WORDS: dict[str, str] = {
    "Microscope.Type": "Upright Inverted Dissection Electrophysiology Other",
    "Objective.Correction": "UV PlanApo PlanFluor SuperFluor VioletCorrected Achro Achromat Fluor "
    "Fl Fluar Neofluar Fluotar Apo PlanNeofluar Other",
    "Objective.Immersion": "Oil Water WaterDipping Air Multi Glycerol Other",
    "ObjectiveSettings.Medium": "Air Oil Water Glycerol Other",
    "Detector.Type": "CCD IntensifiedCCD AnalogVideo PMT Photodiode Spectroscopy LifetimeImaging "
    "CorrelationSpectroscopy FTIR EMCCD APD CMOS EBCCD Other",
    "DetectorSettings.Binning": "1x1 2x2 4x4 8x8 Other",
    "Filter.Type": "Dichroic LongPass ShortPass BandPass MultiPass NeutralDensity Tuneable Other",
    "Laser.Type": "Excimer Gas MetalVapor SolidState Dye Semiconductor FreeElectron Other",
    "Laser.LaserMedium": "Cu Ag ArFl ArCl KrFl KrCl XeFl XeCl XeBr N Ar Kr Xe HeNe HeCd CO CO2 H2O "
    "HFl NdGlass NdYAG ErGlass ErYAG HoYLF HoYAG Ruby TiSapphire Alexandrite Rhodamine6G "
    "CoumarinC30 GaAs GaAlAs EMinus Other",
    "Laser.Pulse": "CW Single QSwitched Repetitive ModeLocked Other",
    "Arc.Type": "Hg Xe HgXe Other",
    "Filament.Type": "Incandescent Halogen Other",
    "Channel.IlluminationType": "Transmitted Epifluorescence Oblique NonLinear Other",
    "Channel.AcquisitionMode": "WideField LaserScanningConfocalMicroscopy SpinningDiskConfocal "
    "SlitScanConfocal MultiPhotonMicroscopy StructuredIllumination SingleMoleculeImaging "
    "TotalInternalReflection FluorescenceLifetime SpectralImaging "
    "FluorescenceCorrelationSpectroscopy NearFieldScanningOpticalMicroscopy "
    "SecondHarmonicGenerationImaging PALM STORM STED TIRF FSM LCM Other BrightField "
    "SweptFieldConfocal SPIM",
    "Channel.ContrastMethod": "Brightfield Phase DIC HoffmanModulation ObliqueIllumination "
    "PolarizedLight Darkfield Fluorescence Other",
}
"""By element and attribute: the words that the schema allows."""

_ID_TYPES = dict.fromkeys(
    ("Laser", "Arc", "Filament", "LightEmittingDiode", "GenericExcitationSource"), "LightSource"
)
"""By element: the word in its ID, where that is not its name."""


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None


def _is_unit(text: str) -> bool:
    return text in ("pixel", "reference frame") or ome_symbol(full_name(text)) == text


_KINDS: dict[str, Callable[[str], bool]] = {
    "s": lambda text: bool(text.strip()),
    "f": _is_number,
    "+f": lambda text: _is_number(text) and float(text) > 0,
    "0f": lambda text: _is_number(text) and float(text) >= 0,
    "%": lambda text: _is_number(text) and 0 <= float(text) <= 1,
    "i": lambda text: re.fullmatch(r"[-+]?\d{1,9}", text) is not None,
    "+i": lambda text: re.fullmatch(r"\+?\d{1,9}", text) is not None and int(text) > 0,
    "b": lambda text: text in ("true", "false", "0", "1"),
    "length": _is_unit,
    "time": _is_unit,
    "ref": bool,
    "date": lambda text: (
        re.fullmatch(r"-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)?", text)
        is not None
    ),
}


def attributes(name: str) -> dict[str, tuple[str, bool]]:
    """Return the attributes that are handed on of an element.

    Parameters
    ----------
    name : str
        Of the element.

    Returns
    -------
    dict
        By attribute: its kind, and whether the element is worth nothing without it.
    """
    pairs = (entry.split(":") for entry in CARRIED[name].attributes.split())
    return {key: (kind.removesuffix("!"), kind.endswith("!")) for key, kind in pairs}


def is_valid(name: str, attribute: str, kind: str, text: str) -> bool:
    """Return whether an attribute's text is what the schema asks for.

    Parameters
    ----------
    name, attribute : str
        Of the element and its attribute.
    kind : str
        As `attributes` gives it.
    text : str
        The attribute's text.
    """
    if kind == "word":
        return text in WORDS[f"{name}.{attribute}"].split()
    if kind == "id":
        word = _ID_TYPES.get(name, name)
        return re.fullmatch(rf"(urn:lsid:[\w\-.]+\.[\w\-.]+:)?{word}:\S+", text) is not None
    return _KINDS[kind](text)
