"""Where a result comes from: what is stored with it, and how to say it in a paper."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from napari_superres._version import __version__
from napari_superres.models.base_model import base_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.image import Image
    from napari_superres.plan import Plan


def history_record(image: Image, plan: Plan) -> dict[str, Any]:
    """Return what is stored with a result: everything needed to make and to cite it again.

    Parameters
    ----------
    image : Image
        The source.
    plan : Plan
        The decisions.

    Returns
    -------
    dict
        JSON values only.
    """
    spec = plan.spec
    base = base_record(spec, plan.options)
    return {
        "program": "napari-superres",
        "version": __version__,
        "model": spec.name,
        "title": spec.title,
        "trained_on": spec.domain,
        "proven": spec.proven,
        "weights": {file.name: file.sha256 for file in spec.weights},
        **({"base": base} if base else {}),
        "licence": spec.licence,
        "commercial_use": spec.commercial,
        "citation": spec.citation,
        "engine": f"{plan.compute.engine} {plan.compute.version}",
        "seed": plan.seed,
        "random": spec.random,
        "plan": plan.record(),
        "auto_denoise": plan.auto_denoise,
        "tile": list(plan.tile),
        "source": _shareable({"name": image.name, **image.source}),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _shareable(source: dict[str, Any]) -> dict[str, Any]:
    """Return where an image came from without what only its reader may know.

    Results are passed on: names, passwords and signatures in an address would go with them.
    """
    path = str(source.get("path", ""))
    if "://" not in path:
        return source
    parts = urlsplit(path)
    host = parts.netloc.rpartition("@")[2]
    return {**source, "path": urlunsplit((parts.scheme, host, parts.path, "", ""))}


def methods_text(history: Sequence[Mapping[str, Any]]) -> str:
    """Return a paragraph for the methods section of a paper.

    Parameters
    ----------
    history : sequence of mapping
        As in `Image.history`.

    Returns
    -------
    str
        Empty when nothing was upscaled.
    """
    return " ".join(_sentences(record) for record in history)


def citations(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the references that a result asks for, each once."""
    return list(dict.fromkeys(str(record["citation"]) for record in history))


_SAMPLES = {
    True: "The result is the mean of {} samples, drawn with different random numbers; their "
    "standard deviation, the sampling spread, says where the model is undecided, not how wrong it "
    "is.",
    False: "The result is the mean over {} flips and rotations of the image; their standard "
    "deviation is the augmentation spread.",
}


def _sentences(record: Mapping[str, Any]) -> str:
    plan = record["plan"]
    images = f"Images of channel {record['channel']}" if "channel" in record else "Images"
    text = [
        f"{images} were upscaled {plan['scale']}-fold along x and y, plane by plane, with the "
        f"model '{Path(record['model']).name}' (trained on {record['trained_on'].rstrip('.')}; "
        f"licence {record['licence']}) in "
        f"{record['program']} {record['version']} ({record['engine']}, {plan['precision']})."
    ]
    weights = [sha for sha in record["weights"].values() if sha]
    if weights:
        text.append(f"The weights have SHA-256 {' and '.join(weights)}.")
    if "base" in record:
        text.append(_base_words(record["base"]))
    if plan["limits"]:
        pairs = ", ".join(f"{low:g} to {high:g}" for low, high in plan["limits"])
        text.append(f"Intensities from {pairs} were mapped to the range that the model expects.")
    strengths = sorted({d for d in plan["denoise"] if d is not None})
    if strengths:
        text.append(f"The strength of denoising was {', '.join(f'{d:g}' for d in strengths)}.")
    light = {
        "pixel": "The mean of the fine pixels inside each original pixel was made to equal it.",
        "local": "Averaged to the original pixels, the result was made to agree with the original "
        "above the scale of a few pixels.",
        "off": "The original intensities were not enforced on the result.",
    }
    text.append(light[plan["consistency"]])
    if plan["samples"] > 1:
        text.append(_SAMPLES[bool(record.get("random"))].format(plan["samples"]))
    if "spread" in record:
        text.append(f"This image holds the {record['spread']}, in the units of the intensities.")
    text.append("Detail finer than the original pixels is estimated by the model, not measured.")
    return " ".join(text)


def _base_words(base: Mapping[str, str]) -> str:
    if "sha256" in base:
        return f"They stand on a base model with SHA-256 {base['sha256']}."
    if "revision" in base:
        return f"The base model is revision {base['revision']} of its folder on the hub."
    if "contents" in base:
        return f"The base model is the folder with the fingerprint {base['contents']}."
    return f"The base model lay in '{base['path']}'."
