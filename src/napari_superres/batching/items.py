"""What a batch says of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_superres.image import Image
    from napari_superres.job.progress import Progress

State = Literal["waiting", "done", "kept", "failed", "left out"]


@dataclass(frozen=True)
class Item:
    """One image of a batch.

    Parameters
    ----------
    source : str
        File, folder or URL.
    output : str
        Where its result is, or would be; empty where that is not known.
    state : {"waiting", "done", "kept", "failed", "left out"}
        ``kept`` is a result that an earlier run had finished with the same settings; ``left out``
        a file that another one of the batch has read already, as part of a data set.
    reason : str
        Why it failed or was left out.
    notes : tuple of str
        What a user should know of the source.
    seconds : float
        What it took.
    """

    source: str
    output: str = ""
    state: State = "waiting"
    reason: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Step:
    """How far a batch is.

    Parameters
    ----------
    number : int
        Which image it is at, from 1.
    total : int
        Images in all.
    item : Item
        As it is now; not ``waiting`` once it has ended.
    progress : Progress or None
        Of its job, while one runs.
    """

    number: int
    total: int
    item: Item
    progress: Progress | None = None


@dataclass(frozen=True)
class Made:
    """An image and its lazy result.

    Parameters
    ----------
    image : Image
        The source.
    result : Image
    labels : dict of str to Image
        To be written into the result's folder.
    spread : Image or None
        To be written beside the result, if it is wanted.
    notes : tuple of str
        What a user should know.
    """

    image: Image
    result: Image
    labels: dict[str, Image]
    spread: Image | None = None
    notes: tuple[str, ...] = ()
