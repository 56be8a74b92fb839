"""Models as files that run without Python and PyTorch: `export_model`.

The same drawing of a network that the ncnn engine uses becomes ncnn's two files or one ONNX file.
Before they get their names they are read from the disk, run on pictures of several sizes and
compared with the engine in PyTorch.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_superres._version import __version__
from napari_superres.errors import OutputError, SettingError, SuperresError
from napari_superres.models.cache import replacing
from napari_superres.models.engine import load_family
from napari_superres.models.weights import find_model, find_weights
from napari_superres.resources import disk_full

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.export_check import Check

FORMATS: Mapping[str, tuple[str, ...]] = {"onnx": (".onnx",), "ncnn": (".param", ".bin")}
"""The files of each format, by their endings."""

_ANY_UNIT = (
    "The source's own unit, as it is: a result has the same unit. It may exceed the type's range: "
    "round and clip it."
)
_LIMITS = (
    "0 to 1 between two limits of the whole image (0 and 255 of 8-bit pictures; 0.1 and 99.9 "
    "percentiles of others), and the result as well: clip it, and map it back."
)
_CONTEXT = (
    "Give {0} pixels of context at each side; the output lacks them. At the image's own border "
    "continue it by reflection, with the pixel at the edge repeated (dcba|abcd|dcba)."
)
_HALO = (
    "The output has all pixels of the input. Of a tile cut off {0} pixels at each side, but none "
    "at the image's own border, where each layer pads with zeros."
)
_MULTIPLE = " Sides are multiples of {0}: continue the image by reflection below and to the right."
_LEFT_OUT = (
    "Intensity limits, conserving light (consistency={0} by default), finding the noise, tiling: "
    "all that is not the network."
)


@dataclass(frozen=True)
class Exported:
    """What `export_model` wrote.

    Parameters
    ----------
    paths : tuple of Path
        The files of the network, and last the facts about them as JSON.
    facts : mapping
        Those facts: inputs, context, scale factor, licence, origin, and how the files were checked.
    check : Check
    """

    paths: tuple[Path, ...]
    facts: Mapping[str, Any]
    check: Check


def export_model(
    model: str,
    path: str | Path | None = None,
    *,
    format: str,
    denoise: float | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a model as files that programs without Python and PyTorch can run.

    Nothing is left behind when the files do not compute what the engine computes.

    Parameters
    ----------
    model : str
        A name of the embedded models or the Real-ESRGAN family, or a file of weights of those
        networks.
    path : str or Path, optional
        Where to, with or without the ending; a folder that is there, or a path with a slash at its
        end, for the model's own name in there. None for that name in the current folder.
    format : {"onnx", "ncnn"}
        ``"onnx"`` needs the extra ``export``.
    denoise : float, optional
        Strength that is fixed in the file, for models whose weights depend on it.
    overwrite : bool
        Whether files that are there may be replaced.

    Returns
    -------
    Exported

    Raises
    ------
    SettingError
        If the model has no network that can be written like that.
    UnknownModelError
        If there is no such model.
    WeightsError
        If its weights are missing, or their licence was not accepted.
    MissingDependencyError
        If a package that writes or checks the files is not installed.
    OutputError
        If the files cannot be written, are there already, or do not compute what the engine does.
    """
    if format not in FORMATS:
        raise SettingError(f"format='{format}' is not known.", f"Use one of: {', '.join(FORMATS)}.")
    spec = find_model(model)
    family = load_family(spec.family)
    if not hasattr(family, "draw"):
        raise SettingError(
            f"'{spec.name}' is not a network that can be written as a file: that is so for the "
            "embedded models and the Real-ESRGAN family alone.",
            "Choose one of those.",
        )
    _check_denoise(spec, denoise)
    weights = find_weights(spec, denoise)
    *targets, about = _targets(spec, path, format)
    taken = [target for target in (*targets, about) if target.exists()]
    if taken and not overwrite:
        raise OutputError(
            f"'{taken[0]}' exists already.", "Choose another name, or allow it: overwrite=True."
        )
    # Imports the packages of the format, and so says what is missing before work is done.
    from napari_superres.models.export_check import check

    contents, context = _contents(spec, weights, format, denoise)
    facts = _facts(spec, format, context, denoise)
    facts["files"] = {
        target.name: hashlib.sha256(content).hexdigest()
        for target, content in zip(targets, contents, strict=True)
    }
    # They get their names in the reverse order: the facts come last.
    with ExitStack() as stack:
        sheet = stack.enter_context(replacing(about, _not_writable))
        files = [stack.enter_context(replacing(target, _not_writable)) for target in targets]
        for file, content in zip(files, contents, strict=True):
            file.write(content)
            file.flush()
        found = check(spec, weights, [Path(f.name) for f in files], context, denoise)
        facts["checked"] = found.record()
        sheet.write(json.dumps(facts, indent=1, ensure_ascii=False).encode())
    return Exported((*targets, about), facts, found)


def _check_denoise(spec: ModelSpec, denoise: float | None) -> None:
    if denoise is None:
        return
    if spec.noise_input:
        raise SettingError(
            f"The files of '{spec.name}' take the noise as an input, so no strength is fixed.",
            "Leave out denoise=.",
        )
    if spec.denoise is None:
        raise SettingError(f"'{spec.name}' has no denoising strength.", "Leave out denoise=.")
    if not 0 <= denoise <= 1:
        raise SettingError(f"denoise={denoise} is not a strength.", "Use 0 to 1.")


def _targets(spec: ModelSpec, path: str | Path | None, format: str) -> list[Path]:
    """Return where the files and the facts about them go."""
    # A model that is a file is called by its path.
    own = Path(spec.name).stem if len(Path(spec.name).parts) > 1 else spec.name
    wish = Path(own if path is None else path)
    if wish.is_dir() or str(path).endswith(("/", "\\")):
        wish /= own
    endings = {ending: name for name, files in FORMATS.items() for ending in files}
    if endings.get(wish.suffix, format) != format:
        raise SettingError(
            f"'{wish.name}' is called like a file of {endings[wish.suffix]}, not of {format}.",
            "Use another name, or the other format.",
        )
    stem = wish.stem if wish.suffix in endings else wish.name
    return [wish.with_name(stem + end) for end in (*FORMATS[format], f".{format}.json")]


def _contents(
    spec: ModelSpec, weights: Mapping[str, Path], format: str, denoise: float | None
) -> tuple[Sequence[bytes], int]:
    """Return what the files hold, and the context that the network wants."""
    draw = load_family(spec.family).draw
    if format == "ncnn":
        from napari_superres.models.ncnn_graph import Graph

        graph = Graph()
        context = draw(spec, weights, graph, denoise)
        return (graph.text().encode("ascii"), graph.weights()), context
    from napari_superres.models.onnx_graph import OnnxGraph

    drawn = OnnxGraph()
    context = draw(spec, weights, drawn, denoise)
    facts = _facts(spec, format, context, denoise)
    words = {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
    model = drawn.model(Path(spec.name).name, spec.samples, words)
    return (model.SerializeToString(),), context


def _facts(spec: ModelSpec, format: str, context: int, denoise: float | None) -> dict[str, Any]:
    """Return what somebody who runs the files has to know."""
    shape = "(n, c, y, x)" if format == "onnx" else "(c, y, x)"
    colours = "red, green and blue; a gray image three times, and the mean of what comes out"
    channels = "1 channel" if spec.samples == 1 else f"3 channels: {colours}"
    inputs = {"image": f"{shape}, float32, {channels}, any height and width"}
    if spec.noise_input:
        inputs["noise"] = (
            f"{shape}, float32, 1 channel, as high and wide as the image: the standard deviation "
            "of the noise to be removed around each pixel, in the image's unit; 0 for none"
        )
    halo = context or spec.halo
    borders = (_CONTEXT if context else _HALO).format(halo)
    if spec.multiple > 1:
        borders += _MULTIPLE.format(spec.multiple)
    return {
        "schema": 1,
        "program": f"napari-superres {__version__}",
        "model": Path(spec.name).name,
        "title": spec.title,
        "format": format,
        "scale": spec.scale,
        "samples": spec.samples,
        "context": context,
        "halo": halo,
        "multiple": spec.multiple,
        "limits": spec.needs_limits,
        "inputs": inputs,
        "output": f"out: {shape}, float32, {spec.scale} times finer along y and x",
        "borders": borders,
        "values": _LIMITS if spec.needs_limits else _ANY_UNIT,
        "left_out": _LEFT_OUT.format(_usual_light(spec)),
        "denoise": denoise,
        "trained_on": spec.domain,
        "proven": spec.proven,
        "licence": spec.licence,
        "commercial": spec.commercial,
        "citation": spec.citation,
        "homepage": spec.homepage,
        "weights": {file.name: file.sha256 for file in spec.weights},
    }


def _usual_light(spec: ModelSpec) -> str:
    usual, faithful = spec.consistency, spec.faithful_consistency
    return f"'{usual}'" + f", or '{faithful}' where no noise is removed," * (faithful != usual)


def _not_writable(path: Path, error: OSError) -> SuperresError:
    full = disk_full(path, error, "Free some space, or choose another folder.")
    return full or OutputError(
        f"'{path}' cannot be written ({error.strerror or error}).",
        "Correct the permissions, or choose another folder.",
    )
