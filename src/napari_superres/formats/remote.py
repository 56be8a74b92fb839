"""Zarr hierarchies behind http, https and s3: time-outs, and patience with servers that stumble."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import re
from typing import TYPE_CHECKING, Any, TypeVar

from zarr.abc.store import Store

from napari_superres.errors import InputError, MissingReaderError
from napari_superres.formats.patience import Patience, RefusedError, is_transient

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
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)


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
    return RemoteStore(inner, url, Patience(attempts, first_wait))


def _obstore(url: str, scheme: str, connect: float, request: float) -> Store:
    from zarr.storage import ObjectStore

    return ObjectStore(object_store(url, scheme, connect, request), read_only=True)


def object_store(url: str, scheme: str, connect: float, request: float) -> Any:
    """Return obstore's own store for what lies below a URL.

    Parameters
    ----------
    url, scheme : str
    connect, request : float
        Longest time to wait for a connection, and for a whole answer, in seconds.
    """
    from datetime import timedelta

    from obstore.store import HTTPStore, S3Store

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
        return S3Store.from_url(url, **options)
    return HTTPStore.from_url(url, **options)


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

    Raises
    ------
    UnreadableError
        If the server fails each time. A job that took that for an answer could not be resumed.
    """
    store = open_store(url)
    inner = getattr(store._store, "store", None)
    if inner is None:  # the fsspec fall-back has no common word for it
        return {}
    import obstore

    try:
        meta = store._patience.insist(f"{url}/{key}", lambda: obstore.head(inner, key))
    except OSError as error:
        if error.__cause__ is not None and is_transient(error.__cause__):
            raise
        log.info("no version of %s/%s: %s", url, key, error)
        return {}
    found = {"size": meta["size"], "modified": meta["last_modified"].isoformat()}
    return {**found, "etag": meta["e_tag"]} if meta.get("e_tag") else found


class RemoteStore(Store):
    """A read-only store that asks again when a server stumbles.

    Parameters
    ----------
    store : zarr.abc.store.Store
        What sends the requests.
    url : str
        What messages call it.
    patience : Patience
    """

    def __init__(self, store: Store, url: str, patience: Patience) -> None:
        super().__init__(read_only=True)
        self._store = store
        self._url = url
        self._patience = patience

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
        try:
            return await self._patiently(key, lambda: self._store.get(key, prototype, byte_range))
        except RefusedError:
            if key.rpartition("/")[2] == ".zattrs":  # arrays need none
                return None
            raise

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return bytes of many files."""
        return list(await asyncio.gather(*(self.get(k, prototype, r) for k, r in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Return whether there is such a file."""
        return await self._patiently(key, lambda: self._store.exists(key))

    async def _patiently(self, key: str, request: Callable[[], Awaitable[T]]) -> T:
        attempt = 1
        while True:
            try:
                return await request()
            # What libraries raise here has no common parent but this one; nothing is swallowed.
            except Exception as error:
                wait = self._patience.wait_after(error, attempt, f"{self._url}/{key}")
            await asyncio.sleep(wait)
            attempt += 1

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
