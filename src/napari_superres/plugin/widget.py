"""The dock widget: choose, preview what is on the screen, run, compare, keep."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QLineEdit, QPushButton, QWidget

from napari_superres.errors import InputError, SuperresError
from napari_superres.plugin import keep_row, steps
from napari_superres.plugin.compare_row import CompareRow
from napari_superres.plugin.facts import describe, foresee, how_to_begin, outlook, speed_key
from napari_superres.plugin.keep_row import KeepRow
from napari_superres.plugin.layer_axes import known_axes, name_axes, named_with
from napari_superres.plugin.layer_choice import LayerChoice
from napari_superres.plugin.layers import layer_to_image
from napari_superres.plugin.notify import say, tell_turned
from napari_superres.plugin.panel_layout import fit, lay_out
from napari_superres.plugin.preferences import Preferences
from napari_superres.plugin.progress_row import ProgressRow
from napari_superres.plugin.results import Results
from napari_superres.plugin.rows import combo, embolden, note, show_row, unbroken
from napari_superres.plugin.settings_form import SettingsForm
from napari_superres.plugin.shortcuts import bind
from napari_superres.plugin.tasks import MEMORY, ON_DEMAND, OUTPUTS, run_tasks
from napari_superres.plugin.trust_row import TrustRow
from napari_superres.plugin.view import visible_part
from napari_superres.plugin.work import Queue, Task
from napari_superres.provenance import history_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_superres.image import Image
    from napari_superres.models.catalog import ModelSpec
    from napari_superres.plan import Plan
    from napari_superres.plugin.models_dialog import ModelsDialog
    from napari_superres.plugin.work import Work

WIDTH = 300
"""Pixels that the panel takes at least; more where the font is large."""

FOOTER = "Detail is estimated by a model, not measured. Do not quantify on it without validation."
_AXES = "One letter an axis, in order: t time, c channel, z depth, y, x. Enter names them."


class SuperresWidget(QWidget):
    """The panel *Super-resolution*. It edits the settings of a plan and shows what comes of it.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Handed in by napari.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self._preferences = Preferences()
        self._rates: dict[tuple[Any, ...], float] = {}
        self.results = Results(napari_viewer)
        self.layers = LayerChoice(napari_viewer)
        self.input = note("About the input")
        self.axes = QLineEdit()
        self.axes.setAccessibleName("Axes of the layer")
        self.axes.setToolTip(_AXES)
        self.axes.setPlaceholderText("for example zyx")
        self.form = SettingsForm()
        self.output = combo("Output", "Where the result goes.", OUTPUTS)
        self.output.setCurrentIndex(
            max(0, self.output.findData(self._preferences.get("panel", "output")))
        )
        self.result = note("About the result")
        self.preview_button = QPushButton("Preview view")
        self.run_button = QPushButton("Run")
        self.progress = ProgressRow()
        self.compare = CompareRow(napari_viewer, self._pairs)
        self.trust = TrustRow(napari_viewer)
        self.keep = KeepRow()
        self._queue = Queue(self.progress.watch)
        self._dialog: ModelsDialog | None = None
        # After the form has laid itself out: before, it remembers the sizes of old texts.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(lambda: fit(self, WIDTH))
        lay_out(self, FOOTER)
        self._connect()
        self.shortcuts = bind(self)
        self._layer_changed()

    def preview(self) -> Work | None:
        """Make finer what is on the screen, and show it over its source.

        Returns
        -------
        Work or None
            What computes it; None if it cannot start, and the panel says why.
        """
        return self._guarded(self._preview)

    def run(self) -> Work | None:
        """Make the whole of the ticked layers finer, into the chosen output.

        Returns
        -------
        Work or None
            What computes it; None if it cannot start, and the panel says why.
        """
        return self._guarded(self._run)

    def export(self, path: str = "") -> Work | None:
        """Write the selected result, or the last one, to a file.

        Parameters
        ----------
        path : str
            Asked for if empty. A PNG holds the plane on the screen.

        Returns
        -------
        Work or None
            What writes it; None if it cannot start, and the panel says why.
        """
        return self._guarded(lambda: self._export(path))

    def copy(self, kind: str) -> Work | None:
        """Copy how the selected result, or else the result of the present settings, is made.

        Parameters
        ----------
        kind : {"python", "command", "methods"}

        Returns
        -------
        Work or None
            What finds the numbers out; None if they were known, or it cannot start.
        """
        return self._guarded(lambda: self._copy(kind))

    def download(self) -> Work | None:
        """Download the weights of the chosen model.

        Returns
        -------
        Work or None
            What downloads them; None if there is no such model.
        """
        spec = self.form.spec
        if spec is None:
            return None
        return self._start([Task(partial(steps.fetch, spec), self._downloaded)])

    def cancel(self) -> None:
        """Stop what runs, within a tile, and forget what was to come after it."""
        self.progress.stop()

    def manage_models(self) -> ModelsDialog:
        """Open the model manager."""
        from napari_superres.plugin.models_dialog import ModelsDialog

        if self._dialog is None:
            self._dialog = ModelsDialog(self)
            self._dialog.changed.connect(self.form.models.look_again)
        self._dialog.fill()
        self._dialog.choose(str(self.form.model.currentData()))
        self._dialog.show()
        self._dialog.raise_()
        return self._dialog

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802, Qt's name
        """Make room when the form inside needs more, as with large fonts."""
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize):
            self._soon.start()
        return bool(super().eventFilter(watched, event))

    def changeEvent(self, event: Any) -> None:  # noqa: N802, Qt's name
        """Stop what runs when the panel is taken out of the viewer: it could not be stopped then.

        Closing a dock of napari's does not close the widget inside, it lets it fall.
        """
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.cancel()
            self.compare.end()
        super().changeEvent(event)

    def _connect(self) -> None:
        self.layers.chosen.connect(self._layer_changed)
        self.layers.edited.connect(self._layer_changed)
        self.axes.editingFinished.connect(self._axes_edited)
        self.form.changed.connect(self._update)
        self.form.models.model_changed.connect(self.progress.forget)
        self.form.models.manage.clicked.connect(self.manage_models)
        self.form.models.accept.clicked.connect(self._accept_licence)
        self.form.download.clicked.connect(self.download)
        self.output.currentIndexChanged.connect(self._output_changed)
        self.preview_button.clicked.connect(self.preview)
        self.run_button.clicked.connect(self.run)
        self.trust.starting.connect(self.compare.end)
        self.keep.export.clicked.connect(lambda: self.export())
        self.keep.copy_wanted.connect(self.copy)
        self.progress.cancelled.connect(self._queue.cancel)
        self._queue.succeeded.connect(self._succeeded)
        self._queue.changed.connect(self._update)
        self.destroyed.connect(self._queue.cancel)

    def _preview(self) -> Work | None:
        tasks, cut, together = [], False, list[Any]()
        for layer, image in self._inputs():
            part = visible_part(self.viewer, layer, image.axes)
            cut = cut or not part.whole
            settings = self.form.settings(layer)
            show = self.results.preview(layer, image, part, together)
            tasks.append(
                Task(
                    partial(steps.preview, image, settings, part),
                    partial(self._show_preview, show, settings),
                    layer.name,
                )
            )
        if cut:
            self.progress.tell("Previewing the middle of the view; zoom in to see all of it finer.")
        return self._start(tasks)

    def _show_preview(self, show: Callable[[Any], str], settings: dict[str, Any], got: Any) -> str:
        self.compare.end()
        sentence = show(got)
        plan = got.image.plan
        if got.seconds is not None:
            self._rates[speed_key(settings)] = got.seconds / math.prod(plan.shape)
        self.form.intensity.show_found(plan)
        if not self._queue.waiting and self.results.previews(self.layers.layers):
            self.compare.begin()
        return sentence

    def _run(self) -> Work | None:
        self.compare.end()
        inputs = self._inputs()
        tasks = run_tasks(self.output.currentData(), inputs, self.form, self.results, self)
        layers = [layer for layer, _ in inputs]
        show = partial(self._show_result, layers, self.results.last(layers))
        return self._start([task._replace(show=partial(show, task.show)) for task in tasks])

    def _show_result(
        self, layers: list[Any], before: list[Any], show: Callable[[Any], str], got: Any
    ) -> str:
        # A comparison that was begun meanwhile would show again what the result hides.
        self.compare.end()
        sentence = show(got)
        fresh = {x for x in self.results.last(layers) if x not in before}
        if fresh and not self._queue.waiting:
            # Channels that were run together are exported together.
            self.viewer.layers.selection = fresh
        return sentence

    def _export(self, path: str) -> Work | None:
        self.compare.end()  # a swipe cuts previews off
        layers = self.results.selected() or self.results.last(self.layers.layers)
        image = keep_row.image_of(layers)
        path = path or keep_row.ask_for_export(self, image)
        if path.lower().endswith(".png"):
            image = keep_row.on_screen(self.viewer, layers[0], image)
        tell_turned(layers)
        work = partial(steps.write_to, image, path, self.form.compute.budget)
        return self._start([Task(work, "Wrote '{}'.".format)])

    def _copy(self, kind: str) -> Work | None:
        made = keep_row.histories(self.results.selected())
        if made:
            self._copied(kind, made)
            return None
        tasks: list[Task] = []
        records: list[tuple[Any, ...]] = []
        for layer, image in self._inputs(usable=False):
            work = partial(steps.prepare, image, self.form.settings(layer))
            tasks.append(Task(work, partial(self._note_record, image, records, kind), layer.name))
        return self._start(tasks)

    def _note_record(
        self, image: Image, records: list[tuple[Any, ...]], kind: str, plan: Plan
    ) -> str:
        records.append((*image.history, history_record(image, plan)))
        return "" if self._queue.waiting else self._copied(kind, records)

    def _copied(self, kind: str, made: Sequence[Sequence[Any]]) -> str:
        sentence = keep_row.to_clipboard(kind, made)
        self.progress.tell(sentence)
        return sentence

    def _pairs(self) -> Sequence[Any]:
        """Return what can be compared: previews, else results beside their sources."""
        layers = self.layers.layers
        return self.results.previews(layers) or self.results.pairs(layers)

    def _downloaded(self, spec: ModelSpec) -> str:
        self.form.models.look_again()
        return f"The weights of {spec.name} are on this computer now."

    def _accept_licence(self) -> None:
        from napari_superres.plugin.models_dialog import ask_for_licence

        spec = self.form.spec
        if spec is not None and ask_for_licence(self, spec):
            self.form.models.look_again()

    def _start(self, tasks: Sequence[Task]) -> Work | None:
        if self.progress.work is not None:
            raise InputError("Something is running already.", "Wait for it, or cancel it.")
        return self._queue.start(tasks)

    def _succeeded(self, task: Task, result: Any) -> None:
        self._guarded(lambda: self.progress.tell(task.show(result)))

    def _inputs(self, *, usable: bool = True) -> list[tuple[Any, Image]]:
        layers = self.layers.layers
        if not layers:
            raise InputError("No image layer is ticked.", "Open an image, or tick one.")
        if usable:
            self.form.check()
        return [(layer, layer_to_image(layer)) for layer in layers]

    def _guarded(self, action: Callable[[], Any]) -> Any:
        """Do what may fail for a known reason; the reason is shown."""
        try:
            return action()
        except SuperresError as error:
            self.progress.tell(say(error))
            return None

    def _layer_changed(self) -> None:
        layer = self.layers.layer
        axes = known_axes(layer) if layer is not None else ""
        self.axes.setText(axes.replace("s", ""))
        self._update()

    def _axes_edited(self) -> None:
        letters = self.axes.text().strip().lower()
        spoken_of = self.layers.layer
        # Qt calls it an end of editing too when somebody has only tabbed through.
        if spoken_of is None or not letters or not self.axes.isModified():
            return
        # Channels of one file have the same axes, and are named together.
        alike = named_with(spoken_of, self.layers.layers)
        self._guarded(lambda: list(map(partial(name_axes, axes=letters), alike)))
        self._update()

    def _output_changed(self) -> None:
        self._preferences.put("panel", "output", self.output.currentData())
        self._update()

    def _update(self) -> None:
        """Say what goes in and what would come out, and allow what can be done."""
        ready = self._describe()
        idle = self.progress.work is None
        for button in (self.preview_button, self.run_button):
            button.setEnabled(ready and idle)
        for button in (self.form.download, self.keep.export, self.keep.copy):
            button.setEnabled(idle)

    def _describe(self) -> bool:
        """Write the notes about input and result; return whether a run would work."""
        layers = self.layers.layers
        show_row(self.rows, self.axes, visible=bool(layers))
        lead, other = self.preview_button, self.run_button
        if self.results.previews(layers):
            lead, other = other, lead
        embolden(lead, bold=True)
        embolden(other, bold=False)
        self.result.setText("")
        if not layers:
            self.input.setText(how_to_begin(self.viewer.layers, self.layers.count()))
            return False
        try:
            images = [layer_to_image(layer) for layer in layers]
            listing = dict.fromkeys(map(describe, images))
            self.input.setText("\n".join(map(unbroken, listing)))
        except SuperresError as error:
            self.input.setText(str(error))
            return False
        spec = self.form.spec
        if spec is None:
            return False
        try:
            wishes = [self.form.settings(layer) for layer in layers]
            plans = [outlook(i, spec, w) for i, w in zip(images, wishes, strict=True)]
            if self.output.currentData() == MEMORY:
                for plan in plans:
                    steps.check_fits(plan, self.form.compute.budget)
        except SuperresError as error:
            self.result.setText(str(error))
            return False
        on_demand = self.output.currentData() == ON_DEMAND
        rate = None if on_demand else self._rates.get(speed_key(wishes[0]))
        self.result.setText(unbroken(foresee(images, plans, rate)))
        return True
