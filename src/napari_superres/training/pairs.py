"""Simulated pairs as images and files: what `superres simulate` writes.

A pair is two images of one field of view, and a record of how they were made::

    DIR/nuclei-0_source.ome.tif     what the camera recorded, in whole grey levels
    DIR/nuclei-0_truth.ome.tif      the light without blur and noise, on finer pixels, float32
    DIR/nuclei-0.json               every setting, and the noise
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_superres._version import __version__
from napari_superres.errors import OutputError, SettingError
from napari_superres.image import Channel, Image
from napari_superres.job import write
from napari_superres.training.camera import Camera
from napari_superres.training.finite import check_finite
from napari_superres.training.recording import Pair, degrade
from napari_superres.training.simulate import FLUORESCENT, STEP, Scene, simulate
from napari_superres.training.specimens import ANY, CELLS
from napari_superres.training.stream import random_camera, random_scene
from napari_superres.training.volume import draw_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_superres.training.optics import Optics

FORMATS = ("ome.tif", "ome.zarr")
"""Of the files; each is also their suffix."""

_GREEN = "00FF00"
_CELL_LOOKS = [("DNA", "00FFFF"), ("microtubules", "FF00FF")]
# Ground that one cell of a culture takes, in square micrometres.
_CELL_AREA = 177.0
# What is left to chance must not follow from the numbers that then draw it, or kinds and sizes of a
# scene would come in few combinations.
_CHOICE_STREAM = 6
_TYPES = {8: np.uint8, 12: np.uint16, 16: np.uint16, None: np.float32}


@dataclass(frozen=True)
class PairSettings:
    """Everything that decides what is simulated, but the seed.

    Parameters
    ----------
    shape : tuple of int
        Of the source, (y, x).
    planes : int
        Planes of a focal series; 1 for a single one.
    step : float
        Distance between planes in micrometres.
    scale : int
        Truth pixels a source pixel, along each axis.
    scene : Scene or None
        Specimen and optics, the optics with the truth's pixel size. None leaves it to chance, among
        kinds that emit light where there are several planes.
    cells : bool
        Whether to draw a culture of cells in two channels through the scene's optics, on its
        background, instead of the scene's kind.
    camera : Camera or None
        None leaves it to chance.
    blur_sigma : float
        Further blur of the source, in source pixels.
    scanned : bool
        Whether a source pixel is the light at its centre, not the mean over its area.
    """

    shape: tuple[int, int] = (128, 128)
    planes: int = 1
    step: float = STEP
    scale: int = 4
    scene: Scene | None = field(default_factory=Scene)
    cells: bool = False
    camera: Camera | None = field(default_factory=Camera)
    blur_sigma: float = 0.5
    scanned: bool = False

    def __post_init__(self) -> None:
        check_finite({"step": self.step, "blur": self.blur_sigma})
        if min(*self.shape, self.planes, self.scale) < 1:
            raise SettingError("shape, planes and scale must all be at least 1.")
        if self.cells and (self.scene is None or self.scene.optics is None):
            raise SettingError("A culture of cells is seen through optics.", "Choose some.")
        if not self.cells and self.scene is not None and not _has_series(self.scene, self.planes):
            raise SettingError(
                f"{self.scene.kind!r} has no focal series: light of its planes does not add.",
                f"Use one of {', '.join(FLUORESCENT)}, or a single plane.",
            )


@dataclass(frozen=True, eq=False)
class ImagePair:
    """A simulated pair with its pixel sizes.

    Parameters
    ----------
    source : Image
        As a camera recorded it.
    truth : Image
        A perfect result: `scale` times finer, at the same place.
    record : dict
        How it was made; JSON values.
    """

    source: Image
    truth: Image
    record: dict[str, Any]


def simulate_images(settings: PairSettings, seed: int) -> ImagePair:
    """Return a simulated pair as images with physical sizes.

    Parameters
    ----------
    settings : PairSettings
        What to simulate.
    seed : int
        Same seed, same pair.

    Returns
    -------
    ImagePair
        Axes are "yx" or "zyx", with a leading "c" for a culture of cells.

    Raises
    ------
    SettingError
        If the settings contradict each other.
    """
    # Where chance decides, the name says so: "nuclei" may be asked for beside it.
    kind = CELLS if settings.cells else settings.scene.kind if settings.scene else ANY
    settings = _decided(settings, seed)
    scene, camera = settings.scene, settings.camera
    assert scene is not None
    assert camera is not None
    pairs = _cell_pairs(settings, seed) if settings.cells else [_plain_pair(settings, seed)]
    source = np.stack([pair.source for pair in pairs]).astype(_TYPES[camera.bits])
    truth = np.stack([pair.truth for pair in pairs])
    axes = ("c" if settings.cells else "") + ("z" if settings.planes > 1 else "") + "yx"
    if not settings.cells:
        source, truth = source[0], truth[0]
    optics = scene.optics
    width = settings.scale * (optics.pixel_size if optics else 1.0)
    through = _cell_optics(scene) if settings.cells else [optics]
    looks = _CELL_LOOKS if settings.cells else [(scene.kind, _GREEN)]
    channels = [(*look, seen) for look, seen in zip(looks, through, strict=True)]
    image = described(source, axes, width, channels, step=settings.step)
    name = f"{kind}-{seed}"
    image = replace(image, name=f"{name}, source")
    lazy = da.from_array(truth, chunks=truth.shape)
    finer = image.rescaled(settings.scale, lazy, name=f"{name}, truth")
    return ImagePair(image, finer, _record(settings, seed, pairs, image, finer))


def described(
    pixels: np.ndarray,
    axes: str,
    pixel_size: float,
    channels: Sequence[tuple[str, str, Optics | None]],
    *,
    step: float = STEP,
) -> Image:
    """Return simulated pixels as an image with sizes, names, colours, limits and wavelengths.

    Parameters
    ----------
    pixels : np.ndarray
        With axes among c, z, y and x.
    axes : str
        One letter a dimension.
    pixel_size : float
        Along y and x, in micrometres; in pixels where there are no optics.
    channels : sequence of (name, colour, Optics or None)
        One a channel.
    step : float
        Distance between planes in micrometres.

    Returns
    -------
    Image
    """
    sizes = {"c": 1.0, "z": step, "y": pixel_size, "x": pixel_size}
    unit = "micrometer" if channels[0][2] else None
    planes = pixels if "c" in axes else pixels[None]
    optics = [through for _, _, through in channels]
    return Image(
        da.from_array(pixels, chunks=pixels.shape),
        axes,
        pixel_size=tuple(sizes[axis] for axis in axes),
        units=tuple(None if axis == "c" else unit for axis in axes),
        channels=tuple(
            Channel(name, colour, _window(seen))
            for (name, colour, _), seen in zip(channels, planes, strict=True)
        ),
        metadata={"ome_xml": _ome_xml(axes, pixels.shape, optics)},
    )


def write_pairs(
    folder: Path,
    settings: PairSettings,
    *,
    seed: int = 0,
    count: int = 1,
    file_format: str = "ome.tif",
    overwrite: bool = False,
) -> Iterator[dict[str, Any]]:
    """Write simulated pairs, and yield the record of each when its files are complete.

    Parameters
    ----------
    folder : Path
        Where to; made if it is missing.
    settings : PairSettings
        What to simulate.
    seed : int
        Of the first pair; the next has the next number.
    count : int
        How many.
    file_format : {"ome.tif", "ome.zarr"}
        Of the images.
    overwrite : bool
        Whether to replace files that are there.

    Yields
    ------
    dict
        What the pair's JSON file holds: every setting, the root-mean-square noise of each channel
        in grey levels (as `noise_std` counts it), and the names of the files.

    Raises
    ------
    OutputError
        If a file is there already, or the folder cannot be written.
    SettingError
        If the settings contradict each other.
    """
    if file_format not in FORMATS:
        raise SettingError(f"format={file_format!r} is unknown.", f"Use {' or '.join(FORMATS)}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be made: {error.strerror}.") from error
    for number in range(seed, seed + count):
        pair = simulate_images(settings, number)
        stem = pair.record["name"]
        files = {part: f"{stem}_{part}.{file_format}" for part in ("source", "truth")}
        note = folder / f"{stem}.json"
        if note.exists() and not overwrite:
            raise OutputError(
                f"'{note}' exists already.", "Choose another folder, or allow it: overwrite=True."
            )
        for part, image in (("source", pair.source), ("truth", pair.truth)):
            write(image, folder / files[part], overwrite=overwrite)
        record = {**pair.record, "files": files}
        note.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        yield record


def _decided(settings: PairSettings, seed: int) -> PairSettings:
    """Return settings in which nothing is left to chance."""
    rng = np.random.default_rng([seed, _CHOICE_STREAM])
    scene = settings.scene or random_scene(rng)
    while settings.scene is None and not _has_series(scene, settings.planes):
        scene = random_scene(rng)
    camera = settings.camera or random_camera(rng, 30, 20000)
    return replace(settings, scene=scene, camera=camera)


def _has_series(scene: Scene, planes: int) -> bool:
    return planes == 1 or scene.kind in FLUORESCENT


def _plain_pair(settings: PairSettings, seed: int) -> Pair:
    shape = settings.shape if settings.planes == 1 else (settings.planes, *settings.shape)
    return simulate(
        shape=shape,
        seed=seed,
        scale=settings.scale,
        scene=settings.scene,
        camera=settings.camera,
        blur_sigma=settings.blur_sigma,
        step=settings.step,
        scanned=settings.scanned,
    )


def _cell_pairs(settings: PairSettings, seed: int) -> list[Pair]:
    """Return the nuclei's and the filaments' pair."""
    assert settings.scene is not None
    assert settings.camera is not None
    rng = np.random.default_rng(seed)
    height, width = (edge * settings.scale for edge in settings.shape)
    optics = _cell_optics(settings.scene)
    area = height * width * optics[0].pixel_size ** 2
    light = draw_cells(
        (settings.planes, height, width),
        rng,
        step=settings.step,
        optics=optics,
        cells=max(1, round(area / _CELL_AREA)),
    )
    if settings.planes == 1:
        light = light[:, 0]
    light = light + np.float32(settings.scene.background)
    return [
        degrade(
            seen,
            settings.scale,
            rng,
            camera=settings.camera,
            blur_sigma=settings.blur_sigma,
            scanned=settings.scanned,
        )
        for seen in light
    ]


def _cell_optics(scene: Scene) -> list[Optics]:
    """Return the optics of a blue and of the scene's own channel."""
    assert scene.optics is not None
    blue = replace(scene.optics, wavelength=0.46, excitation=0.405)
    return [blue, scene.optics]


def _window(pixels: np.ndarray) -> tuple[float, float]:
    """Return contrast limits that show the structures, not the brightest speck."""
    low, high = np.percentile(pixels, (1, 99.8))
    return float(low), float(high)


def _ome_xml(axes: str, shape: Sequence[int], optics: Sequence[Optics | None]) -> str:
    """Return OME-XML with what an image has no place for: the wavelengths."""
    sizes = dict.fromkeys("xyzct", 1) | dict(zip(axes, shape, strict=True))
    listing = " ".join(f'Size{axis.upper()}="{n}"' for axis, n in sizes.items())
    waves = [f'EmissionWavelength="{1000 * o.wavelength:g}"' if o else "" for o in optics]
    channels = "".join(
        f'<Channel ID="Channel:0:{i}" SamplesPerPixel="1" {wave}/>' for i, wave in enumerate(waves)
    )
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" {listing}>{channels}'
        "<TiffData/></Pixels></Image></OME>"
    )


def _record(
    settings: PairSettings, seed: int, pairs: list[Pair], source: Image, truth: Image
) -> dict[str, Any]:
    described = {
        "name": source.name.split(",")[0],
        "program": f"napari-superres {__version__}",
        "seed": seed,
        **asdict(settings),
        "axes": source.axes,
        "noise": [round(pair.noise, 4) for pair in pairs],
    }
    for part, image in (("source", source), ("truth", truth)):
        described[f"{part}_shape"] = image.shape
        described[f"{part}_pixel_size"] = image.pixel_size
        described[f"{part}_translation"] = image.translation
    cleaned: dict[str, Any] = json.loads(json.dumps(described, default=float))
    return cleaned
