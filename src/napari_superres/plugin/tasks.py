"""What *Run* has to do, as tasks for the queue: one a layer, or one for all channels of a file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari_superres.errors import InputError
from napari_superres.plugin import steps
from napari_superres.plugin.files import ask_for_folder, ask_for_path, beside
from napari_superres.plugin.layer_tuples import joined
from napari_superres.plugin.notify import tell_turned
from napari_superres.plugin.work import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget

    from napari_superres.image import Image
    from napari_superres.plugin.results import Results
    from napari_superres.plugin.settings_form import SettingsForm

    Inputs = Sequence[tuple[Any, Image]]

ON_DEMAND, MEMORY, FILE = "on demand", "memory", "file"

OUTPUTS = (
    ("On demand", ON_DEMAND, "A layer that is computed where you look."),
    ("Into memory", MEMORY, "All pixels now, as an array in memory."),
    ("OME-Zarr file", FILE, "All pixels now, into a file, which is then shown."),
)


def run_tasks(
    output: str, inputs: Inputs, form: SettingsForm, results: Results, parent: QWidget
) -> list[Task]:
    """Return what makes the whole of some layers finer.

    Parameters
    ----------
    output : {"on demand", "memory", "file"}
    inputs : sequence of (layer, Image)
    form : SettingsForm
        Whose settings are taken now.
    results : Results
        Shows what comes.
    parent : QWidget
        Over which a file is asked for.

    Raises
    ------
    InputError
        If a file is needed and none is chosen.
    SettingError
        If a setting has no meaning.
    """
    if output == FILE:
        return _to_files(inputs, form, results, parent)
    tasks = []
    for layer, image in inputs:
        settings = form.settings(layer)
        if output == ON_DEMAND:
            work: Any = partial(steps.prepare, image, settings)
            show: Any = results.on_demand(layer, image)
        else:
            work = partial(steps.into_memory, image, settings, form.compute.budget)
            show = results.in_memory(layer, image)
        tasks.append(Task(work, show, layer.name))
    return tasks


def _to_files(inputs: Inputs, form: SettingsForm, results: Results, parent: QWidget) -> list[Task]:
    """Write one file of what are channels of one image, else a file for each layer."""
    layers, images = [layer for layer, _ in inputs], [image for _, image in inputs]
    budget, scale = form.compute.budget, int(form.scale.currentData())
    settings = [form.settings(layer) for layer in layers]
    tell_turned(layers)
    try:
        image = joined(images)
    except InputError:
        folder = ask_for_folder(parent, images[0])
        return [
            Task(
                partial(steps.to_file, [one], [wishes], beside(folder, one, scale), budget),
                results.from_file([layer], [one]),
                layer.name,
            )
            for layer, one, wishes in zip(layers, images, settings, strict=True)
        ]
    path = ask_for_path(parent, image, scale)
    work = partial(steps.to_file, images, settings, path, budget)
    return [Task(work, results.from_file(layers, images))]
