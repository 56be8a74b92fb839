"""How far a result in the viewer can be trusted: its residual, its resolution, its own doubts.

All three look at what is on the screen, in one plane. The figures are those of `measure`.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import dask.array as da
import numpy as np
from dask.local import get_sync
from napari.layers import Image as ImageLayer

from napari_superres.errors import InputError
from napari_superres.plugin.compute import filled
from napari_superres.plugin.facts import short_unit
from napari_superres.plugin.layer_history import PREVIEW
from napari_superres.plugin.layers import layer_kwargs
from napari_superres.plugin.look import look_at
from napari_superres.plugin.meter import Meter
from napari_superres.plugin.origins import Origin, origin_of
from napari_superres.plugin.progressive import ProgressiveLevel, for_viewing
from napari_superres.upscaled_array import UpscaledArray

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Literal

    from napari_superres.image import Image
    from napari_superres.plan import Plan
    from napari_superres.plugin.look import Look
    from napari_superres.trust.measure import Measures

_SHOWN = 99.5
"""Percentile of a map's values that its contrast limits hold: a hot pixel would hide the rest."""


_maps: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()


class Checked(NamedTuple):
    """A map that was made of a result.

    Parameters
    ----------
    layer : napari.layers.Image
        To be added to the viewer.
    sentence : str
        What it tells.
    result : napari.layers.Image
        What was checked.
    kind : str
        One map of each kind is shown of a result.
    """

    layer: Any
    sentence: str
    result: Any
    kind: str


def consistency_steps(look: Look, meter: Meter) -> Generator[object, None, Checked]:
    """Compute the residual map: the result, averaged to the source's pixels, less the source."""
    from napari_superres.trust.light import light, residual_map

    result, source = (_plane(image) for image in (yield from _pair(look, meter)))
    residual = light(_samples(result, source)).residual
    shown = residual_map(result, source)
    percent = f"{100 * residual:.2g} %"
    kwargs = {
        **layer_kwargs(look.layer, 1 / look.scale, axes=look.image.axes, start=look.start),
        **_map_look(f"{look.layer.name}, residual {percent}", "PiYG", _limit(shown), signed=True),
    }
    layer = ImageLayer(_with_lead(shown, look), **kwargs)
    return Checked(
        layer,
        f"Residual {percent} of the source's range (root mean square). Removed noise counts; look "
        "for structure in the map. It cannot show detail finer than a source pixel.",
        look.layer,
        "residual",
    )


def resolution_steps(look: Look, meter: Meter) -> Generator[object, None, str]:
    """Estimate the finest resolved period of source and result, by Fourier rings."""
    result, source = yield from _pair(look, meter)
    return describe_resolution(_measured(result, source), result)


def uncertainty_steps(look: Look, meter: Meter) -> Generator[object, None, Checked]:
    """Compute where the model itself expects errors, and how large."""
    origin = origin_of(look.layer)
    plan = None if origin is None else origin.plan
    if origin is None or plan is None:
        raise InputError(
            f"How '{look.layer.name}' was made is known only from its file.",
            "Run the model again, on demand, to see its uncertainty.",
        )
    if plan.samples == 1:
        if not plan.spec.bound:
            raise InputError(
                f"'{plan.spec.name}' does not predict its error.",
                "Choose a model that does (microscopy-x2 or microscopy-x4), or several 'Samples' "
                "under 'Compute', to see how far they differ.",
            )
        plan = replace(plan, uncertainty=True)
    begin = origin.start or (0,) * len(look.start)
    region = look.fine(after=[a * f for a, f in zip(begin, look.factors, strict=True)])
    spread = yield from _computed(origin.source, plan, region, meter, "spread")
    if look.layer.rgb:
        spread = spread.max(axis=-1)
    kwargs = {
        **layer_kwargs(look.layer, 1, axes=look.image.axes, start=look.start),
        **_map_look(f"{look.layer.name}, uncertainty", "magma", _limit(spread), signed=False),
    }
    words = (
        "Uncertainty in grey levels: nine in ten errors are smaller, on images like those that the "
        "model was trained on. It knows nothing of others."
    )
    if plan.samples > 1:
        words = (
            f"Uncertainty in grey levels: the {plan.spread}, a standard deviation over "
            f"{plan.samples} results. Where they agree the model is sure, which is not to be right."
        )
    return Checked(
        ImageLayer(spread, **kwargs),
        words,
        look.layer,
        "uncertainty",
    )


def add_map(viewer: Any, found: Checked) -> None:
    """Add a map to the viewer, in place of an earlier one of its kind; the selection stays."""
    shown = _maps.setdefault(found.result, {})
    earlier = shown.get(found.kind, lambda: None)()
    selected = set(viewer.layers.selection) - {earlier}
    if earlier in viewer.layers:
        viewer.layers.remove(earlier)
    viewer.add_layer(found.layer)
    # The user is at work on the result, and goes on there.
    viewer.layers.selection = selected
    shown[found.kind] = weakref.ref(found.layer)


def consistency_layer(viewer: Any, layer: Any = None) -> Any:
    """Return the residual map of a result, for what is on the screen.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image, optional
        A result; None for the selected one, or the topmost on the screen.

    Returns
    -------
    napari.layers.Image
        For ``viewer.add_layer``: the result, averaged over the area of each source pixel, less the
        source, in grey levels. The name holds the root mean square, as a share of the range.

    Raises
    ------
    InputError
        If there is no result on the screen, or its source is not known.
    """
    return _run(consistency_steps(look_at(viewer, layer), Meter())).layer


def resolution(viewer: Any, layer: Any = None) -> Measures:
    """Return figures about a result and its source, for what is on the screen.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image, optional
        A result; None for the selected one, or the topmost on the screen.

    Returns
    -------
    Measures
        As of `measure`; ``.channels[0].resolution`` holds the Fourier ring estimates.
    """
    return _measured(*_run(_pair(look_at(viewer, layer), Meter())))


def uncertainty_layer(viewer: Any, layer: Any = None) -> Any:
    """Return where the model expects errors, for what is on the screen.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image, optional
        A result; None for the selected one, or the topmost on the screen.

    Returns
    -------
    napari.layers.Image
        For ``viewer.add_layer``: half the width of the interval that holds 90 % of the errors, in
        grey levels.

    Raises
    ------
    InputError
        If the model does not predict its error.
    """
    return _run(uncertainty_steps(look_at(viewer, layer), Meter())).layer


def describe_resolution(measures: Measures, result: Image) -> str:
    """Return the Fourier ring estimates in a sentence.

    Parameters
    ----------
    measures : Measures
        Of a result and its source.
    result : Image
        Whose pixel size says what the estimate can see: an image that is split into halves shows
        periods of four of its pixels and more.
    """
    found = measures.channels[0].resolution
    at = result.axes.index("x")
    pixel = result.pixel_size[at] if measures.unit == result.units[at] else 1.0
    unit = short_unit(measures.unit)
    source, finer = (
        _length(period, unit, 4 * size)
        for period, size in (
            (found.of_source, pixel * measures.scale),
            (found.of_result, pixel),
        )
    )
    return (
        f"Finest resolved period on the screen, by Fourier rings: source {source}, result {finer}. "
        "For the result it says how fine its texture is, not how true."
    )


def _pair(look: Look, meter: Meter) -> Generator[object, None, tuple[Image, Image]]:
    """Compute the part of the result and read the source under it; nothing lazy is left."""
    meter.step = "reading the source"
    yield None
    origin = origin_of(look.layer) or _from_file(look)
    source = origin.source.cropped(look.coarse(origin))
    below = source.data.compute(scheduler=get_sync, callbacks=[])
    finest = look.layer.data[0] if look.layer.multiscale else None
    if isinstance(finest, ProgressiveLevel):
        assert origin.plan is not None
        pixels = yield from _computed(origin.source, origin.plan, look.fine(), meter, "result")
    else:
        pixels = look.image.data[look.fine()].compute(scheduler=get_sync, callbacks=[])
    return (
        replace(look.image.cropped(look.fine()), data=da.from_array(pixels), plan=None),
        replace(source, data=da.from_array(below)),
    )


def _from_file(look: Look) -> Origin:
    from napari_superres.trust.matching import match, source_of

    source = match(look.image, source_of(look.image), None).source
    if source is None:
        raise InputError(
            f"The source of '{look.layer.name}' is not in the viewer, and not where its history "
            "says.",
            "Make the result again from its source, which then need not be searched for.",
        )
    return Origin(source)


def _computed(
    image: Image,
    plan: Plan,
    region: tuple[slice, ...],
    meter: Meter,
    part: Literal["result", "spread"],
) -> Generator[object, None, np.ndarray]:
    """Compute part of a result, given and returned with the axes of `image`."""
    pixels, tiling = image.transposed(plan.axes).data, for_viewing(plan)
    array = UpscaledArray(pixels, tiling, part, image.called)
    canonical = tuple(region[image.axes.index(a)] for a in plan.axes)
    pixels = yield from filled(array, canonical, meter)
    return pixels.transpose([plan.axes.index(a) for a in image.axes])


def _measured(result: Image, source: Image) -> Measures:
    from napari_superres.trust.measure import measure

    return measure(result, source)


def _plane(image: Image) -> np.ndarray:
    """Return the one plane of an image, (y, x) or (y, x, samples)."""
    lead = "".join(a for a in image.axes if a not in "yxs")
    samples = "s" if "s" in image.axes else ""
    return np.asarray(image.transposed(f"{lead}yx{samples}").data)[(0,) * len(lead)]


def _samples(result: np.ndarray, source: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    if result.ndim == 2:
        return [(result, source)]
    return [(result[..., i], source[..., i]) for i in range(min(3, source.shape[-1]))]


def _with_lead(plane: np.ndarray, look: Look) -> np.ndarray:
    """Return a plane with an axis of length one for each of the layer's others."""
    axes = look.image.axes.replace("s", "")
    plane = plane if axes.index("y") < axes.index("x") else plane.T
    shape = [plane.shape["yx".index(a)] if a in "yx" else 1 for a in axes]
    return plane.reshape(shape)


def _map_look(name: str, colormap: str, limit: float, *, signed: bool) -> dict[str, Any]:
    return {
        "name": name,
        "colormap": colormap,
        "contrast_limits": (-limit if signed else 0.0, limit),
        "gamma": 1.0,
        "opacity": 1.0,
        "blending": "translucent_no_depth",
        "rgb": False,
        "metadata": {PREVIEW: True},
    }


def _limit(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return (float(np.percentile(np.abs(finite), _SHOWN)) if finite.size else 0.0) or 1.0


def _length(period: float, unit: str, finest: float) -> str:
    if np.isnan(period):
        return "not measurable (too few pixels)"
    if np.isinf(period):
        return "none"
    return f"{period:.3g} {unit}" + (" or finer" if period <= 1.001 * finest else "")


def _run(steps: Generator[object, None, Any]) -> Any:
    """Do all steps now, and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
