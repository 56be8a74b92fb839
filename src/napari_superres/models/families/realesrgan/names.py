"""The three namings of an RRDBNet's tensors, and the way from each to the official one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def official_names(names: Iterable[str]) -> dict[str, str]:
    """Return the official Real-ESRGAN name of every tensor of an RRDBNet or SRVGGNetCompact.

    Three namings are in use: the official one, that of the first ESRGAN release
    (``RRDB_trunk.0.RDB1.conv1``, ``trunk_conv``, ``upconv1``, ``HRconv``), and that of the code
    before it, which numbers the layers of a sequence (``model.1.sub.0.RDB1.conv1.0``, ``model.3``).

    Parameters
    ----------
    names : iterable of str
        All names of one checkpoint.

    Returns
    -------
    dict of str to str
        Names that none of the three uses stay as they are.
    """
    names = list(names)
    sequence = _sequence_names(names)
    return {name: _official(sequence.get(name, name)) for name in names}


def _official(name: str) -> str:
    name = re.sub(r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2.", name)
    name = re.sub(r"^trunk_conv\.", "conv_body.", name)
    name = re.sub(r"^upconv(\d)\.", r"conv_up\1.", name)
    return re.sub(r"^HRconv\.", "conv_hr.", name)


def _sequence_names(names: Iterable[str]) -> dict[str, str]:
    """Return official names for the oldest naming; empty when it is not that one.

    ``model.0`` is the first convolution, ``model.1.sub`` the blocks followed by the convolution
    after them, then come the upsamplers, and the last two convolutions.
    """
    renamed: dict[str, str] = {}
    outer: dict[int, list[str]] = {}
    for name in names:
        block = re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)", name)
        after = re.fullmatch(r"model\.1\.sub\.\d+\.(weight|bias)", name)
        layer = re.fullmatch(r"model\.(\d+)\.(?:weight|bias)", name)
        if block:
            renamed[name] = "body.{}.rdb{}.conv{}.{}".format(*block.groups())
        elif after:
            renamed[name] = f"conv_body.{after[1]}"
        elif layer:
            outer.setdefault(int(layer[1]), []).append(name)
    places = sorted(outer)
    if len(places) < 3 or places[0] != 0:
        return renamed
    roles = ["conv_first", *(f"conv_up{i}" for i in range(1, len(places) - 2))]
    for place, role in zip(places, [*roles, "conv_hr", "conv_last"], strict=True):
        renamed |= {name: f"{role}.{name.rsplit('.', 1)[1]}" for name in outer[place]}
    return renamed
