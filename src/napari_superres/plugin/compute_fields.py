"""Fields for where and how to compute."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
from qtpy.QtCore import QProcess, Signal

from napari_superres.plugin.cell_cache import keep_at_most
from napari_superres.plugin.preferences import Preferences
from napari_superres.plugin.rows import AUTOMATIC, Section, combo, number, show_row
from napari_superres.symmetry import SYMMETRIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_superres.models.catalog import ModelSpec

_DEVICES = (
    (AUTOMATIC, "auto", "The first GPU that PyTorch can use, else the CPU."),
    ("CPU", "cpu", "One core is left to the viewer."),
)
_PRECISIONS = (
    (AUTOMATIC, "auto", "float32."),
    ("float32", "float32", "Exact to about 7 digits."),
    ("float16", "float16", "About twice as fast on a GPU, and half the memory; 3 digits."),
    ("bfloat16", "bfloat16", "As float16, with a wider range and 2 digits."),
)
_TILES = (64, 128, 256, 512, 1024)
_MOST_SAMPLES = 64
_ASK_GPUS = ["--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]


class ComputeFields(Section):
    """Device, precision, tiles, seed, samples, memory; remembered where a habit."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Compute")
        self._preferences = Preferences()
        self.device = combo("Device", "Where the model runs.", _DEVICES)
        self.precision = combo("Precision", "Arithmetic inside the network.", _PRECISIONS)
        self.tile = combo(
            "Tile",
            "What the model sees at once along y and x, in source pixels. Smaller needs less "
            "memory and computes more of the image twice.",
            [
                (AUTOMATIC, 0, "What suits the model."),
                *((f"{n} x {n}", n, f"{n} x {n} source pixels") for n in _TILES),
            ],
        )
        self.halo = number(
            "Halo", "Context around a tile, in source pixels; too little shows seams.", -1, 4096
        )
        self.feather = number(
            "Feather", "Handover between neighbouring tiles, in source pixels.", -1, 4096
        )
        self.batch = number("Batch", "Tiles in each call of the network.", 0, 1024)
        self.seed = number("Seed", "The same seed gives the same result.", 0, 2**31 - 1)
        self.samples = number("Samples", "", 1, _MOST_SAMPLES)
        self.memory = number(
            "Memory budget",
            "Gigabytes of main memory that a run may plan for; Automatic goes by what is free.",
            0,
            4096,
            decimals=1,
        )
        self.kept = number(
            "Kept tiles",
            "Gigabytes of finer tiles that all on-demand layers keep together.",
            0.1,
            4096,
            decimals=1,
        )
        for box in (self.memory, self.kept):
            box.setSuffix(" GB")
        for box in (self.halo, self.feather, self.batch, self.memory):
            box.setSpecialValueText(AUTOMATIC)
            box.setValue(box.minimum())
        for label, field in (
            ("Device", self.device),
            ("Precision", self.precision),
            ("Tile", self.tile),
            ("Halo", self.halo),
            ("Feather", self.feather),
            ("Batch", self.batch),
            ("Seed", self.seed),
            ("Samples", self.samples),
            ("Memory", self.memory),
            ("Kept tiles", self.kept),
        ):
            self.form.addRow(label, field)
        self._counts = {
            "halo": self.halo,
            "feather": self.feather,
            "batch": self.batch,
            "samples": self.samples,
        }
        self._averages = False
        self._asked: QProcess | None = None
        # Whether PyTorch can use them is known once it is imported, which takes seconds.
        if shutil.which("nvidia-smi"):
            self.device.addItem("GPU (CUDA)", "cuda")
        if sys.platform == "darwin":
            self.device.addItem("GPU (Metal)", "mps")
        self._recall()
        self.heading.toggled.connect(self._list_gpus)
        for key, box in (
            ("device", self.device),
            ("precision", self.precision),
            ("tile", self.tile),
        ):
            box.currentIndexChanged.connect(partial(self._remember, key, box.currentData))
            box.currentIndexChanged.connect(self._changed)
        for key, field in (("memory_gb", self.memory), ("kept_gb", self.kept)):
            field.valueChanged.connect(partial(self._remember, key, field.value))
        # Not at each digit: 1 on the way to 10 would drop what is kept.
        self.kept.setKeyboardTracking(False)
        self.kept.valueChanged.connect(self._keep)
        for field in (*self._counts.values(), self.seed, self.memory, self.kept):
            field.valueChanged.connect(self._changed)
        self._summarise()

    @property
    def budget(self) -> int | None:
        """Bytes of memory that a run may plan for; None for what is free."""
        return round(self.memory.value() * 1e9) or None

    def show_model(self, spec: ModelSpec | None) -> None:
        """Show the seed where a model draws random numbers, and samples where they differ."""
        random = spec is not None and spec.random
        show_row(self.form, self.seed, visible=random)
        self._averages = spec is not None and spec.proven != "exact"
        self.samples.setMaximum(_MOST_SAMPLES if random else len(SYMMETRIES))
        kind = "drawn with other random numbers" if random else "of flips and rotations"
        self.samples.setToolTip(
            f"Results {kind} that are averaged; each takes as long as one. Then 'Uncertainty' "
            "shows how far they differ."
        )
        show_row(self.form, self.samples, visible=self._averages)
        self._summarise()

    @property
    def _samples(self) -> int:
        return int(self.samples.value()) if self._averages else 1

    def settings(self) -> dict[str, Any]:
        """Return keywords for `upscale`; what is left to the model or the machine is left out."""
        wishes: dict[str, Any] = {
            "device": None if self.device.currentData() == "auto" else self.device.currentData(),
            "precision": self.precision.currentData(),
            "tile": self.tile.currentData() or None,
            "halo": self.halo.value() if self.halo.value() >= 0 else None,
            "feather": self.feather.value() if self.feather.value() >= 0 else None,
            "batch": self.batch.value() or None,
            "seed": self.seed.value() or None,
            "samples": self._samples if self._samples > 1 else None,
        }
        return {k: v for k, v in wishes.items() if v is not None and v != "auto"}

    def _remember(self, key: str, now: Callable[[], Any], *args: object) -> None:
        """Store one field and no other: another panel may have stored what ours does not show."""
        value = now()
        value = round(value, 1) if isinstance(value, float) else value
        if self._preferences.get("compute", key) != value:
            self._preferences.put("compute", key, value)

    def _keep(self, gigabytes: float) -> None:
        keep_at_most(round(1e9 * gigabytes))

    def _changed(self, *args: object) -> None:
        self._summarise()
        self.changed.emit()

    def _recall(self) -> None:
        for key, box in (
            ("device", self.device),
            ("precision", self.precision),
            ("tile", self.tile),
        ):
            wanted = self._preferences.get("compute", key)
            if str(wanted).startswith("cuda:") and shutil.which("nvidia-smi"):
                self._offer_gpu(wanted.partition(":")[2])
            # A device that is not here any more leaves the choice to the machine.
            box.setCurrentIndex(max(0, box.findData(wanted)))
        self.memory.setValue(self._preferences.get("compute", "memory_gb"))
        self.kept.setValue(self._preferences.get("compute", "kept_gb"))

    def _summarise(self) -> None:
        words = [
            box.currentText()
            for box in (self.device, self.precision)
            if box.currentData() not in ("auto", None)
        ]
        if self.tile.currentData():
            words.append(f"tile {self.tile.currentData()}")
        for label, box in self._counts.items():
            if box.value() > box.minimum() and (box is not self.samples or self._averages):
                words.append(f"{label} {box.value()}")
        if self.seed.value():
            words.append(f"seed {self.seed.value()}")
        if self.budget:
            words.append(self.memory.text())
        self.summarise(", ".join(words))
        self.memory.setToolTip(
            "Gigabytes of main memory that a run may plan for; Automatic goes by what is free "
            f"(now {psutil.virtual_memory().available / 1e9:.0f} GB)."
        )

    def _list_gpus(self, open_: bool) -> None:
        """Ask the driver for the names of the GPUs, once, without waiting for its answer."""
        program = shutil.which("nvidia-smi")
        if not open_ or self._asked is not None or program is None:
            return
        self._asked = process = QProcess(self)
        process.finished.connect(self._gpus_listed)
        process.start(program, _ASK_GPUS)

    def _gpus_listed(self) -> None:
        assert self._asked is not None
        answer = bytes(self._asked.readAllStandardOutput()).decode("utf-8", "replace")
        for line in answer.splitlines():
            index, name, memory = ([part.strip() for part in line.split(",")] + ["", ""])[:3]
            if index.isdigit() and memory.isdigit():
                self._offer_gpu(index, f": {name} ({int(memory) / 1024:.0f} GB)")

    def _offer_gpu(self, index: str, about: str = "") -> None:
        at = self.device.findData(f"cuda:{index}")
        if at < 0:
            at = self.device.count()
            self.device.addItem("", f"cuda:{index}")
        self.device.setItemText(at, f"GPU {index}{about}")
