"""What the menu *Layers > Filter > Super-resolution* and the command palette offer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info

# At run time: napari hands in the viewer where it finds this type among the hints.
from napari.viewer import Viewer  # noqa: TC002
from qtpy.QtWidgets import QApplication

from napari_superres.errors import InputError, SuperresError
from napari_superres.plugin import steps
from napari_superres.plugin.layers import layer_to_image
from napari_superres.plugin.look import real
from napari_superres.plugin.notify import say
from napari_superres.plugin.results import Results
from napari_superres.plugin.widget import SuperresWidget
from napari_superres.plugin.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_superres.plan import Plan

_running: dict[Work, Callable[[Plan], str]] = {}
"""What runs, which nobody else holds, and what will show its result."""


def open_panel(napari_viewer: Viewer) -> SuperresWidget:
    """Open the super-resolution panel, or bring it to the front.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Handed in by napari.
    """
    dock, widget = real(napari_viewer).window.add_plugin_dock_widget(
        "napari-superres", "Super-resolution"
    )
    dock.show()
    dock.raise_()
    assert isinstance(widget, SuperresWidget)
    return widget


def preview_view(napari_viewer: Viewer) -> None:
    """Open the panel and make finer what is on the screen."""
    open_panel(napari_viewer).preview()


def compare_result(napari_viewer: Viewer) -> None:
    """Blink between a result and its source, or a preview and interpolation; again to end it."""
    open_panel(napari_viewer).compare.blink()


def check_consistency(napari_viewer: Viewer) -> None:
    """Add what differs when the result on the screen is averaged back to its source's pixels."""
    open_panel(napari_viewer).trust.consistency()


def estimate_resolution(napari_viewer: Viewer) -> None:
    """Say the finest resolved period of the result on the screen and of its source."""
    open_panel(napari_viewer).trust.resolution()


def show_uncertainty(napari_viewer: Viewer) -> None:
    """Add a map of the errors that the model expects in the result on the screen."""
    open_panel(napari_viewer).trust.uncertainty()


def compare_models(napari_viewer: Viewer) -> None:
    """Open the dialog that compares models on what is on the screen."""
    open_panel(napari_viewer).compare_models.open()


def export_result(napari_viewer: Viewer) -> None:
    """Write the selected result, or the last one, to a file that is asked for."""
    open_panel(napari_viewer).export()


def manage_models(napari_viewer: Viewer) -> None:
    """Open the model manager: what is on this computer; download, add and remove."""
    open_panel(napari_viewer).manage_models()


def copy_as_python(napari_viewer: Viewer) -> None:
    """Copy a program that makes the selected result, or the present settings' one, again."""
    open_panel(napari_viewer).copy("python")


def copy_as_command(napari_viewer: Viewer) -> None:
    """Copy a command line that makes the selected result, or the present settings' one, again."""
    open_panel(napari_viewer).copy("command")


def copy_methods_text(napari_viewer: Viewer) -> None:
    """Copy a paragraph for a paper about the selected result, or the present settings' one."""
    open_panel(napari_viewer).copy("methods")


def upscale_active_layer(napari_viewer: Viewer) -> None:
    """Add a finer layer of the active layer, computed where one looks, with the default model.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Handed in by napari.
    """
    viewer = real(napari_viewer)
    layer = viewer.layers.selection.active
    try:
        if layer is None:
            raise InputError("No layer is selected.", "Select one image in the layer list.")
        image = layer_to_image(layer)
    except SuperresError as error:
        say(error)
        return
    work = Work(partial(steps.prepare, image, {}))
    _running[work] = partial(_over_no_comparison, viewer, Results(viewer).on_demand(layer, image))
    # Connections last as long as the work, which napari never lets go of: they hold no layer.
    work.succeeded.connect(partial(_show, work))
    work.failed.connect(say)
    work.ended.connect(partial(_running.pop, work))
    work.start()


def _show(work: Work, plan: Plan) -> None:
    show_info(_running[work](plan))


def _over_no_comparison(viewer: Viewer, show: Callable[[Plan], str], plan: Plan) -> str:
    """Show a result; a comparison, which would show again what it hides, ends before."""
    for widget in QApplication.allWidgets():
        if isinstance(widget, SuperresWidget) and real(widget.viewer) is viewer:
            widget.compare.end()
    return show(plan)
