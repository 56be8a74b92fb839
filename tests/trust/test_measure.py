"""What `measure` says of results whose faults are known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.metrics import structural_similarity

import napari_superres as sr
from napari_superres.cli import _run
from napari_superres.consistency import block_mean, conserve, repeat
from napari_superres.selection import select
from napari_superres.training.camera import Camera
from napari_superres.training.simulate import simulate
from napari_superres.trust.flicker import flicker
from napari_superres.trust.light import light, residual_map
from napari_superres.trust.similarity import grid_shift, similarity
from napari_superres.trust.squirrel import error_map, squirrel

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.training.recording import Pair


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Return a clean source with its truth: what area sampling alone loses."""
    camera = Camera(photons=None, bits=None)
    return simulate("membranes", (64, 64), seed=3, scale=4, camera=camera, blur_sigma=0)


def test_the_truth_scores_perfectly(pair: Pair) -> None:
    """Otherwise a good model would be blamed for a fault of the ruler."""
    (channel,) = sr.measure(pair.truth, pair.source, pair.truth).channels
    assert channel.similarity is not None
    assert channel.similarity.psnr > 150
    assert channel.similarity.ssim == pytest.approx(1)
    assert channel.similarity.nrmse == pytest.approx(0, abs=1e-7)
    assert channel.light is not None
    assert channel.light.slope == pytest.approx(1, abs=1e-5)
    assert channel.light.flux_error < 1e-5
    assert channel.squirrel is not None
    assert channel.squirrel.rsp == pytest.approx(1, abs=1e-6)
    assert channel.place is not None
    assert (channel.place.shift_y, channel.place.shift_x) == (0, 0)
    assert channel.resolution.to_truth == pytest.approx(2)
    assert channel.detail is not None
    assert channel.detail.invented == 0
    assert channel.warnings == ()


def test_gain_and_offset_do_not_count_against_a_result(pair: Pair) -> None:
    """A truth from another microscope is in other units."""
    blurred = ndimage.gaussian_filter(pair.truth, 2)
    one = similarity([(blurred, pair.truth)])
    other = similarity([(0.01 * blurred + 500, pair.truth)])
    assert other.psnr == pytest.approx(one.psnr, abs=1e-3)
    assert other.ssim == pytest.approx(one.ssim, abs=1e-4)
    assert other.nrmse == pytest.approx(one.nrmse, rel=1e-3)


def test_psnr_and_nrmse_are_those_worked_out_by_hand() -> None:
    """A decibel is a decibel."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (200, 200))
    result = truth + rng.normal(0, 0.01, truth.shape)
    found = similarity([(result, truth)])
    # Noise of 0.01 on a range of 0.998 (between the percentiles): 20 log10(99.8) = 39.98 dB; the
    # contrast of a uniform distribution is 1 / sqrt(12).
    assert found.psnr == pytest.approx(39.98, abs=0.05)
    assert found.nrmse == pytest.approx(0.01 * 12**0.5, rel=0.01)
    span = float(np.ptp(np.percentile(truth, (0.1, 99.9))))
    expected = structural_similarity(
        truth, result, data_range=span, gaussian_weights=True, use_sample_covariance=False
    )
    assert found.ssim == pytest.approx(expected, abs=1e-3)


def test_one_hot_pixel_does_not_flatter() -> None:
    """Against the whole range, any result would have over 60 dB."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (200, 200))
    result = truth + rng.normal(0, 0.1, truth.shape)
    plain = similarity([(result, truth)]).psnr
    truth[3, 3] = result[3, 3] = 5
    assert similarity([(result, truth)]).psnr == pytest.approx(plain, abs=0.2)


@pytest.mark.parametrize("by", [0.5, -0.25, 0.0])
def test_a_shift_by_part_of_a_pixel_is_seen(pair: Pair, by: float) -> None:
    """Half a pixel is the commonest error of upscaling, and moves every coordinate."""
    moved = ndimage.shift(pair.truth.astype(float), (by, 0), mode="mirror")
    y, x = grid_shift(moved, pair.truth)
    assert y == pytest.approx(by, abs=0.05)
    assert x == pytest.approx(0, abs=0.01)


def test_a_shift_is_seen_where_most_of_the_field_is_empty() -> None:
    """A result that lay three pixels off was called in place, by the windows without a cell."""
    source = np.zeros((1024, 1024), np.float32)
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (400, 400)), 2)
    source[312:712, 312:712] = np.maximum(texture, 0)
    moved = np.roll(repeat(source, 2), (3, -2), (0, 1))
    place = sr.measure(moved, source).channels[0].place
    assert place is not None
    assert (place.shift_y, place.shift_x) == pytest.approx((1.5, -1), abs=0.05)
    blank = sr.measure(np.full_like(moved, 0.1), source)
    place = blank.channels[0].place
    assert place is not None
    assert np.isnan([place.shift_y, place.shift_x]).all()
    assert "shift" not in str(blank)
    assert blank.record()["channels"][0]["place"] == {"shift_y": None, "shift_x": None}


def test_light_that_was_scaled_or_moved_is_seen(pair: Pair) -> None:
    """Intensities are what people measure."""
    source = np.asarray(pair.source, float)
    fine = repeat(source, 4)
    kept = light([(fine, source)])
    assert (kept.slope, kept.r2) == pytest.approx((1, 1))
    assert kept.residual == pytest.approx(0, abs=1e-6)
    dimmed = light([(0.9 * fine + 7, source)])
    assert dimmed.slope == pytest.approx(0.9)
    assert dimmed.intercept == pytest.approx(7, abs=1e-3)
    assert dimmed.r2 == pytest.approx(1)
    span = np.ptp(np.percentile(source, (0.1, 99.9)))
    added = np.zeros_like(source)
    added[:8, :8] = 0.5 * span  # one of 64 blocks is off by half of the range
    assert light([(fine + repeat(added, 4), source)]).flux_error == pytest.approx(0.5 / 64)


def test_pixels_without_a_value_spoil_no_others() -> None:
    """One masked corner would make the whole residual map and its number vanish."""
    rng = np.random.default_rng(4)
    source = rng.normal(500, 50, (24, 24)).astype(np.float32)
    result = repeat(source + rng.normal(0, 5, source.shape).astype(np.float32), 2)
    whole = residual_map(result, source)
    for hole in (np.nan, np.inf):
        masked, finer = source.copy(), result.copy()
        masked[0, 0] = hole
        finer[:2, :2] = hole
        found = residual_map(finer, masked)
        assert not np.isfinite(found[0, 0])
        known = np.isfinite(found)
        assert known.sum() == source.size - 1
        np.testing.assert_allclose(found[known], whole[known], atol=1e-3)
        measured, expected = light([(finer, masked)]), light([(result, source)])
        assert measured.residual == pytest.approx(expected.residual, rel=0.05)
        assert measured.slope == pytest.approx(expected.slope, rel=0.05)
        assert measured.flux_error == pytest.approx(expected.flux_error, rel=0.2)
        assert np.isnan(light([(np.full_like(finer, hole), masked)]).residual)


def test_squirrel_finds_the_blur_and_the_place_of_a_fault(pair: Pair) -> None:
    """The map leads the eye to where the result cannot be right."""
    mean = conserve(repeat(pair.source, 4), pair.source, "off")
    source = ndimage.gaussian_filter(pair.source.astype(float), 1.2)
    found = squirrel([(3 * mean + 5, source)])
    assert found.rsf == pytest.approx(1.2, abs=0.03)
    assert found.rsp == pytest.approx(1, abs=1e-4)
    assert found.rse < 0.01 * source.std()
    noise = np.random.default_rng(1).normal(0, 0.2 * source.std(), source.shape)
    assert squirrel([(mean, source + noise)]).rse == pytest.approx(noise.std(), rel=0.05)
    wrong = mean.copy()
    wrong[80:96, 120:136] += np.ptp(mean)
    where = error_map(wrong, pair.source)
    assert where.shape == pair.source.shape
    y, x = np.unravel_index(where.argmax(), where.shape)
    assert 18 <= y <= 25
    assert 28 <= x <= 35


def test_squirrel_cannot_see_what_happens_inside_a_pixel(pair: Pair) -> None:
    """The documentation says so, and users are warned with reason."""
    noise = np.random.default_rng(0).normal(0, pair.truth.std(), pair.truth.shape)
    made_up = conserve((pair.truth + noise).astype(np.float32), pair.source, "pixel")
    assert squirrel([(made_up, pair.source)]).rsp > 0.999


def test_flicker_is_that_of_the_source_for_a_result_that_repeats_it() -> None:
    """The ratio of nothing done is one, and of independent noise is known."""
    rng = np.random.default_rng(0)
    still = rng.uniform(0, 10, (1, 64, 64)).repeat(3, 0)
    source = still + rng.normal(0, 1, still.shape)
    plain = flicker([(repeat(source, 2), source)], "t")
    assert plain.ratio == pytest.approx(1)
    contrast = float(source.std())
    assert plain.source == pytest.approx(1 / contrast, rel=0.05)
    moving = np.arange(3)[:, None, None] * 2.0 + still
    assert flicker([(repeat(moving, 2), moving)], "t").source == pytest.approx(0, abs=1e-9)
    nervous = repeat(source, 2) + rng.normal(0, 1, (3, 128, 128))
    assert flicker([(nervous, source)], "t").ratio > 1.3


def test_a_result_that_flickers_is_called_so(tmp_path: Path) -> None:
    """Somebody would measure the flicker of a network as motion of a cell."""
    rng = np.random.default_rng(0)
    still = ndimage.gaussian_filter(rng.normal(0, 1, (1, 64, 64)), (0, 2, 2)).repeat(5, 0) * 1000
    source = (still + rng.normal(0, 1, still.shape)).astype(np.float32)
    result = repeat(source, 2) + rng.normal(0, 30, (5, 128, 128)).astype(np.float32)
    measured = sr.measure(result, source, axes="tyx")
    (channel,) = measured.channels
    assert [one.axis for one in channel.flicker] == ["t"]
    assert "flickers" in channel.warnings[0]
    assert "flickers" in str(measured)


@pytest.mark.parametrize("axes", ["ztyxc", "cztyx", "ctzyx", "tczyx"])
def test_a_colour_picture_flickers_wherever_its_colours_are(axes: str) -> None:
    """Where colours came before planes, they were taken for planes."""
    rng = np.random.default_rng(0)
    still = ndimage.gaussian_filter(rng.normal(0, 1, (64, 64, 3)), (2, 2, 0)) * 1000
    source = np.broadcast_to(still * [1, 2, 3], (4, 5, 64, 64, 3))
    source = source + rng.normal(0, 1, source.shape)  # z t y x c
    shaken = rng.normal(0, 30, (4, 5, 128, 128, 3))
    fine = source.repeat(2, axis=2).repeat(2, axis=3) + shaken
    order = ["ztyxc".index(a) for a in axes]
    measured = sr.measure(fine.transpose(order), source.transpose(order), axes=axes, rgb=True)
    expected = sr.measure(fine, source, axes="ztyxc", rgb=True)
    found = {one.axis: one.ratio for one in measured.channels[0].flicker}
    for one in expected.channels[0].flicker:
        assert one.ratio > 10
        assert found[one.axis] == pytest.approx(one.ratio, rel=0.1)  # of other windows


def test_only_a_sample_of_a_large_image_is_read() -> None:
    """A terabyte is measured as quickly as a gigabyte."""
    read = []

    def block(block_info: dict[int, dict[str, list[tuple[int, int]]]]) -> np.ndarray:
        place = block_info[None]["array-location"]  # type: ignore[index]
        read.append(place)
        return np.indices([stop - start for start, stop in place]).sum(axis=0) % 7.0

    data = da.map_blocks(
        block, chunks=((1,) * 500, (256,) * 16, (256,) * 16), dtype=float, meta=np.empty((0, 0, 0))
    )
    measured = sr.measure(data, axes="zyx")
    assert measured.windows == 16
    # 512 pixels touch at most three blocks along each axis; nothing else is read.
    assert len(read) <= 16 * 9


def test_the_source_is_found_in_the_history_and_the_part_by_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command, one file name."""
    path = tmp_path / "cells.ome.tif"
    values = np.random.default_rng(0).integers(100, 4000, (2, 5, 60, 70), dtype=np.uint16)
    tifffile.imwrite(
        path,
        values,
        metadata={
            "axes": "CZYX",
            "PhysicalSizeX": 0.2,
            "PhysicalSizeY": 0.2,
            "PhysicalSizeZ": 1.0,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZUnit": "µm",
            "Channel": {"Name": ["DNA", "actin"]},
        },
        photometric="minisblack",
    )
    target = tmp_path / "part.ome.zarr"
    arguments = ["upscale", str(path), str(target), "-m", "nearest", "-q", "--channels", "actin"]
    assert _run([*arguments, "--planes", "z=1:5", "--region", "10:60,0:48"]) == 0
    capsys.readouterr()
    assert _run(["measure", str(target), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    (channel,) = record["channels"]
    assert channel["name"] == "actin"
    assert channel["light"]["residual"] == 0
    assert channel["flicker"][0]["ratio"] == pytest.approx(1)
    assert record["unit"] == "micrometer"
    assert _run(["measure", str(target)]) == 0
    table = capsys.readouterr().out
    assert "block flux error" in table
    assert "micrometer" in table


def _two_channels(names: tuple[str, str]) -> sr.Image:
    """Return an image whose channels share nothing."""
    values = np.random.default_rng(0).integers(100, 4000, (2, 64, 72), dtype=np.uint16)
    channels = tuple(sr.Channel(name) for name in names)
    return sr.Image(da.from_array(values), "cyx", channels=channels)


@pytest.mark.parametrize("names", [("DNA", "actin"), ("", "")])
def test_channels_in_another_order_are_measured_on_their_own(names: tuple[str, str]) -> None:
    """A sound result was said to have moved all light, by the light of the other channel."""
    source = _two_channels(names)
    whole = sr.upscale(source, "nearest", scale=2)
    swapped = sr.upscale(source, "nearest", scale=2, channels=[1, 0])
    for channel in sr.measure(swapped, source, whole).channels:
        assert channel.light is not None
        assert channel.light.residual == 0
        assert channel.similarity is not None
        assert channel.similarity.nrmse == 0


@pytest.mark.parametrize("part", [None, [0]])
def test_a_part_of_chosen_channels_is_measured_against_those(
    tmp_path: Path, part: list[int] | None
) -> None:
    """The figures were those of another channel of the file, where its channels have no names."""
    values = np.random.default_rng(0).integers(100, 4000, (3, 40, 44), dtype=np.uint16)
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, values, metadata={"axes": "CYX"}, photometric="minisblack")
    whole = sr.read(path)
    chosen = select(whole, [2, 1])  # as a layer of napari
    result = sr.upscale(chosen, "nearest", scale=2, channels=part)
    for source in (None, whole, chosen):
        for channel in sr.measure(result, source).channels:
            assert channel.light is not None
            assert channel.light.residual == 0


def test_a_truth_is_paired_by_the_names_of_its_channels() -> None:
    """A reference from another microscope lists its filters in its own order."""
    source = _two_channels(("DNA", "actin"))
    whole = sr.upscale(source, "nearest", scale=2)
    for channel in sr.measure(whole, source, select(whole, ["actin", "DNA"])).channels:
        assert channel.similarity is not None
        assert channel.similarity.nrmse == 0
    renamed = replace(whole, channels=(sr.Channel("DAPI"), sr.Channel("phalloidin")))
    likeness = sr.measure(whole, source, renamed).channels[1].similarity
    assert likeness is not None
    assert likeness.nrmse == 0


@pytest.mark.parametrize(
    ("shape", "axes", "chosen"),
    [
        ((1, 2, 1, 40, 44), "tczyx", {}),
        ((2, 3, 40, 44), "tzyx", {"planes": {"t": 1, "z": slice(1, 2)}}),
        ((3, 4, 40, 44), "czyx", {"channels": [2], "planes": {"z": 3}, "region": (9, 39)}),
    ],
)
def test_axes_that_became_one_long_are_no_reason_to_refuse(
    tmp_path: Path, shape: tuple[int, ...], axes: str, chosen: dict[str, Any]
) -> None:
    """A TIFF of one plane could not be measured against the stack that it was made from."""
    values = np.random.default_rng(0).integers(100, 4000, shape, dtype=np.uint16)
    sr.write(sr.Image(da.from_array(values), axes), tmp_path / "source.ome.zarr")
    if "region" in chosen:
        chosen = {**chosen, "region": (slice(*chosen["region"]), slice(0, 36))}
    result = sr.upscale(sr.read(tmp_path / "source.ome.zarr"), "nearest", scale=2, **chosen)
    sr.write(result, tmp_path / "result.ome.tif")
    written = sr.read(tmp_path / "result.ome.tif")
    assert len(written.axes) < len(axes)
    for channel in sr.measure(written, truth=result).channels:
        assert channel.light is not None
        assert channel.light.residual == 0
        assert channel.similarity is not None
        assert channel.similarity.nrmse == 0


def test_two_upscalings_in_a_row_are_measured_against_the_first_source(tmp_path: Path) -> None:
    """What lay between them was never written: there is no other source to give."""
    values = np.random.default_rng(0).integers(100, 4000, (40, 44), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "cells.tif", values)
    once = sr.upscale(sr.read(tmp_path / "cells.tif"), "nearest", scale=2)
    twice = sr.upscale(once, "nearest", scale=2)
    for measured, scale in ((sr.measure(twice), 4), (sr.measure(twice, once), 2)):
        assert measured.scale == scale
        light = measured.channels[0].light
        assert light is not None
        assert light.residual == 0


def test_a_plane_that_nothing_names_is_refused() -> None:
    """Better no figure than one about another plane."""
    stack = np.random.default_rng(0).integers(100, 4000, (3, 40, 44), dtype=np.uint16)
    with pytest.raises(sr.InputError, match="same axes"):
        sr.measure(np.kron(stack[1], np.ones((2, 2))), sr.Image(da.from_array(stack), "zyx"))


def test_a_source_that_is_gone_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise half of the table would be missing without a word."""
    path = tmp_path / "alone.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    assert _run(["measure", str(path)]) == 0
    told = capsys.readouterr()
    assert "names no source that is there. Give it with --source." in told.out
    assert "1 window of up to" in told.out
    assert "texture of the result" in told.out


@pytest.mark.parametrize("name", ["cells.ome.tif", "cells.ome.zarr"])
def test_a_source_that_was_written_anew_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A model would be blamed for what somebody else did to the source."""
    path, result = tmp_path / name, tmp_path / "finer.ome.tif"
    values = np.random.default_rng(0).integers(100, 4000, (64, 64), dtype=np.uint16)
    sr.write(sr.Image(da.from_array(values), "yx"), path)
    sr.write(sr.upscale(sr.read(path), "nearest", scale=2), result)
    assert _run(["measure", str(result)]) == 0
    assert "written anew" not in capsys.readouterr().out
    sr.write(sr.Image(da.from_array(values[::-1]), "yx"), path, overwrite=True)
    assert _run(["measure", str(result)]) == 0
    assert "written anew" in capsys.readouterr().out
    assert "written anew" in sr.measure(sr.read(result)).record()["notes"][0]
    assert _run(["measure", str(result), "--source", str(path)]) == 0
    assert "written anew" not in capsys.readouterr().out


@pytest.mark.parametrize("gain", [None, 2.0])
@pytest.mark.parametrize("shape", [(40, 532), (32, 32), (36, 1060)])
def test_narrow_and_small_images_are_measured(shape: tuple[int, int], gain: float | None) -> None:
    """What is left over at the border is too little to measure, and is left out."""
    result = np.random.default_rng(0).poisson(200, shape).astype(np.uint16)
    assert not np.isnan(sr.measure(result).channels[0].resolution.of_result)
    source = block_mean(result.astype(np.float32), 4).astype(np.uint16)
    of_source = sr.measure(result, source, gain=gain).channels[0].resolution.of_source
    assert np.isnan(of_source)


def test_the_table_says_what_each_figure_means(pair: Pair) -> None:
    """Numbers without words are misread."""
    result = sr.upscale(pair.source, "bicubic", scale=4)
    table = str(sr.measure(result, pair.source, pair.truth))
    for words in ("higher is better", "1 keeps it", "grey levels", "0 is best", "dB"):
        assert words in table


def test_images_that_do_not_belong_together_are_refused(pair: Pair) -> None:
    """Better no figure than one about two different cells."""
    with pytest.raises(sr.InputError, match="no whole number"):
        sr.measure(pair.truth, pair.source[:50])
    with pytest.raises(sr.InputError, match="truth"):
        sr.measure(pair.truth, pair.source, pair.source)
    with pytest.raises(sr.InputError, match="too few"):
        sr.measure(pair.truth[:20, :20])
    broken = pair.truth.copy()
    broken[4, 4] = np.nan
    with pytest.raises(sr.InputError, match="not finite"):
        sr.measure(broken, pair.source)
