"""Patience with servers that stumble, and none with those that refuse."""

from __future__ import annotations

import logging
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from napari_superres.errors import OutputError, SuperresError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)
T = TypeVar("T")

_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, *range(500, 600)})
_jitter = random.SystemRandom()


class RefusedError(UnreadableError):
    """A server forbids to read something, which may not be there at all.

    So answer buckets whose names nobody may list.
    """


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, and how long to wait in between.

    Parameters
    ----------
    attempts : int
        How often in all.
    first_wait : float
        Seconds before the second attempt. Waits double with each attempt, and each is drawn
        between a half and three halves of that, so that many workers do not knock together.
    writing : bool
        Whether something is written: decides the kind of error.
    """

    attempts: int
    first_wait: float
    writing: bool = False

    def wait_after(self, error: Exception, attempt: int, place: str) -> float:
        """Return the seconds to wait before the next attempt.

        Parameters
        ----------
        error : Exception
            Why the last one failed.
        attempt : int
            Which it was, from 1.
        place : str
            The address, for messages.

        Raises
        ------
        UnreadableError, OutputError
            If there is no point in a next one.
        """
        kind: type[SuperresError] = OutputError if self.writing else UnreadableError
        if not self.writing and (_status(error) == 403 or isinstance(error, PermissionError)):
            kind = RefusedError
        if not is_transient(error):
            raise kind(
                f"'{place}' is refused: {_first_line(error)}.",
                f"Check the address, and whether you may {'write' if self.writing else 'read'} it.",
            ) from error
        if attempt == self.attempts:
            done = "written" if self.writing else "read"
            raise kind(
                f"'{place}' could not be {done} in {attempt} attempts: {_first_line(error)}.",
                "Look at the network and the server, and run again.",
            ) from error
        log.info("attempt %d at %s: %s", attempt, place, error)
        return float(self.first_wait * 2 ** (attempt - 1) * _jitter.uniform(0.5, 1.5))

    def insist(self, place: str, request: Callable[[], T]) -> T:
        """Return what a request returns, tried again while that may help.

        Parameters
        ----------
        place : str
            The address, for messages.
        request : callable
            Raises `FileNotFoundError` for what is not there, which is handed on at once.

        Raises
        ------
        FileNotFoundError
            From the request.
        UnreadableError, OutputError
            If the server refuses, or fails each time.
        """
        attempt = 1
        while True:
            try:
                return request()
            except FileNotFoundError:
                raise
            # What libraries raise here has no common parent but this one; nothing is swallowed.
            except Exception as error:
                wait = self.wait_after(error, attempt, place)
            time.sleep(wait)
            attempt += 1


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may well succeed a moment later.

    A time-out, a broken connection, too many requests and a server's own failure are; a refusal and
    a missing file are not.
    """
    status = _status(error)
    if status is not None:
        return status in _TRANSIENT_STATUS
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    kinds = {(c.__module__.partition(".")[0], c.__name__) for c in type(error).__mro__}
    return bool(
        kinds & {("obstore", "GenericError"), ("aiohttp", "ClientConnectionError")}
        or kinds & {("aiohttp", "ClientPayloadError"), ("botocore", "HTTPClientError")}
    )


def _status(error: BaseException) -> int | None:
    """Return the status of HTTP that an error speaks of, if it does."""
    status = getattr(error, "status", None)
    if not isinstance(status, int):
        response = getattr(error, "response", None)
        known = response if isinstance(response, dict) else {}
        status = known.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if status is None:
        # obstore gives the status in words only.
        found = re.search(r"status(?: code)?:? (\d{3})\b", str(error))
        status = int(found[1]) if found else None
    return status


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
