"""Check the blocks that are there, and compute those that are missing."""

from __future__ import annotations

from pathlib import Path
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
from napari_superres.job.manifest import Block, Sum
from napari_superres.job.parts import in_common
from napari_superres.job.pool import Outcome, Pool, processors
from napari_superres.job.progress import Progress, Step
from napari_superres.job.task import Work, check, compute, describe, discard, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image
    from napari_superres.job.bucket import Claim
    from napari_superres.job.destination import Destination
    from napari_superres.job.lock import Lock
    from napari_superres.job.manifest import Manifest
    from napari_superres.job.task import Packed

ATTEMPTS = 3
"""How often a block is tried before it counts as failed."""

HOPELESS = 4
"""When so many blocks failed and none succeeded, the others would fail too."""

CHECKED_TOGETHER = 16
"""Blocks of an earlier run that one task reads again."""

NAMED = 20
"""How many failed blocks an error lists; `superres status` lists all."""

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


class Blocks:
    """The blocks of one manifest, on their way to being done.

    Parameters
    ----------
    image : Image
    target : Destination
    layout : Layout
    manifest : Manifest
        Taken up or begun.
    lock : Lock
        While it is held, the blocks are ours to write.
    """

    def __init__(
        self, image: Image, target: Destination, layout: Layout, manifest: Manifest, lock: Lock
    ) -> None:
        self.image = image
        self.target = target
        self.layout = layout
        self.manifest = manifest
        self.lock = lock
        self.work = Work(image, layout, target, lock.path, lock.token)
        self.kept = manifest.done
        self.failures: dict[Block, BaseException] = {}

    def iterate(self, pool: Pool, *, contents: bool = True) -> Iterator[Progress]:
        """Yield progress until every block is done and its files are as they should be.

        Parameters
        ----------
        pool : Pool
        contents : bool
            Whether files that are there from earlier are read again, or only their sizes looked at.
            In a bucket they never are: it answers for what it holds, and to read it all costs.

        Raises
        ------
        IncompleteError
            If some blocks failed.
        """
        self.work.scratch.mkdir(exist_ok=True)
        packed = self.work if pool.shares_memory else pack(self.work)
        if self.kept:
            on_disk = isinstance(self.target.root, Path)
            yield from self._checked(pool, packed, contents and on_disk)
        yield self.progress("computing", 0.0)
        for number in self.manifest.passes:
            try:
                yield from self._computed(number, pool, packed)
            except BaseException:
                if self.lock.is_held():
                    self.manifest.add((o.task, o.value) for o in pool.ended_meanwhile())
                raise
            if self.failures:
                raise self._incomplete()

    def _computed(self, number: int, pool: Pool, packed: Work | Packed) -> Iterator[Progress]:
        for ended in pool.run(
            self._in_order(number),
            lambda executor, block, attempt, own: executor.submit(
                compute, packed, block, attempt, pool.listener(own)
            ),
            self._is_worth_a_retry,
        ):
            check_held(self.lock)
            self._note(ended)
            yield self.progress("computing", pool.under_way, pool.words)

    def confirmed(self) -> Iterator[Progress]:
        """Look from here whether every file has its size, whoever has written it.

        Raises
        ------
        IncompleteError
            If one has not.
        """
        with Pool(None, processors()) as pool:
            for ended in pool.run(
                (claims for number in self.manifest.passes for claims in self._claims(number)),
                lambda executor, claims, attempt, own: executor.submit(
                    check, self.work, claims, False
                ),
                lambda outcome: False,
            ):
                check_held(self.lock)
                for outcome in ended:
                    if outcome.error is not None:
                        raise outcome.error
                    for block in outcome.value:
                        raise IncompleteError(
                            f"The files of {describe(self.layout, block)} of '{self.target.path}' "
                            "were written, and are not there now.",
                            "All workers must see the same disk. The same call does what is "
                            "missing.",
                        )
                yield self.progress("computing", 0.0)

    def progress(self, step: Step, under_way: float, words: str = "") -> Progress:
        """Return how far the blocks are."""
        return Progress(
            done=self.manifest.done,
            total=self.manifest.total,
            kept=self.kept,
            failed=len(self.failures),
            step=step,
            under_way=under_way,
            words=words,
        )

    def _in_order(self, number: int) -> Iterator[Block]:
        """Yield the missing blocks of a pass, those that share chunks of the source together.

        A source stored in cubes is decoded many planes at a time. Taken plane by plane, a large one
        would be decoded anew for each of them; so all planes of a cube come first at one place.
        Except where that would tear apart what is computed at once.
        """
        places = self.manifest.missing(number)
        if number == 0 and in_common(self.image, self.layout) == 1:
            stored = self.image.source.get("chunk", {})
            depths = [max(1, int(stored.get(axis, 1))) for axis in self.layout.axes[:-2]]
            if max(depths, default=1) > 1 and len(places):
                *lead, y, x = np.unravel_index(places, self.layout.levels[0].grid)
                groups = [at // depth for at, depth in zip(lead, depths, strict=True)]
                # numpy sorts by the last key first.
                places = places[np.lexsort((*lead[::-1], x, y, *groups[::-1]))]
        return (Block(number, int(place)) for place in places)

    def _checked(self, pool: Pool, packed: Work | Packed, contents: bool) -> Iterator[Progress]:
        """Look again at what an earlier run has written: a crash may have cut it short."""
        wrong: list[Block] = []
        seen = 0
        for number in self.manifest.passes:
            for ended in pool.run(
                self._claims(number),
                lambda executor, claims, attempt, own: executor.submit(
                    check, packed, claims, contents
                ),
                lambda outcome: outcome.attempt < ATTEMPTS,
            ):
                check_held(self.lock)
                for outcome in ended:
                    if outcome.error is not None:
                        raise outcome.error
                    seen += len(outcome.task)
                    wrong += outcome.value
                yield self.progress("checking", seen / self.kept)
        if any(block.number == 0 for block in wrong):
            # Coarser levels may have been made from what is wrong.
            for number in self.manifest.passes[1:]:
                wrong += [block for block in self.manifest.finished(number) if block not in wrong]
        for block in wrong:
            # Its files go first: should this run be killed, the list still claims that they are
            # whole, and the next run must see that they are not.
            discard(self.work, block)
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
            self.manifest.add_failure(outcome.task, describe(self.layout, outcome.task), error)
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
        for block, reason in list(self.failures.items())[:NAMED]:
            error.add_note(f"{describe(self.layout, block)}: {reason}")
        return error


def check_held(lock: Lock | Claim) -> None:
    """Refuse to go on when somebody has taken a lock, or the claim to a bucket, for abandoned.

    Raises
    ------
    OutputError
    """
    if not lock.is_held():
        raise OutputError(
            f"'{lock.what}' has been taken over by another run.", "Let that one finish."
        )
