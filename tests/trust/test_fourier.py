"""Fourier ring correlation, and detail beyond the source's sampling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_superres.errors import InputError
from napari_superres.training.camera import Camera, expose
from napari_superres.training.recording import area_mean
from napari_superres.training.simulate import Scene, draw
from napari_superres.trust.fourier import (
    beyond_sampling,
    binomial_correlation,
    ring_correlation,
    split_correlation,
)


def _noise(seed: int, edge: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (edge, edge))


def _cells(edge: int = 256, seed: int = 0) -> np.ndarray:
    """Return a sharp scene, not negative, bright parts about 1."""
    return draw(Scene("membranes"), (edge, edge), np.random.default_rng(seed)).astype(np.float64)


def test_an_image_agrees_with_itself_up_to_its_sampling() -> None:
    """The finest period that pixels can show is two of them."""
    curve = ring_correlation([(_noise(0), _noise(0))])
    np.testing.assert_allclose(curve.correlation, 1)
    assert curve.resolution(0.1) == pytest.approx(0.2)
    assert curve.mean == pytest.approx(1)


def test_noise_does_not_correlate_with_noise() -> None:
    """Otherwise two grainy pictures would seem to share detail."""
    pairs = [(_noise(2 * i), _noise(2 * i + 1)) for i in range(4)]
    curve = ring_correlation(pairs)
    # A ring at frequency f pools some 4 * pi * f * 64 independent values of a tapered window.
    assert abs(curve.correlation[16:]).max() < 0.15
    assert abs(curve.mean) < 0.02
    assert curve.cutoff < 0.03


def test_gain_and_offset_do_not_matter() -> None:
    """Two cameras record in different units."""
    a, b = _cells(), _cells() + 0.2 * _noise(1, 256)
    one = ring_correlation([(a, b)])
    other = ring_correlation([(7 * a + 1000, b)])
    np.testing.assert_allclose(one.correlation, other.correlation, atol=1e-9)


def test_the_cutoff_is_where_a_low_pass_ends() -> None:
    """A resolution in micrometres that is not the one of the image misleads a whole paper."""
    image = _noise(0, 256)
    fy, fx = np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256), indexing="ij")
    kept = np.hypot(fy, fx) <= 0.2
    low = np.fft.ifft2(np.fft.fft2(image) * kept).real
    # Noise of its own for each image, so that beyond 0.2 nothing is shared.
    pair = (low + 0.1 * _noise(8, 256), low + 0.1 * _noise(9, 256))
    # The taper and the mean over three rings blur a sudden end by two rings of 1/256.
    assert ring_correlation([pair]).resolution(65.0) == pytest.approx(65 / 0.2, rel=0.05)


def test_one_image_split_in_its_pixels_has_the_resolution_that_two_exposures_have() -> None:
    """One recording is all that most people have; its resolution must be that of a second one."""
    rng = np.random.default_rng(0)
    light = ndimage.gaussian_filter(_noise(0, 512), 2.5)
    light = light - light.min()
    camera = Camera(photons=100.0, bits=None)
    one, two = (expose(light / light.max(), camera, rng) for _ in range(2))
    twice = ring_correlation([(one, two)]).cutoff
    assert 0.1 < twice < 0.2
    assert split_correlation([one]).cutoff == pytest.approx(twice, rel=0.1)


@pytest.mark.parametrize("edge", [512, 128, 64])
def test_a_resolution_does_not_depend_on_the_window(edge: int) -> None:
    """A source is seen in smaller windows than its result, and would seem the finer of the two."""
    rng, windows = np.random.default_rng(1), []
    frequency = np.hypot(np.fft.fftfreq(edge)[:, None], np.fft.fftfreq(edge)[None, :])
    # Signal and noise as 1 to 6 at 0.11 cycles a pixel, where a curve of S / (S + N) is 1/7.
    transfer = np.sqrt(1 / 6) * np.exp((0.11**2 - frequency**2) * 150)
    for _ in range(max(16, (512 // edge) ** 2)):
        light = np.fft.ifft2(np.fft.fft2(rng.normal(size=(edge, edge))) * transfer).real
        windows.append(light + rng.normal(size=(edge, edge)))
    assert split_correlation(windows).cutoff == pytest.approx(0.11, rel=0.1)


def test_photons_split_in_two_are_two_exposures_of_half_the_time() -> None:
    """Then the figure holds to the finest period, not only to four pixels."""
    rng = np.random.default_rng(1)
    light = np.maximum(ndimage.gaussian_filter(_noise(3, 256), 1.0) + 0.5, 0)
    half = Camera(photons=20.0, read_noise=0.0, gain=2.0, offset=100.0, bits=None)
    full = Camera(photons=40.0, read_noise=0.0, gain=2.0, offset=100.0, bits=None)
    twice = ring_correlation([(expose(light, half, rng), expose(light, half, rng))])
    once = binomial_correlation([expose(light, full, rng)], gain=2.0, offset=100.0)
    assert 0.1 < twice.cutoff < 0.45
    assert once.cutoff == pytest.approx(twice.cutoff, rel=0.08)
    assert once.mean == pytest.approx(twice.mean, abs=0.03)


@pytest.mark.parametrize("split", [split_correlation, None])
def test_noise_alone_is_resolved_by_no_split(split: object) -> None:
    """A blank field of view has no resolution."""
    counts = np.random.default_rng(0).poisson(50, (256, 256)).astype(float)
    curve = (
        split_correlation([counts]) if split else binomial_correlation([counts], gain=1, offset=0)
    )
    # Split in its pixels, what is left of chance is magnified fourfold.
    assert abs(curve.mean) < (0.15 if split else 0.03)
    assert curve.cutoff < 0.03


def test_interpolated_noise_fools_the_split_as_the_docstring_says() -> None:
    """The limit that users are told of is real."""
    smooth = ndimage.zoom(_noise(0, 64), 4, order=3)
    assert split_correlation([smooth]).cutoff > 0.1


def test_the_truth_recovers_all_and_invents_nothing() -> None:
    """A perfect result scores perfectly."""
    truth = _cells()
    detail = beyond_sampling([(3 * truth + 100, truth)], 4)
    assert detail.recovered == pytest.approx(1)
    assert detail.invented == 0


def test_a_blurred_truth_recovers_less_and_still_invents_nothing() -> None:
    """Missing detail is not false detail."""
    truth = _cells()
    detail = beyond_sampling([(ndimage.gaussian_filter(truth, 1.5), truth)], 4)
    assert 0 < detail.recovered < 0.6
    assert detail.invented < 1e-3


def test_detail_that_is_made_up_is_counted_as_invented() -> None:
    """The one figure that tells a hallucination from a sharp image."""
    truth = _cells()
    blurred = ndimage.gaussian_filter(truth, 2.0)
    grain = _noise(5, 256) - ndimage.gaussian_filter(_noise(5, 256), 1.0)
    # Grain with the energy of the truth's own detail beyond a fourth of the sampling.
    fine = truth - ndimage.gaussian_filter(truth, 2.0)
    made_up = blurred + grain * fine.std() / grain.std()
    assert beyond_sampling([(blurred, truth)], 4).invented < 0.01
    assert beyond_sampling([(made_up, truth)], 4).invented > 0.2


def test_the_blocks_of_nearest_neighbour_count_as_invented() -> None:
    """Sharp edges of blocks look like detail, and are none."""
    truth = _cells()
    blocks = area_mean(truth, 4).repeat(4, 0).repeat(4, 1)
    assert beyond_sampling([(blocks, truth)], 4).invented > 0.01


def test_an_image_too_small_is_refused() -> None:
    """A handful of frequencies say nothing."""
    with pytest.raises(InputError, match="too few frequencies"):
        ring_correlation([(np.ones((8, 8)), np.ones((8, 8)))])
    with pytest.raises(InputError, match="gain=0"):
        binomial_correlation([np.ones((32, 32))], gain=0, offset=0)


@pytest.mark.parametrize(("gain", "offset"), [(np.nan, 0), (np.inf, 0), (0, 0), (2, np.nan)])
def test_a_camera_of_no_numbers_is_refused(gain: float, offset: float) -> None:
    """A slip in --gain was called a bug of ours."""
    with pytest.raises(InputError, match=r"not positive|no number"):
        binomial_correlation([np.ones((32, 32))], gain, offset)
