"""One training a folder: two would write each other's checkpoints in turn."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from napari_superres.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


log = logging.getLogger(__name__)


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a folder, which is made if it is not there.

    The system lets go of it when the program ends, however it ends. Where the file system has no
    locks, nobody is kept out.

    Parameters
    ----------
    folder : Path
        State of a training.

    Raises
    ------
    SettingError
        If another training is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise SettingError(
            f"Another training is at work in '{folder}'.",
            "Wait until it is done, or choose another folder.",
        ) from error
    except (OSError, NotImplementedError) as error:
        log.info("'%s' cannot be locked: %s", folder, error)
    try:
        yield
    finally:
        lock.release()
