"""Make an image finer: `upscale`, which everything else calls."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import dask.array as da
import numpy as np

from napari_superres.arrays import as_image, like
from napari_superres.errors import SettingError
from napari_superres.models.camera_noise import Noise
from napari_superres.models.engine import choose_compute
from napari_superres.models.weights import find_model
from napari_superres.planning import canonical_axes, make_plan, needs_survey
from napari_superres.provenance import history_record
from napari_superres.selection import select
from napari_superres.surveying import Survey, survey
from napari_superres.upscaled_array import UpscaledArray

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from napari_superres.image import Image
    from napari_superres.models.catalog import Consistency
    from napari_superres.plan import Plan


def upscale(
    x: Any,
    model: str | os.PathLike[str] | None = None,
    *,
    scale: int | None = None,
    axes: str | None = None,
    rgb: bool = False,
    channels: Sequence[int | str] | None = None,
    planes: Mapping[str, Any] | None = None,
    region: tuple[slice, slice] | None = None,
    limits: Any = None,
    denoise: float | str | None = None,
    consistency: Consistency | None = None,
    dtype: Any = None,
    tile: int | tuple[int, int] | None = None,
    halo: int | None = None,
    feather: int | None = None,
    seed: int = 0,
    samples: int = 1,
    uncertainty: bool = False,
    device: str = "auto",
    precision: str = "auto",
    batch: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Return an image that is `scale` times finer along y and x.

    Lazy for an `Image`, a dask array and a Zarr array: no model is loaded and no pixel computed
    before somebody asks for a region. A numpy or xarray array is computed at once.

    Parameters
    ----------
    x : Image, numpy.ndarray, dask.array.Array, xarray.DataArray or zarr.Array
        The source.
    model : str or path, optional
        A name of the model table or a file of weights. None for the embedded model of that scale.
    scale : int, optional
        Scale factor; None for the model's own (2 for models that make any). Below the model's own
        the result is averaged down by area.
    axes : str, optional
        One lower-case letter a dimension, in the array's order. Needed above two dimensions, for
        arrays that do not name their axes.
    rgb : bool
        True when axis ``c``, last, holds the samples of one colour picture.
    channels : sequence of int or str, optional
        Indices or names of the channels to return.
    planes : mapping of str to int, slice or sequence of int, optional
        Planes to return, by axis: ``{"z": slice(0, 10), "t": 3}``.
    region : (slice, slice), optional
        Part of each plane to return, along y and x, in source pixels.
    limits : (float, float), or a sequence of them, optional
        Intensities that become 0 and 1, for all channels or for each one. None: the 0.1 and 99.9
        percentiles of a fixed sample of the whole image, 0 and 255 for RGB pictures of 8 bits.
        Models that need none, such as the embedded ones and interpolation, do not look at them.
    denoise : float or "auto", optional
        Strength of denoising between 0 and 1, for models that have it.
    consistency : {"pixel", "local", "off"}, optional
        How the source's light is conserved; None for the model's measured default.
    dtype : dtype, optional
        Type of the result's pixels; None keeps the source's.
    tile : int or (int, int), optional
        What the model sees at once, halo included, in source pixels.
    halo, feather : int, optional
        Context around, and handover between, tiles in source pixels.
    seed : int
        For models that draw random numbers.
    samples : int
        How many results to average; above 1 their standard deviation is returned too. Models that
        draw random numbers draw others for each, and 8 samples begin with the same 4 as 4 do;
        models that draw none see as many flips and rotations of the image, all of them with 8.
    uncertainty : bool
        Whether to return the error too that a model predicts of itself: half the width of the
        interval that holds 90 % of its errors. It is computed in a second pass.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps"; "cpu/torch" names the implementation too.
    precision : str
        "auto", "float32", "float16" or "bfloat16".
    batch : int, optional
        Tiles in each call of the network; None for 1.
    options : mapping, optional
        The model's own options.

    Returns
    -------
    Same type as `x` (a dask array for a Zarr array), or (result, spread)
        The selections are applied after the plan of the whole image, so a crop of the result and
        the result of a crop with the same settings show the same pixels.

    Raises
    ------
    InputError, AxesError
        If the pixels cannot be upscaled as they are.
    SettingError
        If a setting makes no sense for the model.
    WeightsError
        If the model's weights are not on this computer.
    """
    image = as_image(x, axes, rgb=rgb)
    plan = plan_for(
        image,
        model,
        scale=scale,
        limits=limits,
        denoise=denoise,
        consistency=consistency,
        dtype=dtype,
        tile=tile,
        halo=halo,
        feather=feather,
        seed=seed,
        samples=samples,
        uncertainty=uncertainty,
        device=device,
        precision=precision,
        batch=batch,
        options=options,
    )
    result = like(x, image, select(planned(image, plan), channels, planes, region))
    if not plan.spread:
        return result
    return result, like(x, image, select(spread(image, plan), channels, planes, region))


def plan_for(
    image: Image,
    model: str | os.PathLike[str] | None = None,
    *,
    scale: int | None = None,
    limits: Any = None,
    denoise: float | str | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch: int | None = None,
    facts: Survey | None = None,
    **wishes: Any,
) -> Plan:
    """Return the plan of `upscale` for an image, after looking at the pixels if it has to.

    Parameters
    ----------
    image : Image
        The whole source.
    model, scale, limits, denoise, device, precision, batch, **wishes
        As for `upscale`.
    facts : Survey, optional
        What is known of the pixels; None to look.

    Returns
    -------
    Plan
    """
    spec = find_model(model, scale)
    wishes = {**wishes, "scale": scale, "compute": choose_compute(spec, device, precision, batch)}
    if facts is None and needs_survey(image, spec, limits, denoise):
        # Refuse what cannot work before a pixel is read.
        channels = image.size("c", 1)
        blank = Survey(((0.0, 1.0),) * channels, (Noise(0.0, 1.0, 1.0, 1.0),) * channels, 0, 0)
        make_plan(image, spec, blank, limits=limits, denoise=denoise, **wishes)
        facts = survey(image)
    return make_plan(image, spec, facts, limits=limits, denoise=denoise, **wishes)


def planned(image: Image, plan: Plan) -> Image:
    """Return the lazy result of a plan.

    Parameters
    ----------
    image : Image
        The source that the plan was made for.
    plan : Plan

    Returns
    -------
    Image
        With the axes of `image`, its history continued.
    """
    data = _lazy(image, plan)
    finer = image.transposed(plan.axes).rescaled(
        plan.scale,
        data,
        name=f"{image.name} [x{plan.scale} {plan.spec.name}]",
        history=(*image.history, history_record(image, plan)),
        plan=plan,
    )
    return finer.transposed(image.axes)


def spread(image: Image, plan: Plan) -> Image:
    """Return what `Plan.spread` says: how far samples differ, or the error that a model predicts.

    Parameters
    ----------
    image : Image
        The source that the plan was made for.
    plan : Plan
        With several samples, or with `uncertainty`.

    Returns
    -------
    Image
        In float32 and the source's units, with the axes of `image`.
    """
    result = planned(image, plan)
    data = _lazy(image, plan, part="spread")
    order = [plan.axes.index(a) for a in image.axes]
    return replace(
        result,
        data=data.transpose(order),
        name=f"{result.name} {plan.spread}",
        history=(*result.history[:-1], {**result.history[-1], "spread": plan.spread}),
    )


def _lazy(image: Image, plan: Plan, part: Literal["result", "spread"] = "result") -> da.Array:
    canonical = image.transposed(canonical_axes(image.axes))
    if canonical.shape != plan.shape or canonical.axes != plan.axes:
        raise SettingError(
            f"The plan is for {plan.axes} {plan.shape}, not {canonical.axes} {canonical.shape}.",
            "Make a plan for this image.",
        )
    array = UpscaledArray(canonical.data, plan, part, image.called)
    chunks = tuple(
        plan.block["yx".index(axis)] if axis in "yx" else (n if axis == "s" else 1)
        for axis, n in zip(plan.axes, plan.output_shape, strict=True)
    )
    return da.from_array(
        array,
        chunks=chunks,
        name=f"superres-{da.core.tokenize(array)}",
        # Inlined, dask looks at the blocks that are asked for, and not at each one there is.
        inline_array=True,
        # Without it dask asks for an empty region, which would load the model.
        meta=np.empty((0,) * array.ndim, array.dtype),
    )
