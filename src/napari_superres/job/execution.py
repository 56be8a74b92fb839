"""One run of a job, from the lock to the name."""

from __future__ import annotations

import math
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from napari_superres.errors import IncompleteError, SuperresError
from napari_superres.formats.ome_zarr_layout import layout_for
from napari_superres.job.blocks import Blocks, check_held
from napari_superres.job.bucket import Claim
from napari_superres.job.destination import check_space, explained
from napari_superres.job.finish import finish
from napari_superres.job.folder import abandon, dissolve, is_named, sweep
from napari_superres.job.kept import is_finished
from napari_superres.job.lock import BusyError, Lock
from napari_superres.job.manifest import Manifest, is_done, read_fingerprint
from napari_superres.job.parts import in_common
from napari_superres.job.pool import Pool
from napari_superres.job.preparation import prepare
from napari_superres.job.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from concurrent.futures import Executor

    from napari_superres.formats.ome_zarr_layout import Layout
    from napari_superres.image import Image
    from napari_superres.job.destination import Destination
    from napari_superres.job.parts import Part

PATIENCE = 120.0
"""Seconds that a part of a job waits for another one that prepares."""

COMPUTING, FINISHING = "computing", "finishing"
"""What a lock is held for, if it is for long."""


class Job:
    """One run of a job.

    Parameters
    ----------
    image : Image
    target : Destination
    layout : Layout
    overwrite : bool
        Whether a result of that name is replaced, and an unfinished one with other settings thrown
        away.
    part : Part, optional
        The share of the blocks to compute; all if None.
    labels : mapping of str to Image, optional
        Label images to write into the result's folder.
    """

    def __init__(
        self,
        image: Image,
        target: Destination,
        layout: Layout,
        *,
        overwrite: bool = False,
        part: Part | None = None,
        labels: Mapping[str, Image] | None = None,
    ) -> None:
        self.image = image
        self.target = target
        self.layout = layout
        self.overwrite = overwrite
        self.part = part
        self.labels = labels or {}

    def iterate(self, executor: Executor | None, workers: int | None) -> Iterator[Progress]:
        """Yield progress until the result has its name, or the part is done.

        Parameters
        ----------
        executor, workers
            As for `run`.
        """
        path = self.target.path
        try:
            if self.part is None:
                yield from self._whole(executor, workers)
            else:
                yield from self._share(self.part, executor, workers)
        except BrokenExecutor as error:
            raise IncompleteError(
                f"The processes that computed '{path}' died ({error}).",
                "What is done is kept; run the same again, with fewer workers if memory ran out.",
            ) from error
        except OSError as error:
            if isinstance(error, SuperresError):
                raise
            raise explained(error, path) from error

    def is_over(self) -> bool:
        """Return whether a part has nothing left to do: the result is there, and it is this job's.

        So it is for a part that is queued again, and for the end after the last part.

        Raises
        ------
        OutputError
            If something else is there.
        """
        if self.part is None or self.overwrite or self.target.manifest.exists():
            return False
        if self.image.plan is None:  # it says nothing of its making that could be compared
            return False
        return is_finished(self.image, self.labels, str(self.target.path), self.layout.version)

    def _whole(self, executor: Executor | None, workers: int | None) -> Iterator[Progress]:
        """Compute all blocks that are missing, and finish the result."""
        target = self.target
        new = not target.part.exists()
        with ExitStack() as stack:
            lock = Lock(target.lock, target.path)
            lock.__enter__()
            stack.callback(dissolve, target)
            stack.push(lock)
            lock.note(COMPUTING)
            for path in target.part_locks():  # nobody may be at work on a part of it either
                stack.enter_context(Lock(path, target.path))
            claim = stack.enter_context(Claim(target))
            self._prepare(lock)
            claim.copy()
            manifest = stack.enter_context(closing(Manifest(target.manifest, self.layout)))
            manifest.resume(target.part_manifests())
            check_space(target, self.layout.nbytes, manifest.nbytes)
            try:
                blocks = Blocks(self.image, target, self.layout, manifest, lock)
                with Pool(executor, workers) as pool:
                    yield from self._to_the_end(pool, blocks, claim)
            except BaseException:
                # What somebody else has taken over is theirs.
                if new and manifest.done == 0 and lock.is_held() and claim.is_held():
                    manifest.close()
                    abandon(target)
                raise
        yield blocks.progress("computing", 0.0)

    def _share(
        self, part: Part, executor: Executor | None, workers: int | None
    ) -> Iterator[Progress]:
        """Compute a part's blocks, and finish the result if no other part is missing."""
        target = self.target
        path = target.manifest_of(part.name)
        with ExitStack() as stack:
            with Lock(target.lock, target.path, wait=PATIENCE):
                own = Lock(target.lock_of(part.name), target.path)
                own.__enter__()
                stack.callback(dissolve, target)
                stack.push(own)
                share = part.places(self.layout.tasks(0), in_common(self.image, self.layout))
                if self.is_over():
                    yield Progress(len(share), len(share), kept=len(share))
                    return
                own.note(COMPUTING)
                claim = stack.enter_context(Claim(target))
                wanted = self._prepare(own)
                claim.copy()
            manifest = stack.enter_context(closing(Manifest(path, self.layout, share)))
            if read_fingerprint(path) is None:
                manifest.start(wanted, self.layout.blocks)
            # Parts of the same count have no block in common.
            others = [p for p in target.part_manifests() if not p.match(f"*-of-{part.count}.jsonl")]
            manifest.resume((target.manifest, *others))
            manifest.note_begin()
            blocks = Blocks(self.image, target, self.layout, manifest, own)
            with Pool(executor, workers) as pool:
                yield from blocks.iterate(pool)
                manifest.note_end()
                manifest.close()
                left = yield from self._unless_others_are_missing(pool, part, own, claim)
        yield replace(blocks.progress("computing", 0.0), elsewhere=left)

    def _unless_others_are_missing(
        self, pool: Pool, part: Part, own: Lock, claim: Claim
    ) -> Generator[Progress, None, int]:
        """Finish the result if all parts are done. Return how many are not."""
        target = self.target
        try:
            with Lock(target.lock, target.path, wait=math.inf) as lock:
                if not target.manifest.exists() or is_named(target):
                    return 0  # another part has finished the result and swept the folder
                check_held(own)
                left = _missing_parts(target, part)
                if left:
                    return left
                lock.note(FINISHING)
                with closing(Manifest(target.manifest, self.layout)) as manifest:
                    manifest.resume(target.part_manifests())
                    missing = len(manifest.missing(0))
                    if missing and not part.count:
                        raise _too_early(target, missing, self.layout.tasks(0))
                    blocks = Blocks(self.image, target, self.layout, manifest, lock)
                    yield from self._to_the_end(pool, blocks, claim, contents=False)
        except BusyError as error:
            if error.doing != FINISHING:
                raise
        return 0

    def _to_the_end(
        self, pool: Pool, blocks: Blocks, claim: Claim, *, contents: bool = True
    ) -> Iterator[Progress]:
        """Compute what is missing, look at every file once more, and give the result its name."""
        target, manifest = self.target, blocks.manifest
        yield from blocks.iterate(pool, contents=contents)
        missing = manifest.total - manifest.done
        if missing:  # whatever left them out, a result with holes gets no name
            raise _too_early(target, missing, manifest.total)
        yield from blocks.confirmed()
        check_held(claim)
        last = chain(
            self._write_labels(pool),
            finish(target, self.layout, self.image, manifest.commit, tuple(self.labels)),
        )
        for share in last:
            check_held(blocks.lock)
            yield blocks.progress("exporting", share)
        manifest.close()
        sweep(target)

    def _write_labels(self, pool: Pool) -> Iterator[float]:
        """Write each label image by a job of its own, unless an earlier run has finished it."""
        for number, (name, labels) in enumerate(self.labels.items()):
            inner = self.target.labels(name)
            if not inner.is_finished():
                inner.part.parent.mkdir(exist_ok=True)
                job = Job(labels, inner, layout_for(labels, self.layout.version), overwrite=True)
                for step in job.iterate(pool.executor, pool.workers):
                    yield (number + step.fraction) / len(self.labels)

    def _prepare(self, lock: Lock) -> dict[str, object]:
        return prepare(
            self.image, self.target, self.layout, lock, self.labels, overwrite=self.overwrite
        )


def _missing_parts(target: Destination, part: Part) -> int:
    numbers = range(1, part.count + 1)
    names = [replace(part, number=number).name for number in numbers]
    return sum(not is_done(target.manifest_of(name)) for name in names)


def _too_early(target: Destination, missing: int, total: int) -> IncompleteError:
    return IncompleteError(
        f"{missing} of {total} blocks of '{target.path}' are not done.",
        "Run those parts again that have not ended well, or the same without a part.",
    )
