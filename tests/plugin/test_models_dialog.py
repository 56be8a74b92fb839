"""The model manager: what is on this computer, and how to get, add and remove it."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtWidgets import QInputDialog, QMessageBox

from napari_superres.models import weights
from napari_superres.models.cache import accepted_licences, weights_folder
from napari_superres.models.catalog import MODELS, WeightFile
from napari_superres.models.weights import EMBEDDED
from napari_superres.plugin import models_dialog
from napari_superres.plugin.models_dialog import ModelsDialog
from tests.plugin.conftest import click, settle, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = np.random.default_rng(1).bytes(3_000_000)


@pytest.fixture
def dialog(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelsDialog:
    """Return the dialog over an empty cache."""
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(tmp_path / "cache"))
    dialog = ModelsDialog()
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Serve the weights of a model of the table; wait halfway for the event."""
    go = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(CONTENT) - first))
            self.send_header("ETag", '"one"')
            if first:
                self.send_header(
                    "Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
                )
            self.end_headers()
            half = len(CONTENT) // 2
            try:
                if first < half:
                    self.wfile.write(CONTENT[first:half])
                    first = half
                while not go.is_set():
                    self.wfile.write(CONTENT[first : first + 1])
                    first += 1
                    time.sleep(0.02)
                self.wfile.write(CONTENT[first:])
            except OSError:
                return  # cancelled at the other end

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "*")
    url = f"http://127.0.0.1:{server.server_port}/w.pth"
    file = WeightFile(
        "RealESRGAN_x4plus.pth", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), (url,)
    )
    table = dict(MODELS)
    table["realesrgan-x4plus"] = dataclasses.replace(table["realesrgan-x4plus"], weights=(file,))
    monkeypatch.setattr(weights, "MODELS", table)
    try:
        yield go
    finally:
        go.set()
        server.shutdown()
        server.server_close()
        thread.join()


def row_of(dialog: ModelsDialog, name: str) -> list[str]:
    """Return the texts of a model's row."""
    dialog.choose(name)
    row = dialog.table.currentRow()
    return [dialog.table.item(row, column).text() for column in range(5)]


def test_table_shows_every_model(dialog: ModelsDialog) -> None:
    """Size, licence and state at a glance, before anything is fetched."""
    assert dialog.table.rowCount() == len(MODELS)
    assert row_of(dialog, "microscopy-x2")[2] == "✓ On this computer"
    assert not dialog.download.isEnabled()
    assert not dialog.remove.isEnabled()  # it belongs to the package
    assert row_of(dialog, "realesrgan-x4plus") == [
        "realesrgan-x4plus",
        "x4",
        "↓ Needs download",
        "67 MB",
        "BSD-3-Clause",
    ]
    assert dialog.download.text() == "Download 67 MB"
    assert "photographs" in dialog.about.text()
    assert row_of(dialog, "supir-v0q")[2] == "§ Needs licence"
    assert not dialog.download.isEnabled()
    assert dialog.accept_button.isEnabled()
    assert dialog.total.text().startswith("0 models")


def test_download_shows_progress_is_cancelled_and_goes_on(
    slow: threading.Event, dialog: ModelsDialog, qtbot: Any
) -> None:
    """Gigabytes over a hotel's network: nothing that came is fetched twice."""
    dialog.choose("realesrgan-x4plus")
    assert dialog.download.text() == "Download 3 MB"
    click(qtbot, dialog.download)
    until(lambda: dialog.progress.line.text().startswith("1/3 MB"), 15)
    assert "RealESRGAN_x4plus.pth" in dialog.progress.line.text()
    assert not dialog.download.isEnabled()
    click(qtbot, dialog.progress.cancel)
    until(lambda: dialog.progress.work is None)
    assert dialog.progress.line.text() == "Cancelled."
    part = weights_folder() / "RealESRGAN_x4plus.pth.part"
    assert part.stat().st_size >= len(CONTENT) // 2
    assert row_of(dialog, "realesrgan-x4plus")[2] == "↓ Needs download"
    slow.set()
    click(qtbot, dialog.download)
    until(lambda: dialog.progress.work is None)
    settle()
    assert dialog.progress.line.text() == (
        "The weights of realesrgan-x4plus are on this computer now."
    )
    assert (weights_folder() / "RealESRGAN_x4plus.pth").read_bytes() == CONTENT
    assert row_of(dialog, "realesrgan-x4plus")[2] == "✓ On this computer"
    assert dialog.total.text().startswith("1 model downloaded or added, 3 MB")


def test_file_is_added_and_removed(
    dialog: ModelsDialog, qtbot: Any, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """Weights of one's own, or those that a colleague brought on a stick."""
    answers: dict[str, Any] = {"name": "mine"}
    monkeypatch.setattr(
        models_dialog.QFileDialog,
        "getOpenFileName",
        lambda *args: (str(EMBEDDED / "microscopy-x2.safetensors"), ""),
    )
    monkeypatch.setattr(QInputDialog, "getText", lambda *args, **options: (answers["name"], True))
    changes: list[int] = []
    dialog.changed.connect(lambda: changes.append(1))
    click(qtbot, dialog.add)
    assert dialog.progress.line.text() == "Added as 'mine'."
    assert dialog.name == "mine"
    assert row_of(dialog, "mine")[1:3] == ["x2", "✓ On this computer"]
    answers["name"] = "realesrgan-x4plus"
    click(qtbot, dialog.add)
    assert said
    assert dialog.progress.line.text() == said[-1]
    dialog.choose("mine")
    answer = QMessageBox.StandardButton.No
    monkeypatch.setattr(QMessageBox, "question", lambda *args: answer)
    click(qtbot, dialog.remove)
    assert dialog.name == "mine"
    answer = QMessageBox.StandardButton.Yes
    click(qtbot, dialog.remove)
    assert dialog.table.rowCount() == len(MODELS)
    assert len(changes) == 2


def test_licence_is_accepted_once(
    dialog: ModelsDialog, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question with the licence's name and where to read it; no is an answer."""
    asked: list[str] = []

    def answer(box: Any) -> None:
        asked.append(box.text() + box.informativeText())
        box.buttons()[0 if len(asked) > 1 else 1].click()

    monkeypatch.setattr(QMessageBox, "exec", answer)
    dialog.choose("supir-v0q")
    click(qtbot, dialog.accept_button)
    assert "non-commercial" in asked[0]
    assert "https://github.com/Fanghua-Yu/SUPIR" in asked[0]
    assert "supir-v0q" not in accepted_licences()
    click(qtbot, dialog.accept_button)
    assert "supir-v0q" in accepted_licences()
    assert not dialog.accept_button.isEnabled()
