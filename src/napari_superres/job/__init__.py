"""Turn a lazy image into a file: block by block, resumable, in bounded memory.

One task computes one block: one shard of the finest level and the coarser shards under it. Tasks
know nothing of each other, so they run in any order, in any number of threads, processes or
machines, and the bytes are the same. Locally a result grows under ``OUT.part``::

    OUT.part/
        lock             who is at work; refreshed all the time
        manifest.jsonl   what is being made, and a line for each block that is done
        lock.3-of-64, manifest.3-of-64.jsonl   the same for a part of a job
        image.zarr/      the blocks
        scratch/         files that are not yet written to their end
        old              the result that is being replaced, for the blink of an eye

and takes its name when its metadata, written last, is complete.
"""

from napari_superres.job.kept import is_finished
from napari_superres.job.needs import Needs, needs
from napari_superres.job.progress import Progress
from napari_superres.job.running import run, write
from napari_superres.job.status import Status, status
from napari_superres.job.together import run_together
from napari_superres.job.verification import Verified, verify
from napari_superres.job.workers import Workers, choose_workers

__all__ = [
    "Needs",
    "Progress",
    "Status",
    "Verified",
    "Workers",
    "choose_workers",
    "is_finished",
    "needs",
    "run",
    "run_together",
    "status",
    "verify",
    "write",
]
