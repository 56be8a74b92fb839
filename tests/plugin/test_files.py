"""Files through napari's own open and save."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
from napari.layers import Image as ImageLayer
from napari.layers._source import layer_source
from qtpy.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog

import napari_superres as sr
from napari_superres.errors import AxesError, InputError
from napari_superres.formats.ome_write import compose_ome
from napari_superres.plugin import files, keep_row, upscale_layer
from napari_superres.plugin.compare_models import _usual_folder
from napari_superres.plugin.layer_tuples import image_from_layer_data, image_to_layer_data
from napari_superres.plugin.reader import open_layers
from napari_superres.plugin.writer import write_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.plugin.conftest import Engine

PLUGIN = "napari-superres"


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    """Return a viewer that nobody sees: files need no screen to look at."""
    return make_napari_viewer()


def add_cells(viewer: Any) -> list[Any]:
    """Add two channels of a small stack."""
    stack = np.arange(2 * 3 * 40 * 50, dtype=np.uint16).reshape(2, 3, 40, 50)
    return [
        viewer.add_image(
            pixels,
            name=name,
            colormap=color,
            contrast_limits=limits,
            blending="additive",
            scale=(0.5, 0.2, 0.2),
            translate=(0, 3, 4),
            units=("um", "um", "um"),
            axis_labels=("z", "y", "x"),
        )
        for pixels, name, color, limits in zip(
            stack, ("DNA", "actin"), ("cyan", "magenta"), ((5, 900), (10, 8000)), strict=True
        )
    ]


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_saved_layers_open_as_they_were(viewer: Any, tmp_path: Path, suffix: str) -> None:
    """Pixel sizes and colours that get lost between saving and opening are lost for good."""
    layers = add_cells(viewer)
    path = str(tmp_path / f"cells{suffix}")
    assert viewer.layers.save(path, plugin=PLUGIN) == [path]
    viewer.layers.clear()
    viewer.open(path, plugin=PLUGIN)
    assert [layer.name for layer in viewer.layers] == ["DNA", "actin"]
    for old, new in zip(layers, viewer.layers, strict=True):
        pixels = new.data[0] if new.multiscale else new.data
        assert np.array_equal(np.asarray(pixels), old.data)
        np.testing.assert_allclose(new.scale, old.scale)
        np.testing.assert_allclose(new.translate, old.translate)
        assert new.units == old.units
        assert new.axis_labels == old.axis_labels
        assert new.colormap.name == old.colormap.name
        np.testing.assert_allclose(new.contrast_limits, old.contrast_limits)
        assert new.blending == "additive"


def test_channels_saved_in_another_order_keep_what_belongs_to_them() -> None:
    """The wavelength of one dye is attached to another."""
    xml = (
        '<OME><Image><Pixels SizeX="9" SizeY="8" SizeZ="1" SizeC="2" SizeT="1">'
        '<Channel EmissionWavelength="450"/><Channel EmissionWavelength="520"/>'
        "</Pixels></Image></OME>"
    )
    omero = {"channels": [{"emissionWavelength": 450}, {"emissionWavelength": 520}]}
    pixels = da.zeros((2, 8, 9), dtype="uint8")
    image = sr.Image(pixels, "cyx", metadata={"ome_xml": xml, "omero": omero})
    first, second = image_to_layer_data(image)
    for layers, expected in ([second, first], [520, 450]), ([second], [520]), ([first], [450]):
        saved = image_from_layer_data(layers)
        found = ElementTree.fromstring(compose_ome(saved)).iter()
        waves = [w for element in found if (w := element.get("EmissionWavelength"))]
        assert waves == [str(wave) for wave in expected]
        shown = saved.metadata["omero"]["channels"]
        assert [channel["emissionWavelength"] for channel in shown] == expected


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_a_channel_that_was_renamed_in_the_viewer_is_saved_under_its_new_name(
    viewer: Any, tmp_path: Path, suffix: str
) -> None:
    """Cameras call channels "C0" and the like; a name that somebody has typed is the better one."""
    add_cells(viewer)
    first, second = (str(tmp_path / f"{name}{suffix}") for name in "ab")
    viewer.layers.save(first, plugin=PLUGIN)
    layers = viewer.open(first, plugin=PLUGIN)  # napari numbers their names: there are such layers
    layers[1].name = "tubulin"
    viewer.layers.selection = set(layers)
    viewer.layers.save(second, selected=True, plugin=PLUGIN)
    assert [channel.name for channel in sr.read(second).channels] == ["DNA", "tubulin"]


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_layers_are_saved_under_the_name_that_napari_proposes(
    viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """It has no ending; the format that is chosen beside it says which one is meant."""
    layer = add_cells(viewer)[0]
    viewer.layers.selection.active = layer
    layer.name = "DNA 0.5"

    def accept(parent: Any, caption: str, proposed: str, filter: str, **options: Any) -> Any:
        (chosen,) = [x for x in filter.split(";;") if f"(*{suffix})" in x]
        return str(tmp_path / proposed.rpartition("/")[2]), chosen

    monkeypatch.setattr(QFileDialog, "getSaveFileName", staticmethod(accept))
    viewer.window._qt_viewer._save_layers_dialog(selected=True)
    assert [path.name for path in tmp_path.iterdir()] == [f"DNA 0.5{suffix}"]
    pixels = sr.read(tmp_path / f"DNA 0.5{suffix}").data.compute()
    assert np.array_equal(pixels.squeeze(), layer.data)


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_an_on_demand_layer_is_saved_at_its_full_resolution(
    viewer: Any, tmp_path: Path, suffix: str
) -> None:
    """Saving what happens to be on the screen would be a file of the source's pixels."""
    source = add_cells(viewer)[0]
    finer = viewer.add_layer(upscale_layer(source, "bicubic", scale=2))
    finer.colormap = "green"
    path = str(tmp_path / f"finer{suffix}")
    finer.save(path, plugin=PLUGIN)
    image = sr.read(path)
    expected = sr.upscale(source.data, "bicubic", scale=2, axes="zyx")
    assert np.array_equal(np.asarray(image.data).squeeze(), expected)
    assert image.history[-1]["model"] == "bicubic"
    assert image.channels[0].color == "00FF00"
    (layer,) = viewer.open(path, plugin=PLUGIN)
    assert layer.metadata["superres"]["model"] == "bicubic"
    np.testing.assert_allclose(layer.scale[-2:], (0.1, 0.1))
    corner = (0.0,) * (layer.ndim - 2) + (-0.5, -0.5)
    np.testing.assert_allclose(
        layer.data_to_world(corner)[-2:], source.data_to_world((0, -0.5, -0.5))[-2:]
    )


def test_napari_keeps_what_it_has_shown_of_servers_alone(viewer: Any, tmp_path: Path) -> None:
    """A quarter of the memory, for what a disk gives again in milliseconds."""
    layer = add_cells(viewer)[0]
    path = str(tmp_path / "cells.ome.zarr")
    write_image(path, [layer.as_layer_data_tuple()])
    image = sr.read(path)
    ((_, kwargs, _),) = image_to_layer_data(image)
    assert kwargs["cache"] is False
    far = replace(image, source={"path": "https://example.org/cells.ome.zarr"})
    ((_, kwargs, _),) = image_to_layer_data(far)
    assert kwargs["cache"] is True


@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif"])
def test_napari_asks_once_who_reads_a_dropped_file(
    viewer: Any, tmp_path: Path, suffix: str
) -> None:
    """Its own reader knows no pixel sizes; ours is offered first, and the answer is remembered."""
    layers = add_cells(viewer)
    paths = [str(tmp_path / f"{name}{suffix}") for name in ("first", "second")]
    for path in paths:
        write_image(path, [layer.as_layer_data_tuple() for layer in layers])
    viewer.layers.clear()
    offered: list[str] = []

    def answer() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QtReaderDialog):
            QTimer.singleShot(20, answer)
            return
        offered.extend(button.text() for button in dialog.reader_btn_group.buttons())
        dialog.persist_checkbox.setChecked(True)
        dialog.accept()

    QTimer.singleShot(0, answer)
    drop(viewer, paths[0])
    assert offered[0] == "Super-resolution"
    assert [layer.name for layer in viewer.layers] == ["DNA", "actin"]
    assert str(viewer.layers[0].units[-1]) == "micrometer"
    np.testing.assert_allclose(viewer.layers[0].scale, (0.5, 0.2, 0.2))
    if suffix == ".tif":  # of folders napari remembers each one by itself
        drop(viewer, paths[1])
        assert len(viewer.layers) == 4


def drop(viewer: Any, path: str) -> None:
    """Drop a file on the viewer."""
    files = QMimeData()
    files.setUrls([QUrl.fromLocalFile(path)])
    none = Qt.KeyboardModifier.NoModifier
    event = QDropEvent(
        QPointF(9, 9), Qt.DropAction.CopyAction, files, Qt.MouseButton.LeftButton, none
    )
    viewer.window._qt_viewer.dropEvent(event)


def test_a_turned_layer_is_not_saved_upright_in_silence(
    viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither format holds a rotation; who relies on it must know."""
    told: list[str] = []
    monkeypatch.setattr("napari_superres.plugin.notify.show_warning", told.append)
    straight, turned = add_cells(viewer)
    write_image(str(tmp_path / "a.ome.tif"), [straight.as_layer_data_tuple()])
    assert not told
    for i, (name, value) in enumerate(
        {
            "rotate": (0, 0, 30),
            "shear": (0, 0, 0.2),
            "affine": np.diag([1, 1, 2, 1]),
            "scale": (0.5, -0.2, 0.2),
        }.items()
    ):
        before = getattr(turned, name)
        setattr(turned, name, value)
        write_image(str(tmp_path / f"{i}.ome.tif"), [turned.as_layer_data_tuple()])
        setattr(turned, name, before)
        assert len(told) == i + 1, name
        assert sr.read(tmp_path / f"{i}.ome.tif").pixel_size == (0.5, 0.2, 0.2)
    assert told[-1].startswith("Rotation, flip, shear and affine transform of 'actin' are not in")


def test_napari_tells_why_layers_are_not_saved(viewer: Any, tmp_path: Path) -> None:
    """It takes some errors of a plugin for a sign that there is none for this format."""
    stack = viewer.add_image(np.zeros((3, 20, 30), np.uint8), name="stack")
    viewer.layers.selection = {stack}
    for plugin in (None, PLUGIN):
        with pytest.raises(sr.OutputError, match=r"Which axis is which in the layer 'stack'"):
            viewer.layers.save(str(tmp_path / "stack.ome.tif"), selected=True, plugin=plugin)


def test_nothing_is_overwritten(viewer: Any, tmp_path: Path) -> None:
    """A result is not worth another one that took a night."""
    layer = add_cells(viewer)[0]
    path = tmp_path / "taken.ome.tif"
    path.write_bytes(b"something")
    with pytest.raises(sr.OutputError, match="exists already"):
        write_image(str(path), [layer.as_layer_data_tuple()])
    assert path.read_bytes() == b"something"


def test_axes_that_a_file_does_not_name_are_asked_for(
    viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the viewer there is nobody to give axes=, so the question is a dialog."""
    import tifffile
    from qtpy.QtWidgets import QInputDialog

    path = str(tmp_path / "stack.tif")
    tifffile.imwrite(path, np.zeros((5, 20, 30), np.uint8), photometric="minisblack")
    asked: list[str] = []

    def answer(parent: Any, title: str, question: str) -> tuple[str, bool]:
        asked.append(question)
        return "TYX", True

    monkeypatch.setattr(QInputDialog, "getText", answer)
    (layer,) = viewer.open(path, plugin=PLUGIN)
    assert layer.axis_labels == ("t", "y", "x")
    assert "stack" in asked[0]
    monkeypatch.setattr(QInputDialog, "getText", lambda *args: ("", False))
    with pytest.raises(AxesError):
        open_layers(path)


def test_samples_open(viewer: Any, engine: Engine) -> None:
    """The first thing that a new user tries."""
    cells = viewer.open_sample(PLUGIN, "cells")
    assert [layer.name for layer in cells] == ["DNA", "microtubules"]
    assert str(cells[0].units[-1]) == "micrometer"
    coarse, true = viewer.open_sample(PLUGIN, "filaments")
    corners = [layer.data_to_world((-0.5, -0.5)) for layer in (coarse, true)]
    np.testing.assert_allclose(*corners)
    assert true.data.shape == tuple(4 * n for n in coarse.data.shape)
    again = viewer.open_sample(PLUGIN, "filaments")[0]
    assert np.array_equal(np.asarray(again.data), np.asarray(coarse.data))


def test_a_broken_file_is_a_sentence(tmp_path: Path) -> None:
    """A traceback about struct.unpack helps nobody."""
    path = tmp_path / "broken.ome.tif"
    path.write_bytes(b"II*\0" + b"\xff" * 40)
    with pytest.raises(InputError, match=r"broken\.ome\.tif"):
        open_layers(str(path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Well B3: GFP", "Well B3- GFP"),
        ('a/b\\c*d?"e"<f>|g', "a-b-c-d--e--f--g"),
        ("line\nbreak", "line-break"),
        ("to be continued...", "to be continued"),
        ("µm² 多", "µm² 多"),
        (" . ", "image"),
    ],
)
def test_results_are_called_as_every_system_allows(
    name: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows takes a colon for a drive, and neither writes the result nor shows a report."""
    image = sr.Image(da.zeros((4, 5)), "yx", name=name, source={"path": str(tmp_path / "a.tif")})
    assert files.beside("", image, 2) == f"{expected}_x2.ome.zarr"
    proposed: list[str] = []

    def ask(parent: Any, title: str, path: str, *args: Any, **options: Any) -> tuple[str, str]:
        proposed.append(path)
        return path, ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    keep_row.ask_for_export(None, image)
    files.ask_for_path(None, image, 2)
    with layer_source(path=str(tmp_path / "a.tif")):
        layer = ImageLayer(np.zeros((4, 5)), name=name)
    proposed.append(_usual_folder(layer))
    ends = (".ome.zarr", "_x2.ome.zarr", " compared")
    assert proposed == [str(tmp_path / f"{expected}{end}") for end in ends]
