"""From words on the command line to the keywords of `upscale`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.image import Image


def whole_pair(text: str | None) -> int | tuple[int, int] | None:
    """Return ``"256"`` as 256 and ``"256,128"`` as (256, 128)."""
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise click.BadParameter(f"'{text}' is not a number of pixels, nor two with a comma.")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def channels(text: str | None) -> list[int | str] | None:
    """Return ``"0,DAPI"`` as [0, "DAPI"]."""
    if text is None:
        return None
    names = [part.strip() for part in text.split(",") if part.strip()]
    return [int(name) if re.fullmatch("-?[0-9]+", name) else name for name in names]


def planes(text: str | None) -> dict[str, Any] | None:
    """Return ``"z=0:10,t=3"`` as {"z": slice(0, 10), "t": 3}."""
    if text is None:
        return None
    wishes: dict[str, Any] = {}
    for part in text.split(","):
        axis, separator, wish = part.partition("=")
        if not separator:
            raise click.BadParameter(f"'{part}' is not of the form axis=index or axis=start:stop.")
        wishes[axis.strip()] = _index(wish)
    return wishes


def region(text: str | None) -> tuple[slice, slice] | None:
    """Return ``"0:100,50:150"`` as a slice along y and one along x."""
    if text is None:
        return None
    match [_index(part) for part in text.split(",")]:
        case [slice() as y, slice() as x]:
            return y, x
    raise click.BadParameter(f"'{text}' is not of the form y0:y1,x0:x1.")


def limits(texts: Sequence[str], image: Image) -> Any:
    """Return ``("0:4095",)`` or ``("DAPI=100:900", "1=0:4095")`` as the keyword.

    Parameters
    ----------
    texts : sequence of str
        One for all channels, or one for each.
    image : Image
        Whose channels are named.
    """
    if not texts:
        return None
    if len(texts) == 1 and "=" not in texts[0]:
        return _pair(texts[0])
    names = [channel.name for channel in image.channels]
    pairs: dict[int, tuple[float, float]] = {}
    for text in texts:
        name, separator, pair = text.rpartition("=")
        if not separator:
            raise click.BadParameter(f"'{text}' names no channel; write CHANNEL=LOW:HIGH.")
        index = int(name) if re.fullmatch("[0-9]+", name) else -1
        if name in names and not 0 <= index < len(names):  # as `select` understands a number
            index = names.index(name)
        if not 0 <= index < len(names):
            raise click.BadParameter(f"There is no channel '{name}'; there are {names}.")
        pairs[index] = _pair(pair)
    missing = sorted(set(range(len(names))) - set(pairs))
    if missing:
        raise click.BadParameter(f"Channels {missing} have no limits; give all of them or none.")
    return [pairs[i] for i in range(len(names))]


def denoise(text: str | None) -> float | str | None:
    """Return a number as a float, and ``"auto"`` as it is."""
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"'{text}' is neither 'auto' nor a number from 0 to 1.") from None


def options(texts: Sequence[str]) -> dict[str, str]:
    """Return ``("steps=8",)`` as {"steps": "8"}; the model's row knows the types.

    ``("captions=@texts.json",)`` takes the value from a file.
    """
    wishes = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise click.BadParameter(f"'{text}' is not of the form KEY=VALUE.")
        wishes[key] = _from_file(value[1:]) if value.startswith("@") else value
    return wishes


def _from_file(name: str) -> str:
    try:
        return Path(name).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"'{name}' cannot be read as a text file ({error}).") from None


def number_or_none(name: str, text: str) -> float | None:
    """Return ``"100"`` as 100.0, and ``"none"`` as None."""
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{name} '{text}' is neither a number nor 'none'.") from None


def photons(text: str | None) -> tuple[float, float] | Literal["none"] | None:
    """Return ``"100"`` as (100, 100), ``"30:300"`` as (30, 300), and ``"none"`` as it is."""
    if text is None or text == "none":
        return text  # type: ignore[return-value] # it is "none"
    return _pair(text if ":" in text else f"{text}:{text}")


def named_numbers(texts: Sequence[str]) -> dict[str, float]:
    """Return ``("coma=0.05",)`` as {"coma": 0.05}."""
    numbers = {}
    for name, value in options(texts).items():
        try:
            numbers[name] = float(value)
        except ValueError:
            raise click.BadParameter(f"'{value}' of '{name}' is not a number.") from None
    return numbers


def _pair(text: str) -> tuple[float, float]:
    low, separator, high = text.partition(":")
    try:
        return float(low), float(high if separator else "nothing")
    except ValueError:
        raise click.BadParameter(f"'{text}' is not of the form LOW:HIGH.") from None


def _index(text: str) -> int | slice:
    try:
        numbers = [int(part) if part.strip() else None for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1 and numbers[0] is not None:
        return numbers[0]
    if len(numbers) not in (2, 3):
        raise click.BadParameter(f"'{text}' is neither an index nor of the form start:stop.")
    return slice(*numbers)
