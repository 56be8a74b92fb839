"""What is copied or exported is the result, to the pixel."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Layer
from napari.layers._layer_actions import _project
from qtpy.QtWidgets import QApplication
from scipy.ndimage import gaussian_filter

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.cli import main
from napari_superres.errors import InputError
from napari_superres.plugin import files, keep_row, layer_to_image, steps, upscale_layer, widget
from napari_superres.plugin.layer_history import history_of
from napari_superres.plugin.layer_tuples import joined
from napari_superres.plugin.meter import Meter
from napari_superres.plugin.reader import open_layers
from napari_superres.plugin.view import Visible
from napari_superres.plugin.widget import SuperresWidget
from napari_superres.provenance import methods_text
from napari_superres.repeating import as_python, keywords
from napari_superres.upscaling import plan_for
from tests.plugin.conftest import choose_output, click, finished

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def viewer() -> Any:
    """Return the model of a viewer."""
    return ViewerModel()


@pytest.fixture
def panel(viewer: Any, qtbot: Any) -> Any:
    """Return the panel as a window of its own."""
    panel = SuperresWidget(viewer)
    qtbot.addWidget(panel)
    panel.show()
    return panel


@pytest.fixture
def channels(viewer: Any, tmp_path: Path) -> list[Any]:
    """Return the two layers of a file with two channels, opened as napari opens it."""
    rng = np.random.default_rng(8)
    stack = rng.gamma(2.0, 120.0, (2, 3, 48, 56)).astype(np.uint16)
    stack[1] //= 4
    path = tmp_path / "two channels.ome.tif"
    sr.write(as_image(stack, "czyx"), path)
    return [viewer.add_layer(Layer.create(*layer)) for layer in open_layers(str(path))]


def copied() -> str:
    """Return what *Paste* would give."""
    return str(QApplication.clipboard().text())


def test_copied_command_and_program_make_the_same_pixels(
    viewer: Any, channels: list[Any], panel: Any, qtbot: Any, tmp_path: Path
) -> None:
    """The journal asks how it was done; a year later somebody has to do it again."""
    panel.form.choose("microscopy-x2")
    panel.layers.choose(channels[1])
    choose_output(panel, "memory")
    click(qtbot, panel.run_button)
    finished(panel)
    result = viewer.layers[-1]
    viewer.layers.selection = {result}
    panel.keep.actions_of["command"].trigger()
    words = shlex.split(copied())
    assert "--channels=1" in words
    words[3] = str(tmp_path / "by command.ome.zarr")
    with pytest.raises(SystemExit) as end:
        main([*words[1:], "--quiet"])
    assert not end.value.code
    again = sr.read(words[3]).data.compute()[0]
    assert np.array_equal(again, np.asarray(result.data))

    panel.keep.actions_of["python"].trigger()
    exec(copied(), {})
    again = sr.read(tmp_path / "two channels_x2.ome.zarr").data.compute()[0]
    assert np.array_equal(again, np.asarray(result.data))

    panel.keep.actions_of["methods"].trigger()
    assert "upscaled 2-fold" in copied()
    assert "SHA-256" in copied()
    assert result.metadata["superres"]["citation"] in copied()


def test_settings_are_copied_before_they_were_run(
    viewer: Any, panel: Any, tmp_path: Path, said: list[str]
) -> None:
    """The numbers that a run would find are found first; a layer in no file is named."""
    pixels = np.random.default_rng(3).gamma(2.0, 120.0, (40, 50)).astype(np.uint16)
    viewer.add_image(pixels, name="in memory")
    panel.form.choose("realesr-general-x4v3")
    panel.form.choose("microscopy-x4")
    panel.copy("python")
    finished(panel)
    text = copied()
    assert "denoise='auto'" not in text
    scope: dict[str, Any] = {"viewer": viewer}
    exec(text, scope)
    again = np.asarray(viewer.layers[-1].data[0].pixels(tuple(map(range, (160, 200)))))
    assert np.array_equal(again, sr.upscale(pixels, "microscopy-x4"))
    viewer.layers.selection = set()
    panel.copy("command")
    finished(panel)
    assert said[-1] == (
        "The source 'in memory' was not opened from a file. Save it, for example as OME-Zarr, open "
        "the file, and upscale that."
    )


def test_export_writes_what_was_run_on_demand(
    viewer: Any,
    channels: list[Any],
    panel: Any,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
) -> None:
    """Look around first, keep it then: two channels in one file, or the plane on the screen."""
    click(qtbot, panel.keep.export)
    assert said[-1].startswith("There is no result to export yet.")
    panel.form.choose("bicubic", 2)
    assert panel.layers.layers == channels
    click(qtbot, panel.run_button)
    finished(panel)
    source = sr.read(tmp_path / "two channels.ome.tif")
    whole = sr.upscale(source, "bicubic", scale=2).data.compute()
    for name, kind in (("r.ome.zarr", ""), ("r.ome.tif", "OME-TIFF (*.ome.tif)")):
        typed = str(tmp_path / name.partition(".")[0]) if kind else str(tmp_path / name)
        answer = (typed, kind)
        monkeypatch.setattr(
            keep_row.QFileDialog, "getSaveFileName", lambda *a, answer=answer, **k: answer
        )
        click(qtbot, panel.keep.export)
        finished(panel)
        assert panel.progress.line.text() == f"Wrote '{tmp_path / name}'."
        assert np.array_equal(sr.read(tmp_path / name).data.compute(), whole)
    viewer.layers.selection = {viewer.layers[-1]}
    viewer.dims.set_point(0, 1.0)
    panel.export(str(tmp_path / "plane.png"))
    finished(panel)
    plane = sr.read(tmp_path / "plane.png").data.compute()
    assert np.array_equal(plane, whole[1, 1])
    panel.export(str(tmp_path / "plane.png"))
    finished(panel)
    assert "plane.png" in said[-1]  # never replaced


def test_an_exported_preview_says_which_part_it_is(
    viewer: Any, channels: list[Any], panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file claimed to be the whole result, and its program made another image."""
    corner = Visible((2, 10, 20), (3, 30, 50), True)
    monkeypatch.setattr(widget, "visible_part", lambda *args: corner)
    panel.layers.choose(channels[1])
    panel.form.choose("lanczos", 2)
    panel.preview()
    finished(panel)
    panel.compare.end()
    preview = viewer.layers[-1]
    viewer.layers.selection = {preview}
    panel.export(str(tmp_path / "corner.ome.zarr"))
    finished(panel)
    written = sr.read(tmp_path / "corner.ome.zarr")
    assert np.array_equal(written.data.compute(), preview.data)
    assert written.history[-1]["part"] == {"z": [2, 3, 1], "y": [10, 30], "x": [20, 50]}
    panel.copy("python")
    exec(copied(), {})
    again = sr.read(tmp_path / "two channels_x2.ome.zarr").data.compute()
    assert np.array_equal(again.squeeze(), preview.data.squeeze())


def test_a_layer_with_its_own_channels_is_exported_as_the_plane_on_the_screen(
    viewer: Any, panel: Any, tmp_path: Path
) -> None:
    """Other readers open all channels as one layer, with a slider."""
    stack = np.random.default_rng(8).integers(0, 255, (2, 3, 20, 30), dtype=np.uint8)
    viewer.add_image(stack, name="both", axis_labels=tuple("czyx"), contrast_limits=(0, 255))
    panel.form.choose("bicubic", 2)
    panel.run()
    finished(panel)
    viewer.layers.selection = {viewer.layers[-1]}
    viewer.dims.set_point((0, 1), (1, 2))
    panel.export(str(tmp_path / "plane.png"))
    finished(panel)
    expected = sr.upscale(stack, "bicubic", scale=2, axes="czyx")[1, 2]
    assert np.array_equal(sr.read(tmp_path / "plane.png").data.compute(), expected)


def test_channels_run_into_one_file_and_others_into_a_folder(
    viewer: Any,
    channels: list[Any],
    panel: Any,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Channels that are torn apart lose their file; images of other sizes cannot share one."""
    path = str(tmp_path / "both.ome.zarr")
    monkeypatch.setattr(files.QFileDialog, "getSaveFileName", lambda *a, **k: (path, ""))
    panel.form.choose("microscopy-x2")
    choose_output(panel, "file")
    click(qtbot, panel.run_button)
    finished(panel)
    source = sr.read(tmp_path / "two channels.ome.tif")
    whole = sr.upscale(source, "microscopy-x2").data.compute()
    assert np.array_equal(sr.read(path).data.compute(), whole)
    results = viewer.layers[-2:]
    for i, (layer, result) in enumerate(zip(channels, results, strict=True)):
        assert result.name == f"{layer.name} [x2 microscopy-x2]"
        assert np.array_equal(np.asarray(result.data[0]), whole[i])
        assert result.colormap.name == layer.colormap.name
    small = viewer.add_image(np.zeros((20, 20), np.uint16), name="small")
    panel.layers.choose(channels[0], small)
    monkeypatch.setattr(
        files.QFileDialog, "getExistingDirectory", lambda *a, **k: str(tmp_path / "folder")
    )
    (tmp_path / "folder").mkdir()
    click(qtbot, panel.run_button)
    finished(panel)
    written = sorted(p.name for p in (tmp_path / "folder").iterdir())
    assert written == ["small_x2.ome.zarr", f"{channels[0].name}_x2.ome.zarr"]


def test_channels_in_one_file_have_the_pixels_of_their_previews(
    viewer: Any, panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was judged by its preview was written with the light kept in another way."""
    rng = np.random.default_rng(0)
    base = gaussian_filter(rng.random((96, 96)), 3)
    base = (base - base.min()) / np.ptp(base)
    pixels = {"clean": base * 4000 + 500, "noisy": rng.poisson(base * 40 + 5)}
    layers = [viewer.add_image(v.astype(np.uint16), name=name) for name, v in pixels.items()]
    panel.layers.choose(*layers)
    panel.form.choose("microscopy-x2")
    panel.preview()
    finished(panel)
    panel.compare.end()
    looks = {pair.result.name: pair.result for pair in panel.results.previews(layers)}
    plans = [plan_for(layer_to_image(layer), "microscopy-x2") for layer in layers]
    assert len({plan.consistency for plan in plans}) == 2
    path = str(tmp_path / "both.ome.zarr")
    monkeypatch.setattr(files.QFileDialog, "getSaveFileName", lambda *a, **k: (path, ""))
    choose_output(panel, "file")
    panel.run()
    finished(panel)
    written = sr.read(path)
    assert [channel.name for channel in written.channels] == ["clean", "noisy"]
    for layer, channel in zip(layers, written.data.compute(), strict=True):
        preview = looks[f"{layer.name} [x2 microscopy-x2, preview]"]
        start = np.round(2 * (layer.world_to_data(preview.data_to_world((-0.5, -0.5))) + 0.5))
        y, x = start.astype(int)
        height, width = preview.data.shape
        assert np.array_equal(channel[y : y + height, x : x + width], preview.data), layer.name
    results = viewer.layers[-2:]
    assert [history_of(r.metadata)[0]["model"] for r in results] == ["microscopy-x2"] * 2


def test_channels_are_planned_together_only_where_that_changes_no_pixel() -> None:
    """Random numbers depend on a plane's place among all planes: a preview has others."""
    sources = [as_image(np.full((8, 9), n, np.uint8), "yx") for n in (1, 2)]
    plans = [plan_for(image, "bicubic", scale=2) for image in sources]
    both = steps.together(sources, plans).plan
    assert both == plan_for(joined(sources), "bicubic", scale=2)
    drawn = [replace(plan, spec=replace(plan.spec, random=True)) for plan in plans]
    assert steps.together(sources, drawn).plan is None
    assert steps.together(sources[:1], drawn[:1]).plan == drawn[0]


def test_channels_that_are_planned_apart_keep_to_the_budget(tmp_path: Path) -> None:
    """Without a plan of all together as many blocks would be computed as there are cores."""
    sources = [as_image(np.full((8, 9), n, np.uint8), "yx") for n in (1, 2)]
    plans = [plan_for(one, "bicubic", scale=2) for one in sources]
    plans = [replace(plan, spec=replace(plan.spec, random=True)) for plan in plans]
    result, path = steps.together(sources, plans), str(tmp_path / "r.ome.zarr")
    with pytest.raises(sr.ResourceError, match="budget is 1 B"):
        list(steps.write_to(result, path, 1, Meter(), plans))


def test_channels_that_were_run_alike_are_told_as_one_result(
    viewer: Any, channels: list[Any], panel: Any, qtbot: Any, tmp_path: Path
) -> None:
    """A history of two upscalings is that of a result four times as fine."""
    channels[0].name, channels[1].name = "DNA", "actin"
    panel.form.choose("microscopy-x2")
    click(qtbot, panel.run_button)
    finished(panel)
    whole = sr.upscale(sr.read(tmp_path / "two channels.ome.tif"), "microscopy-x2")
    panel.copy("command")
    assert copied().count("superres upscale") == 1
    target = tmp_path / "r.ome.zarr"
    panel.export(str(target))
    finished(panel)
    result = sr.read(target)
    assert [channel.name for channel in result.channels] == ["DNA", "actin"]
    (record,) = result.history
    assert keywords(record) == keywords(whole.history[0])
    assert record["plan"]["shape"] == [2, 3, 48, 56]
    exec(as_python(result.history, str(tmp_path / "again.ome.zarr")), {})
    again = sr.read(tmp_path / "again.ome.zarr").data.compute()
    assert np.array_equal(again, whole.data.compute())
    # Each layer of the file tells of its channel, and together they tell of all again.
    viewer.layers.clear()
    layers = [viewer.add_layer(Layer.create(*layer)) for layer in open_layers(str(target))]
    titles = [f"{name} [x2 microscopy-x2]" for name in ("DNA", "actin")]
    assert [layer.name for layer in layers] == titles
    viewer.layers.selection = {layers[1]}
    panel.copy("command")
    assert "--channels=1" in copied()
    viewer.layers.selection = set(layers)
    panel.copy("command")
    assert "--channels" not in copied()
    assert copied().count("superres upscale") == 1


def test_channels_that_were_made_in_different_ways_keep_their_own_histories(
    viewer: Any, channels: list[Any], panel: Any, tmp_path: Path, said: list[str]
) -> None:
    """One after the other they would be a result of a result."""
    channels[0].name, channels[1].name = "DNA", "actin"
    results = [
        viewer.add_layer(upscale_layer(layer, model, scale=2))
        for layer, model in zip(channels, ("bicubic", "lanczos"), strict=True)
    ]
    viewer.layers.selection = set(results)
    target = tmp_path / "r.ome.zarr"
    panel.export(str(target))
    finished(panel)
    result = sr.read(target)
    assert "Images of channel 1 were upscaled" in methods_text(result.history)
    with pytest.raises(InputError, match="made in different ways"):
        as_python(result.history)
    layers = [Layer.create(*layer) for layer in open_layers(str(target))]
    for layer, before in zip(layers, results, strict=True):
        assert history_of(layer.metadata) == history_of(before.metadata)
        assert layer.name == before.name


def test_channels_whose_noise_was_removed_by_other_shares_are_not_told_as_automatic(
    channels: list[Any],
) -> None:
    """The command for both removed as much noise as it found, and made other pixels."""

    def history(*shares: float | str) -> tuple[Any, ...]:
        finer = [
            upscale_layer(layer, "microscopy-x2", denoise=share)
            for layer, share in zip(channels, shares, strict=True)
        ]
        return keep_row.image_of(finer).history

    assert "denoise='auto'" not in as_python(history(0.8, 0.8))
    assert len(history("auto", "auto")) == 1
    with pytest.raises(InputError, match="made in different ways"):
        as_python(history(0.3, 0.8))


def test_a_projection_is_not_taken_for_its_file(
    viewer: Any, channels: list[Any], panel: Any, said: list[str]
) -> None:
    """The command would make the stack finer, and say that these are the same pixels."""
    viewer.layers.selection.active = channels[0]
    _project(viewer.layers)
    flat = viewer.layers[-1]
    panel.layers.choose(flat)
    panel.form.choose("bicubic", 2)
    viewer.layers.selection = set()
    panel.copy("command")
    finished(panel)
    assert said[-1].startswith(f"The source '{flat.name}' was not opened from a file.")
    assert layer_to_image(channels[0]).source["path"]
    channels[0].data = np.asarray(channels[0].data)[:, :30]
    assert not layer_to_image(channels[0]).source
