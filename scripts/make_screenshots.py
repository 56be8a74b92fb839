"""Make the documentation's pictures of the viewer, from the sample data, in docs/images.

Run it from the top of the repository: ``python scripts/make_screenshots.py [NAME...]``. Without a
screen it starts one of its own (``xvfb-run`` on Linux).
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = (1280, 860)
"""Of the window, in pixels."""

MODEL = "microscopy-x4"


def main(names: list[str]) -> None:
    """Make the pictures of these names, or all of them."""
    _on_a_screen()
    os.environ["NAPARI_CONFIG"] = ""  # neither use nor show the settings of whoever runs this
    import napari

    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in names or PICTURES:
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*SIZE)
        try:
            PICTURES[name](viewer)
            spin(1)
            viewer.screenshot(str(IMAGES / f"{name}.png"), canvas_only=False, flash=False)
        finally:
            viewer.close()
        print(f"docs/images/{name}.png: {(IMAGES / f'{name}.png').stat().st_size / 1000:.0f} kB")


def opened(viewer: Any) -> None:
    """Show the sample, just opened, with the panel beside it."""
    panel_with_sample(viewer)


def preview(viewer: Any) -> None:
    """Show the preview, swiped over plain interpolation."""
    panel = panel_with_sample(viewer)
    zoom(viewer, 2.5)
    panel.preview()
    finish(panel)
    panel.compare.mode.setCurrentIndex(panel.compare.mode.findText("Swipe"))
    panel.compare.mode.activated.emit(panel.compare.mode.currentIndex())


def on_demand(viewer: Any) -> None:
    """Show an on-demand layer where its tiles have come, with the resolution on the screen."""
    panel = with_result(viewer)
    panel.trust.resolution()
    spin(60, lambda: panel.trust.progress.work is None)


def residual(viewer: Any) -> None:
    """Show the residual map over the result."""
    panel = with_result(viewer)
    panel.trust.consistency()
    spin(60, lambda: panel.trust.progress.work is None)


PICTURES: dict[str, Callable[[Any], None]] = {
    "napari_opened": opened,
    "napari_preview": preview,
    "napari_on_demand": on_demand,
    "napari_residual": residual,
}


def panel_with_sample(viewer: Any) -> Any:
    """Open the sample and the panel, and return the panel."""
    viewer.open_sample("napari-superres", "filaments")
    viewer.layers.selection.active = viewer.layers[0]
    _, panel = viewer.window.add_plugin_dock_widget("napari-superres", "Super-resolution")
    panel.form.choose(MODEL)
    # napari moved it in 0.9.
    bar = viewer.canvas.overlays.scale_bar if hasattr(viewer, "canvas") else viewer.scale_bar
    bar.visible = True
    spin(1)
    return panel


def with_result(viewer: Any) -> Any:
    """Add an on-demand layer of the sample, zoom in until it is finer, and return the panel."""
    panel = panel_with_sample(viewer)
    panel.run()
    finish(panel)
    zoom(viewer, 2.5)
    result = viewer.layers[-1]
    spin(60, lambda: result.data_level == 0 and result.data[0].waiting == 0)
    return panel


def zoom(viewer: Any, factor: float) -> None:
    """Zoom in on the middle."""
    getattr(viewer, "scene", viewer).camera.zoom *= factor
    spin(1)


def finish(panel: Any) -> None:
    """Wait until the panel's work is done."""
    spin(120, lambda: panel.progress.work is None)


def spin(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the event loop turn for a while, or until something is true."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.01)


def _on_a_screen() -> None:
    """Begin again under a virtual screen where there is none."""
    if sys.platform != "linux" or os.environ.get("DISPLAY"):
        return
    virtual = shutil.which("xvfb-run")
    if virtual is None:
        raise SystemExit("There is no screen: install xvfb.")
    os.environ["QT_QPA_PLATFORM"] = "xcb"
    screen = ["-a", "-s", "-screen 0 1600x1200x24"]
    os.execv(virtual, [virtual, *screen, sys.executable, *sys.argv])


if __name__ == "__main__":
    main(sys.argv[1:])
