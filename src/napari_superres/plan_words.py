"""A plan in words, as ``superres plan`` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_superres.models.catalog import MODELS
from napari_superres.resources import human_bytes

if TYPE_CHECKING:
    from napari_superres.plan import Plan


def plan_words(plan: Plan) -> str:
    """Return all decisions of a plan for people to read, one a line."""
    source = " x ".join(map(str, plan.shape))
    result = " x ".join(map(str, plan.output_shape))
    compute = plan.compute
    lines = [
        ("model", f"{plan.spec.name} ({plan.spec.title})"),
        ("trained on", plan.spec.domain),
        ("proven with", plan.spec.proven),
        ("source", f"{plan.axes}  {source}  {plan.source_dtype}"),
        ("result", f"{plan.axes}  {result}  {plan.dtype}  {human_bytes(plan.output_bytes)}"),
        *_tile_lines(plan),
        ("limits", _limits_words(plan)),
        ("light", f"consistency '{plan.consistency}'"),
        (
            "engine",
            f"{compute.engine} {compute.version} on {compute.device}, {compute.precision}, "
            f"batch {compute.batch}",
        ),
        (
            "memory",
            f"about {human_bytes(plan.task_bytes)} a task beside the model" + _weights_words(plan),
        ),
        ("work", f"{plan.flop / 1e15:.3g} PFLOP"),
        ("licence", plan.spec.licence_words),
        ("cite", plan.spec.citation),
    ]
    after = next(i for i, (key, _) in enumerate(lines) if key == "light") + 1
    if any(d is not None for d in plan.denoise):
        lines.insert(after, ("denoise", _denoise_words(plan)))
    if plan.options:
        lines.insert(after, ("options", ", ".join(f"{k}={v}" for k, v in plan.options)))
    if plan.spread:
        lines.insert(after, ("spread", _spread_words(plan)))
    return "\n".join(f"{key:<12}{value}" for key, value in lines)


def _tile_lines(plan: Plan) -> list[tuple[str, str]]:
    y, x = plan.tile
    seam = f"feather {plan.feather}" if plan.feather else "hard seams"
    cost = f"{plan.overhead:.2f} pixels computed for each kept"
    if plan.spec.unit == "tile":
        size = f"{plan.tiles} of {y} x {x} pixels, halo {plan.halo}, {seam}; {cost}"
        return [("tiles", size), ("halo", _halo_words(plan))]
    if plan.tiles == plan.planes:
        return [("planes", f"{plan.planes}, each restored at once")]
    overlap = plan.feather + 2 * plan.context
    return [
        (
            "planes",
            f"{plan.planes}, each in {plan.tiles // plan.planes} parts of up to {y} x {x} "
            f"pixels, which share {overlap}; {cost}",
        )
    ]


def _weights_words(plan: Plan) -> str:
    if plan.weights_bytes < 2**30:
        return ""
    return f", whose numbers take {human_bytes(plan.weights_bytes)}"


def _spread_words(plan: Plan) -> str:
    if plan.spread == "predicted error":
        return f"the error that the model predicts of itplan; {plan.passes:.3g} passes in all"
    kind = "draws" if plan.spec.random else "flips and rotations"
    return (
        f"{plan.spread}: standard deviation over {plan.samples} {kind}, of which the result "
        "is the mean"
    )


def _halo_words(plan: Plan) -> str:
    if plan.halo >= plan.spec.radius:
        return f"{plan.halo} covers the receptive radius: tiled equals untiled"
    if plan.halo >= plan.spec.halo:
        seams = (
            "seams below 1/255 were measured with the official weights"
            if plan.spec.name in MODELS
            else "what lies beyond rarely matters, but seams were not measured"
        )
        return f"{plan.halo} of a receptive radius of {plan.spec.radius}: {seams}"
    return (
        f"{plan.halo} is less than the {plan.spec.halo} that this model needs: "
        "expect visible seams between tiles"
    )


def _denoise_words(plan: Plan) -> str:
    strengths = ", ".join(f"{d:.2g}" for d in plan.denoise if d is not None)
    if not plan.spec.noise_input:
        return strengths
    noise = ", ".join(f"{std:.3g}" for std in plan.noise)
    words = f"{strengths} (removes noise of standard deviation {noise}"
    if any(plan.noise_lines):
        words += ", more where it is brighter"
    if any(map(plan.removes_part, range(len(plan.denoise)))):
        words += "; the rest may be the specimen's own grain, and 'denoise' of 1 removes it too"
    return f"{words})"


def _limits_words(plan: Plan) -> str:
    if plan.limits is None:
        return "none: the model commutes with gain and offset"
    return ", ".join(f"{low:g} to {high:g}" for low, high in plan.limits)
