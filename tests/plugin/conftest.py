"""A real viewer on a real or virtual screen; without one, the tests that need it are skipped."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_superres.models.families.interpolation import Interpolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# napari reads its settings when it is imported: ours must neither use nor change the user's.
os.environ["NAPARI_CONFIG"] = ""

SCREEN = (
    sys.platform in ("win32", "darwin")
    or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
) and os.environ.get("QT_QPA_PLATFORM") != "offscreen"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, visibly, what needs a screen where there is none."""
    skip = pytest.mark.skip(reason="no screen: run under xvfb-run with QT_QPA_PLATFORM=xcb")
    for item in items:
        # Qt itself ends the process when it finds no screen.
        if not SCREEN and {"make_napari_viewer", "qtbot"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def no_preferences() -> Iterator[None]:
    """Let every test begin with the defaults, whatever another test's panel has remembered."""
    from napari_superres.plugin.preferences import napari_store, stored

    yield
    napari_store.cache_clear()
    stored.cache_clear()
    forget = getattr(sys.modules.get("napari.settings"), "_clear_plugin_settings_cache", None)
    if forget is not None:
        forget()


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Iterator[Any]:
    """Return a viewer whose window is on the screen; small, because software draws it."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 600)
    settle()
    yield viewer
    viewer.close()
    # A slice that napari made in the background and has not shown yet holds the window until then.
    settle()


@pytest.fixture
def panel(viewer: Any) -> Any:
    """Return the panel, opened as users open it."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-superres", "Super-resolution")
    widget.form.choose("lanczos", 2)  # needs no weights
    settle()
    return widget


class Engine:
    """Counts the calls of the interpolation engines, and can slow them down or hold them.

    The interpolation itself is the real one: only its calls are watched.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.error: Exception | None = None
        self.may_end = threading.Event()
        self.may_end.set()
        self._lock = threading.Lock()
        self._call = Interpolation.__call__

    def __call__(self, engine: Interpolation, *args: Any) -> np.ndarray:
        """Stand for `Interpolation.__call__`."""
        with self._lock:
            self.calls += 1
        time.sleep(self.seconds)
        self.may_end.wait(60)
        if self.error is not None:
            raise self.error
        return self._call(engine, *args)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Return a watch over all calls of the interpolation models' engines."""
    watch = Engine()
    monkeypatch.setattr(Interpolation, "__call__", lambda self, *args: watch(self, *args))
    yield watch
    watch.may_end.set()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the sentences that were shown as notifications."""
    sentences: list[str] = []
    monkeypatch.setattr("napari_superres.plugin.notify.show_error", sentences.append)
    return sentences


@pytest.fixture
def noise(viewer: Any) -> Any:
    """Return a stack of noise in the viewer."""
    rng = np.random.default_rng(5)
    stack = rng.integers(100, 4000, (3, 400, 500), dtype=np.uint16)
    return viewer.add_image(
        stack,
        name="noise",
        axis_labels=("z", "y", "x"),
        scale=(2, 0.5, 0.5),
        units=("um", "um", "um"),
        colormap="green",
        contrast_limits=(0, 5000),
    )


def click(qtbot: Any, button: Any) -> None:
    """Click as a user does: nothing happens when the button is disabled."""
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def finished(panel: Any) -> None:
    """Wait until nothing runs any more."""
    until(lambda: panel.progress.work is None)
    settle()


def words(label: Any) -> str:
    """Return the text of a label without the marks that keep words together."""
    return str(label.text()).replace("\u00a0", " ").replace("\u2060", "")


def choose_output(panel: Any, output: str) -> None:
    """Choose where the result goes."""
    panel.output.setCurrentIndex(panel.output.findData(output))


def settle(seconds: float = 0.1) -> None:
    """Let Qt and napari do what they have put off."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Let Qt work until a condition holds; long, because test machines are shared."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        settle(0.01)


def canvas(viewer: Any) -> np.ndarray:
    """Return the picture of the canvas, (y, x, rgb)."""
    settle()
    return np.asarray(viewer.screenshot(canvas_only=True, flash=False))[..., :3]
