"""The fields of the panel, without a window around them."""

from __future__ import annotations

import errno
import inspect
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from qtpy.QtCore import Qt

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.errors import SettingError
from napari_superres.models.catalog import MODELS
from napari_superres.plugin import cell_cache, model_fields, upscale_layer
from napari_superres.plugin.compute_fields import ComputeFields
from napari_superres.plugin.facts import in_words, outlook
from napari_superres.plugin.layer_choice import LayerChoice
from napari_superres.plugin.option_fields import OptionFields
from napari_superres.plugin.preferences import DEFAULTS, Preferences, napari_store, stored
from napari_superres.plugin.settings_form import SettingsForm
from tests.plugin.conftest import until

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = {
    *("x", "model", "axes", "rgb", "channels", "planes", "region"),  # the layers say so
    "uncertainty",  # asked for when there is a result
}


def test_every_keyword_has_a_field(qtbot: Any) -> None:
    """A setting that the panel lacks sends its users to the command line."""
    form = SettingsForm()
    qtbot.addWidget(form)
    form.choose("supir-v0q", 2)
    form.intensity.limits.setCurrentIndex(form.intensity.limits.findData("given"))
    form.intensity.low.setText("3")
    form.intensity.high.setText("1e4")
    form.consistency.setCurrentIndex(form.consistency.findData("pixel"))
    form.intensity.dtype.setCurrentIndex(form.intensity.dtype.findData("float32"))
    form.device.setCurrentIndex(form.device.findData("cpu"))
    form.compute.precision.setCurrentIndex(form.compute.precision.findData("bfloat16"))
    form.compute.tile.setCurrentIndex(form.compute.tile.findData(512))
    for number, value in (("halo", 20), ("feather", 8), ("batch", 2), ("seed", 7), ("samples", 4)):
        getattr(form.compute, number).setValue(value)
    form.options.put({"steps": 8, "prompt": "cells"})
    found = form.settings()
    assert found == {
        "model": "supir-v0q",
        "scale": 2,
        "limits": (3.0, 10000.0),
        "consistency": "pixel",
        "dtype": "float32",
        "device": "cpu",
        "precision": "bfloat16",
        "tile": 512,
        "halo": 20,
        "feather": 8,
        "batch": 2,
        "seed": 7,
        "samples": 4,
        "options": {"steps": 8, "prompt": "cells"},
    }
    form.choose("realesr-general-x4v3")
    form.denoise.setValue(0.5)
    found |= form.settings()
    assert set(inspect.signature(sr.upscale).parameters) - ELSEWHERE == set(found) - {"model"}


def test_limits_as_displayed_are_those_of_each_layer(qtbot: Any) -> None:
    """Two channels have two ranges; one pair for both would blacken the fainter one."""
    form = SettingsForm()
    qtbot.addWidget(form)
    form.choose("realesr-general-x4v3")
    form.intensity.limits.setCurrentIndex(form.intensity.limits.findData("displayed"))
    for limits in ((3, 40), (100, 4000)):
        layer = ImageLayer(np.zeros((4, 4)), contrast_limits=limits)
        assert form.settings(layer)["limits"] == limits
    form.intensity.limits.setCurrentIndex(form.intensity.limits.findData("given"))
    with pytest.raises(SettingError, match="are not two numbers"):
        form.settings()
    form.choose("microscopy-x2")  # commutes with gain and offset
    assert "limits" not in form.settings(layer)


def test_settings_stay_as_long_as_the_model_does(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sets x2, and then presses Download, runs x4 unawares."""
    form = SettingsForm()
    qtbot.addWidget(form)
    form.choose("realesr-general-x4v3", 2)
    form.denoise.setValue(0.3)
    form.intensity.limits.setCurrentIndex(form.intensity.limits.findData("displayed"))
    before, told = form.settings(), []
    assert (before["scale"], before["denoise"]) == (2, 0.3)
    form.changed.connect(lambda: told.append(form.settings()))
    form.models.look_again()  # as after a download
    assert before in told
    monkeypatch.setattr(model_fields.QFileDialog, "getOpenFileName", lambda *a: ("", ""))
    form.model.setCurrentIndex(form.model.findText("File of weights..."))
    assert form.settings() == before
    form.choose("realesr-animevideov3")
    assert form.settings()["scale"] == 4
    form.choose("realesr-general-x4v3")
    assert (form.settings()["scale"], form.settings()["denoise"]) == (4, 1.0)


def test_every_option_of_every_model_has_a_field(qtbot: Any) -> None:
    """A new option is a new row of the table, and nothing else."""
    fields = OptionFields()
    qtbot.addWidget(fields)
    image = as_image(np.zeros((64, 64), np.uint16))
    for spec in MODELS.values():
        fields.show_options(spec.options)
        assert list(fields.fields) == [option.name for option in spec.options]
        assert fields.values() == {}, spec.name
        wishes = {
            o.name: next((c for c in o.choices if c != o.default), None)
            or ('{"0": "words"}' if isinstance(o.default, str) else type(o.default)(o.default + 1))
            for o in spec.options
            if o.high is None or o.default + 1 <= o.high
        }
        fields.put(wishes)
        assert fields.values() == wishes, spec.name
        for name, value in fields.values().items():
            assert type(value) is type(wishes[name])
        outlook(image, spec, {"options": fields.values()})
        fields.reset.click()
        assert fields.values() == {}


def test_folded_section_tells_what_is_set_inside(qtbot: Any) -> None:
    """A setting that nobody sees is one that nobody remembers."""
    form = SettingsForm()
    qtbot.addWidget(form)
    form.resize(500, 400)
    form.show()
    form.compute.tile.setCurrentIndex(form.compute.tile.findData(256))
    form.consistency.setCurrentIndex(form.consistency.findData("off"))
    assert form.compute.heading.text() == "Compute · tile 256"
    assert form.intensity.heading.text() == "Intensity · consistency off"
    qtbot.keyClick(form.compute.heading, Qt.Key.Key_Space)
    assert form.compute.heading.text() == "Compute"
    assert form.compute.tile.isVisible()


def test_gpus_are_listed_by_name_when_somebody_looks(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuda:1 says little; the name and memory of the card do."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho '0, NVIDIA H100 80GB HBM3, 81559'\necho '1, Quadro T400, 4096'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    Preferences().put("compute", "device", "cuda:1")
    form = SettingsForm()
    qtbot.addWidget(form)
    assert form.settings()["device"] == "cuda:1"
    form.compute.heading.click()
    until(lambda: form.device.findText("GPU 0: NVIDIA H100 80GB HBM3 (80 GB)") >= 0)
    assert form.device.currentText() == "GPU 1: Quadro T400 (4 GB)"


@pytest.fixture(params=["napari keeps them", "a file keeps them"])
def kept(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Preferences:
    """Return preferences, kept by napari 0.9 or, as for older ones, by ourselves."""
    if request.param.startswith("napari") and napari_store() is None:
        pytest.skip("this napari keeps no settings of plugins")
    if request.param.startswith("a file"):
        monkeypatch.setattr("napari_superres.plugin.preferences.napari_store", lambda: None)
        monkeypatch.setattr(
            "napari_superres.plugin.preferences._path", lambda: tmp_path / "a" / "p.json"
        )
        stored.cache_clear()
    return Preferences()


def test_preferences_come_back(
    kept: Preferences, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model and the device that one works with are the same every day."""
    for group, defaults in DEFAULTS.items():
        for key, default in defaults.items():
            assert kept.get(group, key) == default
    form = SettingsForm()
    qtbot.addWidget(form)
    form.choose("lanczos")
    form.compute.memory.setValue(3.5)
    form.compute.kept.setValue(0.4)
    form.compute.tile.setCurrentIndex(form.compute.tile.findData(128))
    stored.cache_clear()
    again = SettingsForm()
    qtbot.addWidget(again)
    assert again.model.currentData() == "lanczos"
    assert again.settings()["tile"] == 128
    assert again.compute.budget == 3_500_000_000
    assert again.compute.kept.value() == 0.4
    monkeypatch.setattr(cell_cache, "_most", 0)
    upscale_layer(ImageLayer(np.zeros((8, 8), np.uint16)), "lanczos")
    assert cell_cache._most == 400_000_000


def test_damaged_preferences_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A panel that does not open because of a file that nobody knows of is lost."""
    path = tmp_path / "p.json"
    path.write_text('{"compute": {"tile": "x"}, "panel": 3')
    monkeypatch.setattr("napari_superres.plugin.preferences.napari_store", lambda: None)
    monkeypatch.setattr("napari_superres.plugin.preferences._path", lambda: path)
    for text in (path.read_text(), path.read_text() + "}", "[1]"):
        path.write_text(text)
        stored.cache_clear()
        assert Preferences().get("compute", "tile") == 0


def test_a_panel_stores_only_what_was_changed_in_it(kept: Preferences, qtbot: Any) -> None:
    """A second panel set the device back, which nobody had touched there."""
    first, second = ComputeFields(), ComputeFields()
    for fields in (first, second):
        qtbot.addWidget(fields)
    first.device.setCurrentIndex(first.device.findData("cpu"))
    second.seed.setValue(7)
    second.tile.setCurrentIndex(second.tile.findData(256))
    stored.cache_clear()
    assert kept.get("compute", "device") == "cpu"
    assert kept.get("compute", "tile") == 256


def test_kept_tiles_are_fewer_at_once(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs the memory now does not make another layer first."""
    monkeypatch.setattr(cell_cache, "_most", 0)
    fields = ComputeFields()
    qtbot.addWidget(fields)
    fields.kept.setValue(0.4)
    assert cell_cache._most == 400_000_000


def test_preferences_of_another_napari_stay_and_half_a_file_is_never_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two windows, or a full disk: what was remembered is gone."""
    path = tmp_path / "p.json"
    monkeypatch.setattr("napari_superres.plugin.preferences.napari_store", lambda: None)
    monkeypatch.setattr("napari_superres.plugin.preferences._path", lambda: path)
    stored.cache_clear()
    kept = Preferences()
    kept.put("compute", "tile", 256)
    values = json.loads(path.read_text())
    path.write_text(json.dumps({"compute": {**values["compute"], "device": "cpu"}}))
    kept.put("panel", "compare", "blink")
    expected = {"compute": {"tile": 256, "device": "cpu"}, "panel": {"compare": "blink"}}
    assert json.loads(path.read_text()) == expected

    write = type(path).write_text

    def full(path: Path, text: str, *args: Any) -> None:
        write(path, text[: len(text) // 2], *args)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    kept.put("compute", "tile", 512)
    assert kept.get("compute", "tile") == 512  # as long as napari runs
    assert json.loads(path.read_text()) == expected
    assert list(tmp_path.iterdir()) == [path]


def test_layers_are_ticked_before_one_looks(qtbot: Any) -> None:
    """What was just opened is what one wants to see finer; results are not."""
    viewer = ViewerModel()
    zeros = np.zeros((20, 20))
    first, second = viewer.add_image(zeros, name="a"), viewer.add_image(zeros, name="b")
    viewer.layers.selection = {first, second}
    choice = LayerChoice(viewer)
    qtbot.addWidget(choice)
    assert choice.layers == [first, second]
    third = viewer.add_image(np.zeros((20, 20, 3), np.uint8), name="c", rgb=True)
    assert choice.layers == [third]
    assert choice.item(0).text() == "c (RGB)"
    viewer.add_image(zeros, name="a [x2]", metadata={"superres": {"model": "x"}})
    viewer.add_image(zeros, name="preview", metadata={"superres_preview": True})
    viewer.add_labels(np.zeros((20, 20), int), name="cells")
    assert [choice.item(i).text() for i in range(choice.count())] == [
        "cells (labels)",
        "a [x2]",
        "c (RGB)",
        "b",
        "a",
    ]


def test_ticks_of_the_user_stay(qtbot: Any) -> None:
    """A choice that changes by itself makes another image finer than the one that was meant."""
    viewer = ViewerModel()
    first = viewer.add_image(np.zeros((20, 20)), name="a")
    second = viewer.add_image(np.zeros((20, 20)), name="b")
    choice = LayerChoice(viewer)
    qtbot.addWidget(choice)
    choice.show()
    assert choice.layers == [second]
    choice.setCurrentRow(1)
    qtbot.keyClick(choice, Qt.Key.Key_Space)
    assert choice.layers == [first, second]
    assert choice.layer is first
    viewer.add_image(np.zeros((20, 20)), name="c")
    first.name = "renamed"
    viewer.layers.reverse()
    assert choice.layers == [second, first]
    viewer.layers.remove(second)
    assert choice.layers == [first]
    assert "renamed" in [choice.item(i).text() for i in range(choice.count())]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.1, "1 s"), (80, "80 s"), (240, "4 min"), (10000, "3 h"), (2e5, "2 d")]
)
def test_durations_are_estimated_in_words(seconds: float, words: str) -> None:
    """Nobody wants to know that it takes 14400.3 seconds."""
    assert in_words(seconds) == words
