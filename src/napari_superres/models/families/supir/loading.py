"""Load SUPIR: its own file laid over an SDXL checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from napari_superres.models.families.supir.autoencoder import DoubleAutoencoder
from napari_superres.models.families.supir.base import find_base, open_base
from napari_superres.models.families.supir.keys import sort_names
from napari_superres.models.families.supir.layout import layout_of
from napari_superres.models.families.supir.network import Network
from napari_superres.models.families.supir.text import TextEncoders, build_encoder, open_tokenizer
from napari_superres.models.parts import Found, check_fit, check_room, fill, open_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from napari_superres.models.families.supir.layout import Layout

OWN = {
    "control": "control network",
    "adapters": "adapters between control network and decoder",
    "robust": "degradation-robust encoder",
}
"""What is in a SUPIR file, and what errors call it."""

PARTS = {**OWN, "unet": "SDXL network", "vae": "SDXL autoencoder"}
"""With what comes from the SDXL checkpoint."""


class Loaded(NamedTuple):
    """SUPIR and what it stands on, on the CPU."""

    network: Network
    autoencoder: DoubleAutoencoder
    encoders: TextEncoders
    layout: Layout


def load_supir(
    path: Path,
    base: str = "",
    tokenizer: str = "",
    dtype: torch.dtype = torch.float32,
) -> Loaded:
    """Return SUPIR from its file and an SDXL checkpoint.

    Parameters
    ----------
    path : Path
        A published SUPIR file: safetensors, or a checkpoint of which nothing is executed.
    base : str
        SDXL checkpoint: a file, a diffusers folder, or an id. Empty looks in the usual places.
    tokenizer : str
        Folder or id; empty looks in the usual places.
    dtype : torch.dtype
        Of the network. The autoencoder overflows in float16 and is kept in bfloat16 then.

    Raises
    ------
    WeightsError
        If a file is missing, damaged or incomplete; the message names what it lacks.
    ResourceError
        If main memory does not suffice, through which all numbers go.
    """
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    own = open_tensors(path)
    layout = layout_of({name: tuple(tensor.shape) for name, tensor in own.items()}, str(path))
    place = find_base(base)
    checkpoint = open_base(place, tokenizer, layout, half=dtype != torch.float32)
    found = {**own_parts(own, layout, str(path)), **checkpoint.parts}
    numbers = sum(part.numbers for part in found.values())
    check_room("SUPIR and SDXL", numbers, dtype)
    network, autoencoder = assemble(layout, found, dtype)
    one, two = (
        build_encoder(found[part], config, kind, f"{word} text encoder", dtype)
        for part, config, kind, word in (
            ("text", checkpoint.configs[0], CLIPTextModel, "first"),
            ("text_2", checkpoint.configs[1], CLIPTextModelWithProjection, "second"),
        )
    )
    words = open_tokenizer(checkpoint.tokenizer)
    return Loaded(network, autoencoder, TextEncoders(words, one, two, layout.vector), layout)


def check_supir(path: Path) -> None:
    """Refuse a file that is not a complete SUPIR file.

    Raises
    ------
    WeightsError
        Naming what it lacks.
    """
    own = open_tensors(path)
    layout = layout_of({name: tuple(tensor.shape) for name, tensor in own.items()}, str(path))
    parts = parts_on_meta(layout)
    for part, (tensors, source, where) in own_parts(own, layout, str(path)).items():
        check_fit(parts[part], tensors, source, name=PARTS[part], where=where)


def own_parts(tensors: Mapping[str, Tensor], layout: Layout, where: str) -> dict[str, Found]:
    """Return the parts of a SUPIR file by the names of `OWN`; other tensors are left out."""
    source = sort_names(tensors, layout.blocks, len(layout.vae_channels))
    return {part: Found(tensors, source[part], where) for part in OWN}


def assemble(
    layout: Layout, found: Mapping[str, Found], dtype: torch.dtype = torch.float32
) -> tuple[Network, DoubleAutoencoder]:
    """Return network and autoencoder with their weights.

    Parameters
    ----------
    layout : Layout
    found : mapping of str to Found
        By the names of `PARTS`.
    dtype : torch.dtype

    Raises
    ------
    WeightsError
        If a part is incomplete or of another network.
    """
    parts = parts_on_meta(layout)
    careful = torch.bfloat16 if dtype == torch.float16 else dtype
    for part, name in PARTS.items():
        tensors, source, where = found[part]
        kind = careful if part in ("robust", "vae") else dtype
        fill(parts[part], tensors, source, name=name, where=where, dtype=kind)
    return parts["network"], parts["autoencoder"]


def parts_on_meta(layout: Layout) -> dict[str, nn.Module]:
    """Return every part, and the two that hold them, without memory for their numbers."""
    with torch.device("meta"):
        network, autoencoder = Network(layout), DoubleAutoencoder(layout)
    return {
        "network": network,
        "autoencoder": autoencoder,
        "control": network.control,
        "adapters": network.adapters,
        "robust": autoencoder.robust.encoder,
        "unet": network.unet,
        "vae": autoencoder.plain,
    }
