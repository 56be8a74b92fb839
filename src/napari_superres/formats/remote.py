"""Zarr hierarchies behind http, https and s3: time-outs, and patience with servers that stumble."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import random
import re
from typing import TYPE_CHECKING, Any, TypeVar

from zarr.abc.store import Store

from napari_superres.errors import InputError, MissingReaderError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEMES = ("http", "https", "s3")
CONNECT_SECONDS = 10
REQUEST_SECONDS = 120
ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.5
"""Waits double with each attempt, and each is drawn between a half and three halves of that."""

_TRANSIENT_STATUS = frozenset({408, 425, 429, *range(500, 600)})
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
_jitter = random.SystemRandom()


def is_url(path: str | os.PathLike[str]) -> bool:
    """Return whether a path names something on another computer."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", os.fspath(path)) is not None


def open_store(
    url: str,
    *,
    connect_seconds: float = CONNECT_SECONDS,
    request_seconds: float = REQUEST_SECONDS,
    attempts: int = ATTEMPTS,
    first_wait: float = FIRST_WAIT_SECONDS,
) -> RemoteStore:
    """Return a read-only Zarr store for what lies below a URL.

    Parameters
    ----------
    url : str
        ``http://``, ``https://`` or ``s3://bucket/...``. Credentials, region and endpoint of s3
        come from the usual ``AWS_...`` variables; without credentials, requests are not signed.
    connect_seconds, request_seconds : float
        Longest time to wait for a connection, and for a whole answer.
    attempts : int
        How often a request is tried in all.
    first_wait : float
        Seconds before the second attempt.

    Raises
    ------
    InputError
        If the URL is of another kind.
    MissingReaderError
        If neither obstore nor fsspec is installed.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise InputError(
            f"'{url}' is no address that can be read.", f"Use one of: {', '.join(SCHEMES)}."
        )
    if importlib.util.find_spec("obstore"):
        inner = _obstore(url, scheme, connect_seconds, request_seconds)
    elif importlib.util.find_spec("fsspec") and importlib.util.find_spec("aiohttp"):
        inner = _fsspec(url, scheme, connect_seconds, request_seconds)
    else:
        raise MissingReaderError(
            f"Reading '{url}' needs the package obstore, which is not installed.",
            'Install it with: pip install "napari-superres[remote]".',
        )
    return RemoteStore(inner, url, attempts, first_wait)


def _obstore(url: str, scheme: str, connect: float, request: float) -> Store:
    from datetime import timedelta

    from obstore.store import HTTPStore, S3Store
    from zarr.storage import ObjectStore

    client = {
        "connect_timeout": timedelta(seconds=connect),
        "timeout": timedelta(seconds=request),
        "allow_http": True,
    }
    # Retries are ours alone: two loops inside each other would multiply.
    options: dict[str, Any] = {"client_options": client, "retry_config": {"max_retries": 0}}
    if scheme == "s3":
        if not any(name in os.environ for name in _CREDENTIALS):
            options["skip_signature"] = True
        return ObjectStore(S3Store.from_url(url, **options), read_only=True)
    return ObjectStore(HTTPStore.from_url(url, **options), read_only=True)


def _fsspec(url: str, scheme: str, connect: float, request: float) -> Store:
    from zarr.storage import FsspecStore

    options: dict[str, Any]
    if scheme == "s3":
        unsigned = not any(name in os.environ for name in _CREDENTIALS)
        config = {"connect_timeout": connect, "read_timeout": request}
        options = {"anon": unsigned, "config_kwargs": config}
    else:
        import aiohttp

        times = aiohttp.ClientTimeout(total=request, sock_connect=connect)
        options = {"client_kwargs": {"timeout": times}}
    return FsspecStore.from_url(url, storage_options=options, read_only=True)


def identity(url: str, key: str) -> dict[str, Any]:
    """Return what a server says of a file's version: size, ETag, time of change.

    Returns
    -------
    dict
        JSON values; empty where the server does not say.
    """
    store = open_store(url)._store
    inner = getattr(store, "store", None)
    if inner is None:  # the fsspec fall-back has no common word for it
        return {}
    import obstore

    try:
        meta = obstore.head(inner, key)
    except (obstore.exceptions.BaseError, OSError) as error:
        log.info("no version of %s/%s: %s", url, key, error)
        return {}
    found = {"size": meta["size"], "modified": meta["last_modified"].isoformat()}
    return {**found, "etag": meta["e_tag"]} if meta.get("e_tag") else found


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may well succeed a moment later.

    A time-out, a broken connection, too many requests and a server's own failure are; a refusal and
    a missing file are not.
    """
    status = getattr(error, "status", None)
    if not isinstance(status, int):
        response = getattr(error, "response", None)
        known = response if isinstance(response, dict) else {}
        status = known.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if status is None:
        # obstore gives the status in words only.
        found = re.search(r"status(?: code)?:? (\d{3})\b", str(error))
        status = int(found[1]) if found else None
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


class RemoteStore(Store):
    """A read-only store that asks again when a server stumbles.

    Parameters
    ----------
    store : zarr.abc.store.Store
        What sends the requests.
    url : str
        What messages call it.
    attempts : int
        How often a request is tried in all.
    first_wait : float
        Seconds before the second attempt.
    """

    def __init__(self, store: Store, url: str, attempts: int, first_wait: float) -> None:
        super().__init__(read_only=True)
        self._store = store
        self._url = url
        self._attempts = attempts
        self._first_wait = first_wait

    def with_read_only(self, read_only: bool = False) -> RemoteStore:
        """Return the store itself: it cannot be written to."""
        if not read_only:
            raise ValueError(f"'{self._url}' can only be read.")
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and other._store == self._store

    def __hash__(self) -> int:
        return hash(self._url)

    def __str__(self) -> str:
        return self._url

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return bytes, or None for a file that is not there.

        Raises
        ------
        UnreadableError
            If the server refuses, or fails each time.
        """
        return await self._patiently(key, lambda: self._store.get(key, prototype, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return bytes of many files."""
        return list(await asyncio.gather(*(self.get(k, prototype, r) for k, r in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Return whether there is such a file."""
        return await self._patiently(key, lambda: self._store.exists(key))

    async def _patiently(self, key: str, request: Callable[[], Awaitable[T]]) -> T:
        wait = self._first_wait
        for attempt in range(1, self._attempts + 1):
            try:
                return await request()
            # What libraries raise here has no common parent but this one; nothing is swallowed.
            except Exception as error:
                place = f"{self._url}/{key}"
                if not is_transient(error):
                    raise UnreadableError(
                        f"'{place}' is refused: {_first_line(error)}.",
                        "Check the address, and whether you may read it.",
                    ) from error
                if attempt == self._attempts:
                    raise UnreadableError(
                        f"'{place}' could not be read in {attempt} attempts: {_first_line(error)}.",
                        "Look at the network and the server, and run again.",
                    ) from error
                log.info("attempt %d at %s: %s", attempt, place, error)
            await asyncio.sleep(wait * _jitter.uniform(0.5, 1.5))
            wait *= 2
        raise AssertionError("attempts is at least 1")

    @property
    def supports_writes(self) -> bool:
        """False."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """False."""
        return False

    @property
    def supports_listing(self) -> bool:
        """False: a plain web server tells no names."""
        return False

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse."""
        raise ValueError(f"'{self._url}' can only be read.")

    async def delete(self, key: str) -> None:
        """Refuse."""
        raise ValueError(f"'{self._url}' can only be read.")

    def list(self) -> AsyncIterator[str]:
        """Refuse."""
        raise NotImplementedError(f"The names below '{self._url}' cannot be listed.")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refuse."""
        raise NotImplementedError(f"The names below '{self._url}/{prefix}' cannot be listed.")

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Refuse."""
        raise NotImplementedError(f"The names below '{self._url}/{prefix}' cannot be listed.")


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
