"""The napari plugin: the only place that imports napari or Qt, imported by nothing else.

For scripts, ``upscale_layer(layer)`` returns a finer layer that lies exactly over its source, and
``layer_kwargs(layer, scale)`` the settings that put any finer image there. ``resolution(viewer)``
and ``consistency_layer(viewer)`` tell how far the result on the screen can be trusted.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_superres.plugin.layers import layer_kwargs, layer_to_image
    from napari_superres.plugin.on_demand import upscale_layer
    from napari_superres.plugin.trust import consistency_layer, resolution, uncertainty_layer

__all__ = [
    "consistency_layer",
    "layer_kwargs",
    "layer_to_image",
    "resolution",
    "uncertainty_layer",
    "upscale_layer",
]

_HOME = {
    "consistency_layer": "trust",
    "layer_kwargs": "layers",
    "layer_to_image": "layers",
    "resolution": "trust",
    "uncertainty_layer": "trust",
    "upscale_layer": "on_demand",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
