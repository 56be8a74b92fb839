"""From wishes and facts to decisions: `make_plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.consistency import RADIUS
from napari_superres.errors import InputError, SettingError, UnknownModelError
from napari_superres.image import check_axes
from napari_superres.models.catalog import MODELS, ModelSpec, default_model
from napari_superres.models.engine import Compute, load_family, whole_number
from napari_superres.plan import Limits, Plan, margin_for
from napari_superres.symmetry import SYMMETRIES
from napari_superres.tiles import Lattice, block_for, step_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_superres.image import Image
    from napari_superres.models.catalog import Consistency
    from napari_superres.models.noise_line import NoiseLine
    from napari_superres.surveying import Survey


def make_plan(
    image: Image,
    model: str | ModelSpec | None = None,
    survey: Survey | None = None,
    *,
    scale: int | None = None,
    limits: Limits | Sequence[Limits] | None = None,
    denoise: float | str | None = None,
    consistency: Consistency | None = None,
    dtype: Any = None,
    tile: int | tuple[int, int] | None = None,
    halo: int | None = None,
    feather: int | None = None,
    seed: int = 0,
    samples: int = 1,
    uncertainty: bool = False,
    compute: Compute | None = None,
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """Turn wishes and facts into decisions. Pure: reads no pixel, loads no model.

    Parameters
    ----------
    image : Image
        The whole source.
    model : str or ModelSpec, optional
        A name of the table, or a row.
    survey : Survey, optional
        Facts about the pixels. Needed when the model needs limits and none are given.
    scale : int, optional
        Scale factor of the result; None for the model's own (2 for models that make any).
    limits : (float, float), or a sequence of them, optional
        What becomes 0 and 1, for all channels or for each. None takes the survey's 0.1 and 99.9
        percentiles, and 0:255 for RGB pictures of 8 bits. Models that need none, such as the
        embedded ones and interpolation, do not look at them.
    denoise : float or "auto", optional
        Strength between 0 and 1, for models that have the setting.
    consistency : {"pixel", "local", "off"}, optional
        How light is conserved; None for the model's measured default, or ``"pixel"`` for one that
        could remove noise and shall remove none.
    dtype : dtype, optional
        Type of the result's pixels; None for the source's.
    tile : int or (int, int), optional
        What the model sees at once, halo included, in source pixels.
    halo, feather : int, optional
        In source pixels.
    seed : int
        For models that draw random numbers.
    samples : int
        How many results to average; their standard deviation is the spread. Models that draw no
        random numbers see as many flips and rotations of the image, 8 at most.
    uncertainty : bool
        Whether to compute the model's own prediction of its error too.
    compute : Compute, optional
        Where and how to compute; None for the plainest engine of the family on the CPU.
    options : mapping, optional
        The model's own options.

    Returns
    -------
    Plan

    Raises
    ------
    SettingError
        If a setting is out of range, unknown to the model, or contradicts another.
    InputError
        If the model cannot treat such pixels.
    UnknownModelError
        If the table has no such model.
    """
    spec = _row(model, scale)
    scale = _whole_scale(spec, scale)
    spec = spec.at(scale)
    image = image.transposed(canonical_axes(image.axes))
    check_axes(image.axes, image.shape, image.called)
    _check_pixels(image, spec)
    out = _result_dtype(image, dtype, spec)
    channels = image.size("c", 1)
    strengths = _denoise(spec, denoise, channels, survey)
    noise = _noise(spec, strengths, survey)
    variant = consistency or _usual_consistency(spec, noise)
    if variant not in RADIUS:
        raise SettingError(
            f"consistency='{variant}' is not known.", f"Use one of: {', '.join(RADIUS)}."
        )
    compute = compute or Compute(engine="numpy" if spec.family == "interpolation" else "torch")
    halo = spec.halo if halo is None else _natural("halo", halo)
    # What lies outside the limits is interpolated linearly, which looks one pixel around.
    halo = max(halo, 1) if spec.needs_limits and halo else halo
    halo = -(-halo // spec.multiple) * spec.multiple
    feather = spec.feather if feather is None else _natural("feather", feather)
    if spec.multiple > 1:  # half of it lies at each side of a core
        feather = -(-feather // (2 * spec.multiple)) * 2 * spec.multiple
    step = _steps(spec, tile, halo + margin_for(variant, spec.multiple), feather)
    height, width = image.size("y"), image.size("x")
    return Plan(
        spec=spec,
        axes=image.axes,
        shape=image.shape,
        source_dtype=str(image.dtype),
        dtype=str(out),
        scale=scale,
        step=step,
        halo=halo,
        feather=feather,
        block=(block_for(step[0], scale, height), block_for(step[1], scale, width)),
        limits=_limits(image, spec, limits, survey, channels) if spec.needs_limits else None,
        denoise=strengths,
        noise=noise,
        noise_lines=_noise_lines(noise, survey),
        consistency="off" if spec.name == "nearest" else variant,
        seed=whole_number("seed", seed),
        samples=_samples(spec, samples, uncertainty),
        # Samples have a spread of their own.
        uncertainty=uncertainty and samples == 1,
        compute=compute,
        options=_options(spec, options or {}),
        auto_denoise=(spec.denoise if denoise is None else denoise) == "auto",
    )


def canonical_axes(axes: str) -> str:
    """Return the same axes with y, x and then s last, the others in their order."""
    lead = "".join(a for a in axes if a not in "yxs")
    return lead + "yx" + ("s" if "s" in axes else "")


def needs_survey(image: Image, spec: ModelSpec, limits: object, denoise: object) -> bool:
    """Return whether `make_plan` wants facts about the pixels for these wishes."""
    wants_limits = spec.needs_limits and limits is None
    wants_noise = spec.noise_input and denoise != 0
    return wants_noise or (wants_limits and not (image.rgb and image.dtype == np.uint8))


def _row(model: str | ModelSpec | None, scale: int | None) -> ModelSpec:
    if isinstance(model, ModelSpec):
        return model
    name = model or default_model(scale or 2)
    if name not in MODELS:
        raise UnknownModelError(
            f"There is no model named '{name}'.", f"Known are: {', '.join(MODELS)}."
        )
    return MODELS[name]


def _whole_scale(spec: ModelSpec, scale: int | None) -> int:
    wanted = scale if scale is not None else (spec.scale or 2)
    if wanted != int(wanted) or wanted < 1:
        raise SettingError(f"scale={wanted} is not a whole number of 1 or more.", "Use 2 or 4.")
    if spec.scale and wanted > spec.scale:
        raise SettingError(
            f"'{spec.name}' makes an image {spec.scale} times finer, not {wanted} times.",
            f"Use scale={spec.scale} or less, or a model made for {wanted}.",
        )
    return int(wanted)


def _check_pixels(image: Image, spec: ModelSpec) -> None:
    if 0 in image.shape:
        raise InputError(
            f"'{image.called}' has no pixels: its shape is {image.shape}.",
            "Choose an image, or a part of it, that has some.",
        )
    if image.dtype.kind == "c":
        raise InputError(
            f"'{image.called}' has complex pixels ({image.dtype}), which have no brightness.",
            "Upscale the real and imaginary parts, or magnitude and phase, one by one.",
        )
    if image.dtype.kind not in "biuf":
        raise InputError(
            f"'{image.called}' has pixels of type {image.dtype}, which are not numbers.",
            "Give integers, floats or truth values.",
        )
    if (image.is_labels or image.dtype == bool) and spec.name != "nearest":
        what = "a mask" if image.dtype == bool else "a label image"
        raise InputError(
            f"'{image.called}' is {what}: its values are names, and '{spec.name}' would mix them.",
            "Use the model 'nearest'.",
        )


def _result_dtype(image: Image, wish: Any, spec: ModelSpec) -> np.dtype[Any]:
    try:
        out = image.dtype if wish is None else np.dtype(wish)
    except TypeError:
        raise SettingError(
            f"dtype={wish!r} is not a type of pixel.", "Use for example 'uint16' or 'float32'."
        ) from None
    if wish is not None and out.kind not in "iuf" and out != image.dtype:
        raise SettingError(f"dtype='{out}' cannot hold intensities.", "Use integers or floats.")
    if wish is not None and out.kind == "f" and out.itemsize > 8:
        raise SettingError(f"dtype='{out}' has no place in any file.", "Use for example 'float32'.")
    if spec.name != "nearest" and out.kind in "iu" and out.itemsize > 4:
        raise (InputError if wish is None else SettingError)(
            f"'{image.called}' has pixels of type {out}, which models cannot keep exactly.",
            "Ask for dtype='float32'.",
        )
    return out


def _steps(
    spec: ModelSpec, tile: int | tuple[int, int] | None, context: int, feather: int
) -> tuple[int, int]:
    if tile is None:
        Lattice(spec.tile, spec.tile, context, feather)  # refuses a feather wider than the core
        return spec.tile, spec.tile
    lengths = tile if isinstance(tile, tuple) else (tile, tile)
    y, x = (step_for(_natural("tile", n), context, feather, spec.multiple) for n in lengths)
    return y, x


def _natural(name: str, value: int) -> int:
    if value != int(value) or value < 0:
        raise SettingError(f"{name}={value} is not a number of pixels.", "Use 0, 1, 2 and so on.")
    return int(value)


def _limits(
    image: Image,
    spec: ModelSpec,
    wish: Limits | Sequence[Limits] | None,
    survey: Survey | None,
    channels: int,
) -> tuple[Limits, ...]:
    if wish is None and image.rgb and image.dtype == np.uint8:
        return ((0.0, 255.0),) * channels
    if wish is None:
        if survey is None:
            raise SettingError(
                f"'{spec.name}' needs to know the intensities of '{image.called}'.",
                "Give limits=(low, high), or the facts of survey(image).",
            )
        return survey.limits
    pairs = np.asarray(wish, dtype=np.float64)
    if pairs.shape == (2,):
        pairs = np.tile(pairs, (channels, 1))
    if pairs.shape != (channels, 2):
        raise SettingError(
            f"limits= describes an array of shape {pairs.shape}; '{image.called}' needs a pair, "
            f"or {channels} of them.",
            "For example limits=(0, 4095).",
        )
    if not np.isfinite(pairs).all() or (pairs[:, 0] > pairs[:, 1]).any():
        raise SettingError(
            f"limits={wish} are not finite pairs of a lower and an upper value.",
            "For example limits=(0, 4095).",
        )
    return tuple((float(low), float(high)) for low, high in pairs)


def _denoise(
    spec: ModelSpec, wish: float | str | None, channels: int, survey: Survey | None
) -> tuple[float | None, ...]:
    if spec.denoise is None:
        if wish is not None:
            raise SettingError(f"'{spec.name}' has no denoise setting.", "Leave denoise= out.")
        return (None,) * channels
    value = spec.denoise if wish is None else wish
    if value == "auto" and spec.noise_input:
        if survey is None:
            raise SettingError(
                "denoise='auto' needs to know the noise.",
                "Give a strength from 0 to 1, or the facts of survey(image).",
            )
        return tuple(noise.denoise for noise in survey.noise)
    if isinstance(value, str) or not 0 <= value <= 1:
        raise SettingError(
            f"denoise={value!r} is not a strength that '{spec.name}' takes.",
            "Use a number from 0 (keep noise) to 1" + (", or 'auto'." * spec.noise_input or "."),
        )
    return (float(value),) * channels


def _noise(
    spec: ModelSpec, strengths: tuple[float | None, ...], survey: Survey | None
) -> tuple[float, ...]:
    """Return the standard deviation of the noise that is to be removed from each channel."""
    if not spec.noise_input or not any(strengths):
        return (0.0,) * len(strengths)
    if survey is None:
        raise SettingError(
            f"'{spec.name}' needs to know the noise that it shall remove.",
            "Give denoise=0, or the facts of survey(image).",
        )
    return tuple(
        (strength or 0.0) * noise.std
        for strength, noise in zip(strengths, survey.noise, strict=True)
    )


def _noise_lines(noise: tuple[float, ...], survey: Survey | None) -> tuple[NoiseLine | None, ...]:
    """Return how the noise that is to be removed from each channel grows with brightness."""
    if survey is None or not any(noise):
        return (None,) * len(noise)
    found = zip(noise, survey.noise, strict=True)
    return tuple(one.line if removed else None for removed, one in found)


def _usual_consistency(spec: ModelSpec, noise: tuple[float, ...]) -> Consistency:
    """Return the model's default, for images from which noise is removed or none is."""
    return spec.consistency if any(noise) else spec.faithful_consistency


def _samples(spec: ModelSpec, samples: int, uncertainty: bool) -> int:
    if samples != int(samples) or samples < 1:
        raise SettingError(f"samples={samples} is not a number of samples.", "Use 1 or more.")
    if spec.proven == "exact" and (samples > 1 or uncertainty):
        raise SettingError(
            f"'{spec.name}' gives one answer and no spread.",
            "Leave samples= and uncertainty= out, or choose a model that has them.",
        )
    if samples > len(SYMMETRIES) and not spec.random:
        raise SettingError(
            f"samples={samples}: '{spec.name}' draws no random numbers; its samples are the flips "
            f"and rotations of the image, and there are {len(SYMMETRIES)}.",
            f"Use samples={len(SYMMETRIES)} or less.",
        )
    if uncertainty and samples > 1 and spec.bound:
        raise SettingError(
            "uncertainty= asks for the error that the model predicts, samples= for the spread of "
            "several results.",
            "Ask for one of them.",
        )
    if uncertainty and samples == 1 and not spec.bound:
        raise SettingError(
            f"'{spec.name}' predicts no error, and one result has no spread.",
            f"Ask for the spread of several results, for example samples={4 if spec.random else 8}",
        )
    return int(samples)


def _options(spec: ModelSpec, wishes: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    known = {option.name: option for option in spec.options}
    for name in wishes:
        if name not in known:
            takes = ", ".join(known) or "no options"
            raise SettingError(f"'{spec.name}' has no option '{name}'.", f"It takes {takes}.")
    values = {}
    for name, option in known.items():
        value = wishes.get(name, option.default)
        try:
            value = type(option.default)(value)
        except (TypeError, ValueError):
            raise SettingError(
                f"The option '{name}' of '{spec.name}' is {value!r}, which is not of type "
                f"{type(option.default).__name__}.",
                f"Its default is {option.default}.",
            ) from None
        low, high = option.low, option.high
        inside = not isinstance(value, int | float) or (
            (low is None or value >= low) and (high is None or value <= high)
        )  # which NaN is not
        if not inside or (option.choices and value not in option.choices):
            span = f"{low} or more" if high is None else f"{low} to {high}"
            allowed = ", ".join(option.choices) or span
            raise SettingError(
                f"The option '{name}' of '{spec.name}' is {value!r}, which is not allowed.",
                f"Use {allowed}.",
            )
        values[name] = value
    chosen = tuple(sorted(values.items()))
    if spec.unit == "plane":
        load_family(spec.family).check_options(spec, chosen)
    return chosen
