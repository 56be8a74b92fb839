"""How to make a result again: as keywords, as Python and as a command, from what is stored with it.

Every number is the one that was used, so that neither new defaults nor another look at the pixels
change the result.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from napari_superres.errors import InputError
from napari_superres.formats.suffixes import result_path
from napari_superres.models.catalog import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_READING = ("axes", "series", "level")


def keywords(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of `upscale` that lead to the plan of a result again.

    Parameters
    ----------
    record : mapping
        What `Image.history` holds of the result.

    Returns
    -------
    dict
        Plain values. Strengths of denoising that differ between channels stay ``"auto"``: the same
        source gives the same ones.
    """
    plan, tile = record["plan"], tuple(record["tile"])
    limits = [tuple(pair) for pair in plan["limits"] or ()]
    strengths = {strength for strength in plan["denoise"] if strength is not None}
    found: dict[str, Any] = {"scale": plan["scale"]}
    if limits:
        found["limits"] = limits[0] if len(set(limits)) == 1 else limits
    if strengths:
        found["denoise"] = strengths.pop() if len(strengths) == 1 else "auto"
    found |= {
        "consistency": plan["consistency"],
        "dtype": plan["dtype"],
        "tile": tile[0] if tile[0] == tile[1] else tile,
        "halo": plan["halo"],
        "feather": plan["feather"],
        "seed": plan["seed"],
    }
    if plan["samples"] != 1:
        found["samples"] = plan["samples"]
    elif "spread" in record:
        found["uncertainty"] = True
    found |= {
        "device": f"{plan['device']}/{plan['engine']}",
        "precision": plan["precision"],
        "batch": plan["batch"],
    }
    if plan["options"]:
        found["options"] = dict(plan["options"])
    return found


def selected(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of `upscale` that choose the same part of the whole result.

    Parameters
    ----------
    record : mapping
        What `Image.history` holds of the result.

    Returns
    -------
    dict
        Of ``channels``, ``planes`` and ``region`` those that are needed, as plain values.
    """
    part = dict(record.get("part", {}))
    found: dict[str, Any] = {}
    if "c" in part:
        found["channels"] = list(part.pop("c"))
    region = tuple(slice(*part.pop(axis)) for axis in "yx" if axis in part)
    if part:
        found["planes"] = {axis: slice(*bounds) for axis, bounds in part.items()}
    if region:
        found["region"] = region
    return found


def as_python(history: Sequence[Mapping[str, Any]], output: str | None = None) -> str:
    """Return a program that makes a result again from its file.

    Parameters
    ----------
    history : sequence of mapping
        As in `Image.history`, oldest first.
    output : str, optional
        Where the program writes; beside the source if None.

    Raises
    ------
    InputError
        If the source was not read from a file.
    """
    records = _since_file(history)
    source = records[0]["source"]
    path = _path(records[0])
    reading = [repr(path), *(f"{k}={source[k]!r}" for k in _READING if source.get(k))]
    lines = [_heading(record) for record in records]
    lines += ["import napari_superres as sr"]
    read = f"sr.read({', '.join(reading)})"
    if source.get("channels"):
        lines.append("from napari_superres.selection import select")
        read = f"select({read}, channels={list(source['channels'])!r})"
    lines += ["", f"image = {read}"]
    for record in records:
        # Where there is a spread, both come back.
        pair = "spread" in record or record["plan"]["samples"] != 1
        names = ("_, image" if "spread" in record else "image, _") if pair else "image"
        taken = {"axes": axes} if (axes := record["source"].get("taken_as")) else {}
        others = {**taken, **selected(record)}
        lines.append(f"{names} = {call('sr.upscale', 'image', record, **others)}")
    lines.append(f"sr.write(image, {output or default_output(records)!r})")
    return "\n".join(lines) + "\n"


def as_command(history: Sequence[Mapping[str, Any]], output: str | None = None) -> str:
    """Return a command line that makes a result again from its file.

    Parameters
    ----------
    history : sequence of mapping
        As in `Image.history`, oldest first.
    output : str, optional
        Where it writes; beside the source if None.

    Raises
    ------
    InputError
        If the source was not read from a file, or one command cannot say it.
    """
    records = _since_file(history)
    record = records[-1]
    source, path = record["source"], _path(record)
    _check_one_command(records)
    words = ["superres", "upscale", path, output or default_output(records)]
    words += [f"--{key}={source[key]}" for key in _READING if source.get(key)]
    found = keywords(record)
    chosen = source.get("channels")
    part = selected(record)
    if chosen:  # the part counts in them, the command in those of the file
        part["channels"] = [chosen[i] for i in part.get("channels", range(len(chosen)))]
    if chosen and isinstance(found.get("limits"), list):
        limits_of = dict(zip(chosen, found["limits"], strict=True))
        # Those that are not chosen need some, and make no pixel.
        found["limits"] = [limits_of.get(i, (0.0, 1.0)) for i in range(source["channel_count"])]
    if "taken_as" in source:
        words.append("--rgb")
    words.append(f"--model={record['model']}")
    for key, value in {**found, **part}.items():
        words += _option(key, value)
    return " ".join(shlex.quote(word) for word in words)


def call(function: str, first: str, record: Mapping[str, Any], **others: Any) -> str:
    """Return the text of a call of `upscale`, or of a function with the same keywords.

    Parameters
    ----------
    function : str
        What is called.
    first : str
        Its first argument, as Python text.
    record : mapping
        What `Image.history` holds of the result.
    **others
        Further keywords.
    """
    arguments = [first, repr(record["model"])]
    arguments += [f"{key}={value!r}" for key, value in {**keywords(record), **others}.items()]
    return f"{function}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def default_output(records: Sequence[Mapping[str, Any]]) -> str:
    """Return where the program and the command write: beside the source, with the scale factor."""
    scale = 1
    for record in records:
        scale *= int(record["plan"]["scale"])
    return result_path(_path(records[0]), scale)


def _heading(record: Mapping[str, Any]) -> str:
    weights = "".join(f", weights {sha[:12]}" for sha in record["weights"].values() if sha)
    return f"# {record['program']} {record['version']}, {record['engine']}, {record['model']}" + (
        weights
    )


def _since_file(history: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the last records that belong to one file: a result of a result has several."""
    if not history:
        raise InputError("This is not a result of an upscaling.", "Choose one.")
    first = len(history) - 1
    while first and history[first - 1]["source"].get("path") == history[-1]["source"].get("path"):
        first -= 1
    if any("channel" in record for record in history[first:]):
        raise InputError(
            "The channels of this result were made in different ways.",
            "Open it in napari, and copy how each of its layers was made.",
        )
    return history[first:]


def _path(record: Mapping[str, Any]) -> str:
    path = record["source"].get("path")
    if not path:
        raise InputError(
            f"The source '{record['source'].get('name')}' was not opened from a file.",
            "Save it, for example as OME-Zarr, open the file, and upscale that.",
        )
    return str(path)


def _check_one_command(records: Sequence[Mapping[str, Any]]) -> None:
    last = records[-1]
    spec = MODELS.get(last["model"])
    # A plane's random numbers depend on its place among all planes of the file.
    random = spec is not None and spec.unit == "plane" and bool(last["source"].get("channels"))
    # Other letters for axes that a file has named are words of Python, but for colours.
    renamed = "s" not in last["source"].get("taken_as", "s")
    if len(records) > 1 or random or renamed:
        raise InputError(
            "This result is not that of a single command.", "Copy it as Python, which can say it."
        )


def _option(key: str, value: Any) -> list[str]:
    if key == "options":
        return [f"--option={name}={setting}" for name, setting in value.items()]
    if key == "limits" and isinstance(value, list):
        return [f"--limits={i}={low!r}:{high!r}" for i, (low, high) in enumerate(value)]
    if key == "limits":
        return [f"--limits={value[0]!r}:{value[1]!r}"]
    if value is True:
        return [f"--{key}"]
    if key == "planes":
        return [f"--planes={','.join(f'{axis}={_bounds(own)}' for axis, own in value.items())}"]
    if key == "region":
        return [f"--region={','.join(map(_bounds, value))}"]
    if isinstance(value, list | tuple):
        return [f"--{key}={','.join(map(str, value))}"]
    return [f"--{key}={value}"]


def _bounds(chosen: slice) -> str:
    """Return a slice as one types it."""
    return ":".join(str(n) for n in (chosen.start, chosen.stop, chosen.step) if n is not None)
