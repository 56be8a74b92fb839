"""How far a result can be trusted, as the viewer tells it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Layer
from napari.utils._proxies import PublicOnlyProxy

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.errors import InputError
from napari_superres.image import Channel
from napari_superres.plugin import (
    consistency_layer,
    files,
    layer_kwargs,
    resolution,
    uncertainty_layer,
    upscale_layer,
)
from napari_superres.plugin.trust import describe_resolution
from napari_superres.plugin.trust_row import TrustRow
from napari_superres.plugin.writer import write_image
from napari_superres.trust.light import light
from tests.plugin.conftest import choose_output, click, settle, until, words

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Engine


@pytest.fixture
def cells(viewer: Any) -> Any:
    """Return smooth spots with camera noise, as a turned stack in micrometres."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(8)
    spots = gaussian_filter((rng.random((3, 120, 150)) > 0.99).astype(float), (0, 2, 2))
    stack = rng.poisson(100 + 20000 * spots).astype(np.uint16)
    return viewer.add_image(
        stack,
        name="cells",
        axis_labels=("z", "y", "x"),
        scale=(1, 0.2, 0.2),
        units=("um", "um", "um"),
        rotate=(0, 0, 20),
        contrast_limits=(0, 2000),
    )


@pytest.fixture
def row(viewer: Any, qtbot: Any) -> TrustRow:
    """Return the row as a window of its own."""
    row = TrustRow(PublicOnlyProxy(viewer))  # as napari hands it to plugins
    qtbot.addWidget(row)
    row.show()
    return row


def finished(row: TrustRow) -> None:
    """Wait until nothing runs any more."""
    until(lambda: row.progress.work is None)
    settle()


def test_residual_map_is_the_averaged_result_less_its_source(
    viewer: Any, cells: Any, row: TrustRow, qtbot: Any
) -> None:
    """A residual that is not that of the pixels on the screen soothes without a reason."""
    viewer.dims.set_point(0, 1.0)
    finer = viewer.add_layer(upscale_layer(cells, "bicubic", scale=2))
    viewer.layers.selection.active = finer
    click(qtbot, row.consistency_button)
    finished(row)
    shown = viewer.layers[-1]
    whole = sr.upscale(cells.data, "bicubic", scale=2, axes="zyx")
    expected = whole[1].astype(float).reshape(120, 2, 150, 2).mean(axis=(1, 3)) - cells.data[1]
    np.testing.assert_allclose(shown.data[0], expected, atol=1e-3)
    number = 100 * light([(whole[1], cells.data[1])]).residual
    assert shown.name == f"cells [x2 bicubic], residual {number:.2g} %"
    assert f"{number:.2g} %" in row.progress.line.text()
    # Exactly over the source's plane, pixel by pixel.
    for corner in ((0, 0), (119, 149)):
        here, there = shown.data_to_world((0, *corner)), cells.data_to_world((1, *corner))
        np.testing.assert_allclose(here, there, atol=1e-9)
    assert viewer.layers.selection.active is finer
    # The next one takes its place.
    click(qtbot, row.consistency_button)
    finished(row)
    assert len(viewer.layers) == 3


def test_a_result_that_conserves_light_has_no_residual(viewer: Any, cells: Any) -> None:
    """The one thing that the number must get right."""
    viewer.add_layer(upscale_layer(cells, "bicubic", scale=2, consistency="pixel", dtype="float32"))
    residual = consistency_layer(viewer)
    assert np.abs(residual.data).max() < 0.01
    assert "residual" in residual.name


def test_masked_pixels_leave_a_residual_of_the_others(viewer: Any, cells: Any) -> None:
    """Images that were registered have borders that are not a number."""
    stack = cells.data.astype(np.float32)
    stack[:, :3] = np.nan
    source = viewer.add_image(stack, name="masked", axis_labels=("z", "y", "x"))
    viewer.add_layer(upscale_layer(source, "bicubic", scale=2))
    residual = consistency_layer(viewer)
    assert np.isfinite(residual.data[0, 3:]).all()
    assert "nan" not in residual.name
    assert np.isfinite(residual.contrast_limits).all()


def test_resolution_is_told_for_what_is_on_the_screen(
    viewer: Any, cells: Any, row: TrustRow, qtbot: Any
) -> None:
    """In the image's unit, for source and result."""
    finer = viewer.add_layer(upscale_layer(cells, "lanczos", scale=2))
    click(qtbot, row.resolution_button)
    finished(row)
    measures = resolution(viewer)
    assert row.progress.line.text() == describe_resolution(measures, finer.data[0].image)
    assert measures.unit == "micrometer"
    found = measures.channels[0].resolution
    assert f"source {found.of_source:.3g} µm" in row.progress.line.text()
    assert 0.7 < found.of_source < 3


def test_parts_of_previews_and_pictures_are_checked_at_their_place(
    viewer: Any, cells: Any, panel: Any, row: TrustRow, qtbot: Any
) -> None:
    """A preview is a crop: its source is the crop of the source, not its corner."""
    panel.form.choose("bicubic", 4)
    camera = getattr(viewer, "scene", viewer).camera
    camera.zoom *= 3
    settle()
    work = panel.preview()
    until(lambda: panel.progress.work is None)
    settle()
    assert work is not None
    viewer.layers.selection.active = next(x for x in viewer.layers if "x4 bicubic" in x.name)
    panel.compare.end()
    residual = consistency_layer(viewer)
    first = np.rint(cells.world_to_data(residual.data_to_world((0, 0, 0)))).astype(int)
    height, width = residual.data.shape[1:]
    whole = sr.upscale(cells.data, "bicubic", scale=4, axes="zyx")[first[0]].astype(float)
    coarse = whole.reshape(120, 4, 150, 4).mean(axis=(1, 3)) - cells.data[first[0]]
    part = coarse[first[1] : first[1] + height, first[2] : first[2] + width]
    np.testing.assert_allclose(residual.data[0], part, atol=1e-3)


def test_colour_pictures_have_one_map(viewer: Any) -> None:
    """Of all three colours together."""
    rng = np.random.default_rng(1)
    picture = viewer.add_image(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), rgb=True)
    viewer.add_layer(upscale_layer(picture, "bicubic", scale=2))
    residual = consistency_layer(viewer)
    assert residual.ndim == 2
    assert not residual.rgb
    assert np.isfinite(resolution(viewer).channels[0].light.residual)


def test_uncertainty_is_shown_where_a_model_has_it(
    viewer: Any, cells: Any, row: TrustRow, qtbot: Any
) -> None:
    """And where it has none, the words say so instead of a map of zeros."""
    finer = viewer.add_layer(upscale_layer(cells, "microscopy-x2", denoise=0.5))
    click(qtbot, row.uncertainty_button)
    finished(row)
    shown = viewer.layers[-1]
    assert shown.name == f"{finer.name}, uncertainty"
    _, spread = sr.upscale(
        cells.data, "microscopy-x2", denoise=0.5, axes="zyx", planes={"z": 1}, uncertainty=True
    )
    np.testing.assert_allclose(shown.data[0], np.squeeze(spread), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(shown.data_to_world((0, 0, 0)), finer.data_to_world((1, 0, 0)))
    viewer.layers.remove(shown)
    viewer.layers.remove(finer)
    viewer.add_layer(upscale_layer(cells, "bicubic", scale=2))
    with pytest.raises(InputError, match="does not predict its error"):
        uncertainty_layer(viewer)


def test_results_that_are_averaged_show_how_far_they_differ(
    viewer: Any, cells: Any, row: TrustRow, qtbot: Any
) -> None:
    """Most models have no opinion of their own errors; several answers to one question have."""
    finer = viewer.add_layer(upscale_layer(cells, "linear-x2", samples=4))
    click(qtbot, row.uncertainty_button)
    finished(row)
    shown = viewer.layers[-1]
    assert shown.name == f"{finer.name}, uncertainty"
    assert "standard deviation over 4 results" in words(row.progress.line)
    _, spread = sr.upscale(cells.data, "linear-x2", axes="zyx", planes={"z": 1}, samples=4)
    np.testing.assert_allclose(shown.data[0], np.squeeze(spread), rtol=1e-4, atol=1e-3)
    assert shown.data.max() > 0


def test_a_result_from_a_file_finds_its_source(viewer: Any, tmp_path: Any) -> None:
    """Results are checked the next day too."""
    rng = np.random.default_rng(2)
    layer = viewer.add_image(rng.integers(0, 999, (64, 80), dtype=np.uint16), name="a")
    path = str(tmp_path / "a.ome.tif")
    write_image(path, [layer.as_layer_data_tuple()])
    viewer.layers.clear()
    finer = str(tmp_path / "b.ome.zarr")
    sr.write(sr.upscale(sr.read(path), "bicubic", scale=2), finer)
    (result,) = viewer.open(finer, plugin="napari-superres")
    assert consistency_layer(viewer, result).data.squeeze().shape == (64, 80)
    (tmp_path / "a.ome.tif").unlink()
    with pytest.raises(InputError, match="is not in the viewer"):
        consistency_layer(viewer, result)


@pytest.mark.parametrize("names", [("DNA", "actin"), ("", "")])
def test_a_part_of_channels_from_a_file_finds_its_own_source(
    viewer: Any, tmp_path: Path, names: tuple[str, str]
) -> None:
    """Next to another channel, or another part, a sound result looks broken."""
    values = np.random.default_rng(2).integers(0, 999, (3, 64, 80), dtype=np.uint16)
    channels = tuple(Channel(name) for name in ("first", *names))
    path, finer = tmp_path / "a.ome.tif", tmp_path / "b.ome.zarr"
    sr.write(replace(as_image(values, "cyx"), channels=channels), path)
    region = np.s_[10:50, 8:72]
    part = sr.upscale(sr.read(path), "nearest", scale=2, channels=[1, 2], region=region)
    sr.write(part, finer)
    for result in viewer.open(str(finer), plugin="napari-superres"):
        residual = consistency_layer(viewer, result).data
        assert residual.shape == (40, 64)
        assert not residual.any()


def test_a_result_that_was_run_into_a_file_is_checked_against_its_layer(
    viewer: Any, cells: Any, panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is in the viewer, and in no file where it could be searched for."""
    paths = iter((str(tmp_path / "one.ome.zarr"), str(tmp_path / "two.ome.zarr")))
    monkeypatch.setattr(files.QFileDialog, "getSaveFileName", lambda *a, **k: (next(paths), ""))
    choose_output(panel, "file")
    panel.form.choose("microscopy-x2")
    panel.run()
    until(lambda: panel.progress.work is None)
    settle()
    result = viewer.layers[-1]
    assert consistency_layer(viewer, result).data.shape[1:] == (120, 150)
    assert uncertainty_layer(viewer, result).data.max() > 0
    # Of several channels, too.
    other = viewer.add_layer(Layer.create(*cells.as_layer_data_tuple()))
    panel.layers.choose(cells, other)
    panel.form.choose("bicubic", 2)
    panel.run()
    until(lambda: panel.progress.work is None)
    settle()
    assert consistency_layer(viewer, viewer.layers[-1]).data.shape[1:] == (120, 150)


def test_without_a_result_the_row_waits_for_one(
    viewer: Any, cells: Any, row: TrustRow, qtbot: Any
) -> None:
    """A button that can only fail is not offered."""
    assert not row.consistency_button.isEnabled()
    with pytest.raises(InputError, match="no result"):
        consistency_layer(viewer)
    finer = viewer.add_layer(upscale_layer(cells, "bicubic"))
    assert row.consistency_button.isEnabled()
    viewer.layers.remove(finer)
    assert not row.consistency_button.isEnabled()
    with pytest.raises(InputError, match="not a result"):
        consistency_layer(viewer, cells)


def test_a_check_can_be_cancelled(
    viewer: Any, cells: Any, row: TrustRow, qtbot: Any, engine: Engine
) -> None:
    """Computing what is on the screen may take a while, too."""
    engine.seconds = 0.3
    viewer.add_layer(upscale_layer(cells, "bicubic", scale=8))
    click(qtbot, row.consistency_button)
    until(lambda: engine.calls > 0)
    click(qtbot, row.progress.cancel)
    finished(row)
    assert row.progress.line.text() == "Cancelled."
    assert len(viewer.layers) == 2
    assert row.consistency_button.isEnabled()


def test_coarser_pixels_lie_over_finer_ones(viewer: Any, cells: Any) -> None:
    """The residual map has the source's pixels, and only the result to lie over."""
    finer = upscale_layer(cells, "nearest", scale=4)
    kwargs = layer_kwargs(finer, 1 / 4)
    np.testing.assert_allclose(kwargs["scale"], cells.scale)
    np.testing.assert_allclose(kwargs["translate"], cells.translate, atol=1e-9)


def test_the_row_fits_into_a_narrow_panel(viewer: Any, cells: Any, row: TrustRow) -> None:
    """Words that are cut off at 300 pixels are not there; what was found wraps."""
    viewer.add_layer(upscale_layer(cells, "bicubic"))
    row.progress.tell("Finest resolved period on the screen, by Fourier rings: source 0.8 µm. " * 3)
    row.resize(276, row.height())  # of a panel of 300 pixels, without its margins
    settle()
    assert row.width() == 276
    for button in (row.consistency_button, row.resolution_button, row.uncertainty_button):
        assert button.width() >= button.minimumSizeHint().width()
        assert button.fontMetrics().horizontalAdvance(button.text()) < button.width()
    picture = row.grab().toImage()
    assert picture.width() == 276
    assert row.progress.line.height() > 3 * row.progress.line.fontMetrics().height()
