"""Tell the user what went wrong: one sentence for what we know, napari's report for bugs."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import notification_manager, show_error, show_info, show_warning

from napari_superres.errors import Cancelled, SuperresError
from napari_superres.models.captions import reviewing
from napari_superres.plugin.layers import is_turned

if TYPE_CHECKING:
    from collections.abc import Iterable

_MEMORY = (
    "Memory is full, and nothing was kept. Choose a smaller tile or a memory budget under "
    "'Compute', or the output 'OME-Zarr file', and close what you do not need."
)


def say(error: Exception) -> str:
    """Show an error as a notification of napari's, and return the sentence.

    Parameters
    ----------
    error : Exception
        Ours are shown as a sentence; of others napari keeps the traceback for a bug report.
    """
    if isinstance(error, Cancelled):
        return "Cancelled."
    if isinstance(error, SuperresError):
        show_error(str(error))
        return str(error)
    if isinstance(error, MemoryError):
        show_error(_MEMORY)
        return _MEMORY
    notification_manager.receive_error(type(error), error, error.__traceback__)
    return f"Something went wrong ({type(error).__name__}: {error}). napari's message has details."


def tell_turned(layers: Iterable[Any]) -> None:
    """Warn of layers that are about to be written to a file that cannot hold where they lie."""
    names = [f"'{layer.name}'" for layer in layers if is_turned(layer)]
    if names:
        show_warning(
            f"Rotation, flip, shear and affine transform of {', '.join(names)} are not in the "
            "file: opened again, it lies upright."
        )


@cache
def tell_captions() -> None:
    """From now on, show what a captioner says of each plane; the option *captions* changes it."""
    _for_good.enter_context(reviewing(_tell_caption))


_for_good = ExitStack()


def _tell_caption(plane: int, caption: str) -> str:
    show_info(
        f"Plane {plane} is described as: {caption} To change that, fill in the option 'captions', "
        f'for example {{"{plane}": "Round cells."}}.'
    )
    return caption
