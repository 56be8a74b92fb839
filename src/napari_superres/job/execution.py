"""One run of a job, from the lock to the name."""

from __future__ import annotations

import contextlib
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.errors import (
    Cancelled,
    IncompleteError,
    InputError,
    MissingDependencyError,
    OutputError,
    ResourceError,
    SettingError,
    SuperresError,
    UnreadableError,
    WeightsError,
)
from napari_superres.formats.ome_zarr_write import create
from napari_superres.job.destination import check_space, explained, remove
from napari_superres.job.fingerprint import fingerprint
from napari_superres.job.finish import clear, dissolve, finish
from napari_superres.job.lock import Lock
from napari_superres.job.manifest import Block, Manifest, Sum, differences, read_fingerprint
from napari_superres.job.pool import Outcome, Pool
from napari_superres.job.progress import Progress, Step
from napari_superres.job.task import Work, check, compute, describe, pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image
    from napari_superres.job.destination import Destination
    from napari_superres.job.task import Packed

ATTEMPTS = 3
"""How often a block is tried before it counts as failed."""

HOPELESS = 4
"""When so many blocks failed and none succeeded, the others would fail too."""

CHECKED_TOGETHER = 16
"""Blocks of an earlier run that one task reads again."""

_FATAL = (
    Cancelled,
    WeightsError,
    MissingDependencyError,
    ResourceError,
    SettingError,
    OutputError,
    MemoryError,
)
"""What is wrong with one block is wrong with all: no retry, no next block."""


class Job:
    """One run of a job.

    Parameters
    ----------
    image : Image
    target : Destination
    layout : Layout
    overwrite : bool
        Whether an unfinished result with other settings is thrown away.
    """

    def __init__(self, image: Image, target: Destination, layout: Layout, overwrite: bool) -> None:
        self.image = image
        self.target = target
        self.layout = layout
        self.overwrite = overwrite
        self.manifest = Manifest(target.manifest, layout)
        self.kept = 0
        self.failures: dict[Block, BaseException] = {}

    def iterate(self, executor: Executor | None, workers: int | None) -> Iterator[Progress]:
        """Yield progress until the result has its name.

        Parameters
        ----------
        executor, workers
            As for `run`.
        """
        target = self.target
        new = not target.part.exists()
        locked = False
        try:
            with Lock(target.lock, target.path) as lock, contextlib.closing(self.manifest):
                locked = True
                self._prepare()
                try:
                    with Pool(executor, workers) as pool:
                        yield from self._blocks(pool, lock)
                    for share in finish(target, self.layout, self.image, self.manifest.commit):
                        _check_held(lock)
                        yield self._progress("exporting", share)
                    self.manifest.close()
                    clear(target)
                except BaseException:
                    if new and self.manifest.done == 0:
                        self.manifest.close()
                        clear(target)  # nothing worth keeping has come of it
                    raise
        except BrokenExecutor as error:
            raise IncompleteError(
                f"The processes that computed '{target.path}' died ({error}).",
                "What is done is kept; run the same again, with fewer workers if memory ran out.",
            ) from error
        except OSError as error:
            if isinstance(error, SuperresError):
                raise
            raise explained(error, target.path) from error
        finally:
            if locked:
                dissolve(target)
        yield self._progress("computing", 0.0)

    def _progress(self, step: Step, under_way: float) -> Progress:
        return Progress(
            done=self.manifest.done,
            total=self.manifest.total,
            kept=self.kept,
            failed=len(self.failures),
            step=step,
            under_way=under_way,
        )

    def _prepare(self) -> None:
        """Take up an unfinished result, refuse a foreign one, or begin."""
        target = self.target
        own = {p.name for p in (target.lock, target.manifest, target.root, target.old)}
        own |= {target.scratch.name, target.exported.name, "manifest.new", "image.new"}
        there = read_fingerprint(target.manifest)
        if there is None and {p.name for p in target.part.iterdir()} - own:
            raise OutputError(
                f"'{target.part}' is in the way: it is not an unfinished result of this program.",
                "Move it elsewhere.",
            )
        remove(target.scratch)
        target.scratch.mkdir()
        wanted = fingerprint(self.image, self.layout)
        if there is not None and there != wanted and not self.overwrite:
            changes = "; ".join(differences(there, wanted)[:5])
            raise OutputError(
                f"'{target.part}' is an unfinished result with other settings: {changes}.",
                "Use the same settings to finish it, or start anew with overwrite=True.",
            )
        if there == wanted and target.root.exists():
            self.manifest.resume()
            check_space(target, self.layout.nbytes, self.manifest.nbytes)
            return
        for path in (target.manifest, target.root, target.exported):
            remove(path)
        unnamed = target.root.with_suffix(".new")
        remove(unnamed)
        create(unnamed, self.layout)
        unnamed.rename(target.root)
        self.manifest.start(wanted)

    def _blocks(self, pool: Pool, lock: Lock) -> Iterator[Progress]:
        """Check what there is, and compute what is missing, pass by pass."""
        work = Work(self.image, self.layout, self.target, lock.token)
        packed = work if pool.shares_memory else pack(work)
        self.kept = self.manifest.done
        if self.kept:
            yield from self._checked(pool, packed)
        yield self._progress("computing", 0.0)
        for number in self.layout.passes:
            for ended in pool.run(
                self._in_order(number),
                lambda executor, block, attempt, own: executor.submit(
                    compute, packed, block, attempt, pool.listener(own)
                ),
                self._is_worth_a_retry,
            ):
                _check_held(lock)
                self._note(ended)
                yield self._progress("computing", pool.under_way)
            if self.failures:
                raise self._incomplete()

    def _in_order(self, number: int) -> Iterator[Block]:
        """Yield the missing blocks of a pass, those that share chunks of the source together.

        A source stored in cubes is decoded many planes at a time. Taken plane by plane, a large one
        would be decoded anew for each of them; so all planes of a cube come first at one place.
        """
        places = self.manifest.missing(number)
        if number == 0:
            stored = self.image.source.get("chunk", {})
            depths = [max(1, int(stored.get(axis, 1))) for axis in self.layout.axes[:-2]]
            if max(depths, default=1) > 1 and len(places):
                *lead, y, x = np.unravel_index(places, self.layout.levels[0].grid)
                groups = [at // depth for at, depth in zip(lead, depths, strict=True)]
                # numpy sorts by the last key first.
                places = places[np.lexsort((*lead[::-1], x, y, *groups[::-1]))]
        return (Block(number, int(place)) for place in places)

    def _checked(self, pool: Pool, packed: Work | Packed) -> Iterator[Progress]:
        """Read again what an earlier run has written: a crash may have cut it short."""
        wrong: list[Block] = []
        seen = 0
        for number in self.layout.passes:
            for ended in pool.run(
                self._claims(number),
                lambda executor, claims, attempt, own: executor.submit(check, packed, claims),
                lambda outcome: outcome.attempt < ATTEMPTS,
            ):
                for outcome in ended:
                    if outcome.error is not None:
                        raise outcome.error
                    seen += len(outcome.task)
                    wrong += outcome.value
                yield self._progress("checking", seen / self.kept)
        for block in wrong:
            self.manifest.forget(block)
        if any(block.number == 0 for block in wrong):
            # Coarser levels may have been made from what is wrong.
            for number in self.layout.passes[1:]:
                for block in list(self.manifest.finished(number)):
                    self.manifest.forget(block)
        self.kept = self.manifest.done

    def _claims(self, number: int) -> Iterator[list[tuple[Block, list[Sum]]]]:
        batch = []
        for block in self.manifest.finished(number):
            batch.append((block, self.manifest.sums(block)))
            if len(batch) == CHECKED_TOGETHER:
                yield batch
                batch = []
        if batch:
            yield batch

    def _is_worth_a_retry(self, outcome: Outcome) -> bool:
        error = outcome.error
        if isinstance(error, _FATAL):
            return False
        if isinstance(error, InputError) and not isinstance(error, UnreadableError):
            return False
        return outcome.attempt < ATTEMPTS

    def _note(self, ended: list[Outcome]) -> None:
        self.manifest.add((o.task, o.value) for o in ended if o.error is None)
        for outcome in ended:
            error = outcome.error
            if error is None:
                continue
            if isinstance(error, MemoryError) and not isinstance(error, SuperresError):
                raise ResourceError(
                    f"Memory ran out while '{self.target.path}' was computed.",
                    "What is done is kept; run the same again with fewer workers.",
                ) from error
            if isinstance(error, _FATAL):
                raise error
            self.failures[outcome.task] = error
            self.manifest.add_failure(outcome.task, error)
        if len(self.failures) >= HOPELESS and self.manifest.done == 0:
            raise self._incomplete()

    def _incomplete(self) -> BaseException:
        """Return what to raise for the blocks that failed."""
        block, first = next(iter(self.failures.items()))
        if self.manifest.done == 0:
            return first  # nothing works: the reason says more than the list
        error = IncompleteError(
            f"{len(self.failures)} of {self.manifest.total} blocks of '{self.target.path}' failed, "
            f"the first at {describe(self.layout, block)}: {first}",
            f"The others are kept in '{self.target.part}'; the same call does what is missing.",
        )
        error.__cause__ = first
        for block, reason in list(self.failures.items())[:20]:
            error.add_note(f"{describe(self.layout, block)}: {reason}")
        return error


def _check_held(lock: Lock) -> None:
    if not lock.is_held():
        raise OutputError(
            f"'{lock.what}' has been taken over by another run.", "Let that one finish."
        )
