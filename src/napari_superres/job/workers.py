"""Worker processes for a job: on this machine, one for each GPU, or through a queue.

All of it is dask.distributed, which starts processes, sees them die and gives their work to others.
A worker holds the model once; where it has a GPU, three threads share it, so that one block is read
while another one is computed and a third one encoded and written.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask

from napari_superres.errors import MissingDependencyError, SettingError
from napari_superres.job.pool import THREADS_ON_GPU
from napari_superres.resources import check_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor

    from napari_superres.plan import Plan

QUEUES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
}
"""Queues that dask-jobqueue knows; only Slurm is tested by us."""

PATIENCE = 30.0
"""Seconds in which a scheduler must answer."""

COME_BACK = "1 hour"
"""How long a worker of this machine may take to start anew."""

HERE = "127.0.0.1"

PROCESS_BYTES = 4 * 10**8
"""What a process takes for the program itself, libraries included."""

MODEL_BYTES = 2 * 10**9
"""What a worker's program and model may take beside its blocks, where a queue must be told."""


@dataclass(frozen=True)
class Workers:
    """Where a job computes.

    Parameters
    ----------
    devices : tuple of str
        One process of this machine for each, such as ``("cuda:0", "cuda:1")``. Empty for threads of
        this process.
    queue : str, optional
        A key of `QUEUES`.
    count : int
        How many workers the queue shall start.
    scheduler : str, optional
        Address of a dask scheduler that has workers already.
    """

    devices: tuple[str, ...] = ()
    queue: str | None = None
    count: int = 0
    scheduler: str | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether blocks are computed in other processes."""
        return bool(self.devices or self.queue or self.scheduler)

    @contextmanager
    def executor(self, plan: Plan) -> Iterator[Executor | None]:
        """Start the workers, and stop them at the end.

        Parameters
        ----------
        plan : Plan
            Of the job.

        Yields
        ------
        Executor or None
            For `run`; None for threads of this process.

        Raises
        ------
        SettingError
            If a scheduler does not answer or a queue is not set up.
        ResourceError
            If the workers do not fit in this machine's memory.
        MissingDependencyError
            If dask.distributed is not installed.
        """
        if not self.elsewhere:
            yield None
            return
        distributed = _distributed()
        threads = 1 if plan.compute.device == "cpu" else THREADS_ON_GPU
        with ExitStack() as stack:
            place: Any = self.scheduler
            if self.devices:
                place = stack.enter_context(_on_this_machine(plan, self.devices, threads))
            elif self.queue:
                place = stack.enter_context(_in_a_queue(plan, self.queue, self.count, threads))
            try:
                client = stack.enter_context(distributed.Client(place, timeout=PATIENCE))
            except (OSError, ValueError) as error:
                raise SettingError(
                    f"No dask scheduler answers at '{self.scheduler}' ({error}).",
                    "Start one with 'dask scheduler', and workers with 'dask worker ADDRESS'.",
                ) from error
            if self.scheduler:
                _check_versions(client)
            yield client.get_executor()


def choose_workers(
    device: str = "auto", cluster: str | None = None, scheduler: str | None = None
) -> tuple[str, Workers]:
    """Return the device to plan for, and where to compute.

    Parameters
    ----------
    device : str
        As for `upscale`, or several with commas: ``"cuda:0,cuda:1"``.
    cluster : str, optional
        ``"local:4"`` for four processes of this machine, ``"slurm:16"`` for sixteen jobs of a
        queue.
    scheduler : str, optional
        Address of a dask scheduler.

    Returns
    -------
    (str, Workers)
        With several devices, or a numbered one in several processes, the first of their kind is
        the one to plan for: they compute the same pixels.

    Raises
    ------
    SettingError
        If devices are of different kinds, or more than one place is named.
    """
    devices = tuple(name.strip() for name in device.split(","))
    if (len(devices) > 1) + (cluster is not None) + (scheduler is not None) > 1:
        raise SettingError(
            "Blocks are computed in one place: several devices, a cluster or a scheduler.",
            "Choose one of them. Workers elsewhere use the device that they have.",
        )
    if len(devices) > 1:
        return _kind(devices), Workers(devices=devices)
    if scheduler is not None:
        return device, Workers(scheduler=scheduler)
    if cluster is None:
        return device, Workers()
    queue, _, number = cluster.partition(":")
    count = int(number) if number.isdecimal() else 0
    if count < 1 or queue not in ("local", *QUEUES):
        raise SettingError(
            f"'{cluster}' is not a cluster.",
            f"Write local:4, or the name of a queue and a number: {', '.join(QUEUES)}.",
        )
    if queue == "local":
        # Each worker sees the named GPU alone, and calls it cuda:0.
        planned = _kind((device,)) if device.startswith("cuda:") else device
        return planned, Workers(devices=(device,) * count)
    return device, Workers(queue=queue, count=count)


def environment(device: str) -> dict[str, str]:
    """Return what the process of a device is started with, so that it has no other one."""
    kind, _, number = device.partition("/")[0].partition(":")
    if kind != "cuda" or not number:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name for name in visible.split(",") if name]  # ours are counted among these
    return {"CUDA_VISIBLE_DEVICES": names[int(number)] if names else number}


def _kind(devices: Sequence[str]) -> str:
    """Return what several devices have in common: ``"cuda"``, or ``"cpu/torch"``."""
    parts = [name.partition("/") for name in devices]
    kinds = {(name.partition(":")[0], slash + engine) for name, slash, engine in parts}
    kind, engine = kinds.pop()
    if kinds or kind not in ("cpu", "cuda"):
        raise SettingError(
            f"device='{','.join(devices)}' does not name several processors of one kind.",
            "Pixels would differ in their last bits. Write cuda:0,cuda:1 for two GPUs.",
        )
    return kind + engine


@contextmanager
def _on_this_machine(plan: Plan, devices: Sequence[str], threads: int) -> Iterator[Any]:
    """Start a process for each device. A process that dies is started anew."""
    distributed = _distributed()
    _check_devices(devices)
    check_memory(
        len(devices) * (plan.task_bytes * threads + plan.kept_bytes + PROCESS_BYTES),
        f"Computing in {len(devices)} processes",
        "Use fewer, or a smaller tile.",
    )
    # Memory was planned; dask's own limit would pause a worker for good.
    common = {"nthreads": threads, "memory_limit": None, "dashboard": False, "host": HERE}
    quiet = {"silence_logs": logging.WARNING}  # else dask says each step of starting and stopping
    workers = {
        number: {
            "cls": distributed.Nanny,
            "options": {**common, **quiet, "env": environment(device)},
        }
        for number, device in enumerate(devices)
    }
    # Its page is for nobody: any free port, and no warning that dask's usual one is taken.
    nowhere = {"dashboard": False, "dashboard_address": f"{HERE}:0", "host": HERE}
    scheduler = {"cls": distributed.Scheduler, "options": nowhere}
    # A worker that died comes back, and a busy disk may need longer for that than dask waits.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": COME_BACK}),
        distributed.SpecCluster(workers=workers, scheduler=scheduler, **quiet) as cluster,
    ):
        yield cluster


@contextmanager
def _in_a_queue(plan: Plan, queue: str, count: int, threads: int) -> Iterator[Any]:
    """Submit jobs to a queue, whose own settings come from dask-jobqueue's configuration."""
    kind = getattr(_imported("dask_jobqueue"), QUEUES[queue])
    command = kind.job_cls.submit_command.split()[0]
    if shutil.which(command) is None:  # its own tasks would fail one by one, for ever
        raise SettingError(
            f"There is no '{command}' on this machine, by which '{queue}' takes jobs.",
            "Start this on a node that can submit jobs.",
        )
    known = dask.config.get(f"jobqueue.{queue}", {})
    options: dict[str, Any] = {"scheduler_options": {"dashboard": False}}
    if known.get("cores") is None:
        options |= {"cores": threads, "processes": 1}
    if known.get("memory") is None:
        options["memory"] = f"{plan.task_bytes * threads + plan.kept_bytes + MODEL_BYTES}B"
    try:
        cluster = kind(**options)
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingError(
            f"The queue '{queue}' could not be used: {error}.",
            f"Describe it in the file ~/.config/dask/jobqueue.yaml, under jobqueue: {queue}.",
        ) from error
    with cluster:
        # Jobs that are preempted are submitted again.
        cluster.adapt(minimum_jobs=count, maximum_jobs=count)
        yield cluster


def _check_devices(devices: Sequence[str]) -> None:
    """Refuse GPUs that are not there, before a process is started for each."""
    wanted = {name.partition("/")[0] for name in devices if name.startswith("cuda:")}
    if wanted:
        from napari_superres.models.engine import devices as found

        missing = sorted(wanted - {name.partition(" ")[0] for name in found()})
        if missing:
            raise SettingError(
                f"{', '.join(missing)} is not on this machine; there are: {', '.join(found())}.",
                "Name devices that 'superres doctor' lists.",
            )


def _check_versions(client: Any) -> None:
    """Refuse workers that would compute something else than we plan, or nothing."""
    name = "napari-superres"
    own = importlib.metadata.version(name)
    found = client.run(importlib.metadata.version, name, on_error="return")
    other = {address: version for address, version in found.items() if version != own}
    if other:
        address, version = next(iter(other.items()))
        raise SettingError(
            f"{len(other)} of {len(found)} workers do not have {name} {own}: at {address} it is "
            f"{version if isinstance(version, str) else 'not installed'}.",
            "Start them from an environment like this one.",
        )


def _distributed() -> Any:
    return _imported("distributed")


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Computing in several processes or on several machines needs dask.distributed.",
            'Install it with: pip install "napari-superres[distributed]".',
        ) from error
