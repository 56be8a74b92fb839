"""Load SUPIR: its own file laid over an SDXL checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_superres.models.families.supir.autoencoder import DoubleAutoencoder
from napari_superres.models.families.supir.keys import sort_names
from napari_superres.models.families.supir.network import Network
from napari_superres.models.families.supir.tensors import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from napari_superres.models.families.supir.layout import Layout

PARTS = {
    "control": "control network",
    "adapters": "adapters between control network and decoder",
    "robust": "degradation-robust encoder",
    "unet": "SDXL network",
    "vae": "SDXL autoencoder",
}
"""What the parts are called in errors; the first three are in a SUPIR file, the others in SDXL's."""

_OWN = ("control", "adapters", "robust")


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


def assemble(
    layout: Layout,
    own: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    *,
    names: tuple[str, str],
    dtype: torch.dtype = torch.float32,
) -> tuple[Network, DoubleAutoencoder]:
    """Return network and autoencoder, from tensors by their published names.

    Parameters
    ----------
    layout : Layout
    own, base : mapping of str to Tensor
        Of the SUPIR file and of the SDXL file.
    names : (str, str)
        What to call the two files in an error.
    dtype : torch.dtype

    Raises
    ------
    WeightsError
        If a part is incomplete.
    """
    parts = parts_on_meta(layout)
    for tensors, name, wanted in (
        (own, names[0], _OWN),
        (base, names[1], tuple(part for part in PARTS if part not in _OWN)),
    ):
        source = sort_names(tensors, layout.blocks, len(layout.vae_channels))
        for part in wanted:
            fill(parts[part], tensors, source[part], name=PARTS[part], where=name, dtype=dtype)
    return parts["network"], parts["autoencoder"]
