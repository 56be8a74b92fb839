"""Places in a bucket, in pathlib's words: what is written there is whole or not there."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from napari_superres.errors import MissingDependencyError, OutputError, SettingError
from napari_superres.formats.patience import Patience
from napari_superres.formats.remote import (
    CONNECT_SECONDS,
    FIRST_WAIT_SECONDS,
    REQUEST_SECONDS,
    object_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

READING = Patience(attempts=8, first_wait=FIRST_WAIT_SECONDS)
WRITING = Patience(attempts=8, first_wait=FIRST_WAIT_SECONDS, writing=True)
"""A weekend's result is at stake: more than a minute of bad network is borne."""

MULTIPART = 64 * 1024**2
"""Larger objects are sent in parts; smaller ones are one request each."""


class RemoteStat(NamedTuple):
    """What a server says of an object, under the names of `os.stat`."""

    st_size: int
    st_mtime: float
    etag: str


@dataclass(frozen=True)
class RemotePath:
    """The address of an object, or of all that lies below one. Picklable.

    It has as much of `pathlib.Path` as a job needs. What differs from a disk: folders need not be
    made; each object is written whole, and replaced in one go; nothing can be renamed.

    Parameters
    ----------
    url : str
        ``s3://bucket/...``, without a slash at the end.

    Raises
    ------
    SettingError
        If it is of another kind, or names no object.
    MissingDependencyError
        From the first request, if obstore is not installed.
    """

    url: str

    def __post_init__(self) -> None:
        scheme, _, rest = self.url.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme.lower() != "s3" or not bucket or not key.strip("/"):
            raise SettingError(
                f"'{self.url}' is no address that can be written to.",
                "Use s3://bucket/name.ome.zarr (also for other servers that speak S3: set "
                "AWS_ENDPOINT), or a local folder.",
            )

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        """What it lies in."""
        return RemotePath(self.url.rpartition("/")[0])

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    def with_name(self, name: str) -> RemotePath:
        """Return the neighbour of that name."""
        return RemotePath(f"{self.url.rpartition('/')[0]}/{name}")

    def __str__(self) -> str:
        return self.url

    def __fspath__(self) -> str:
        return self.url

    def read_bytes(self) -> bytes:
        """Return an object's content.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        UnreadableError
            If the server refuses, or fails each time.
        """
        obstore = _library()
        return READING.insist(self.url, lambda: bytes(obstore.get(self._store, self._key).bytes()))

    def write_bytes(self, *parts: bytes) -> None:
        """Write an object whole, in place of any other, and wait until the server has it.

        Parameters
        ----------
        *parts : bytes
            Written one after another.

        Raises
        ------
        OutputError
            If the server refuses, or fails each time.
        """
        data = b"".join(parts)
        self._put(data, use_multipart=len(data) > MULTIPART)

    def create(self, data: bytes) -> bool:
        """Write an object if there is none, and return whether that is so.

        A reply may be lost: then there is one, and it is ours. Compare the content.
        """
        try:
            self._put(data, mode="create", use_multipart=False)
        except OSError as error:
            if isinstance(error.__cause__, _library().exceptions.AlreadyExistsError):
                return False
            raise
        return True

    def swap(self, data: bytes, etag: str) -> bool:
        """Replace an object if it is still the one with that ETag, and return whether it was."""
        try:
            self._put(data, mode={"e_tag": etag}, use_multipart=False)
        except OSError as error:
            if isinstance(error.__cause__, _library().exceptions.PreconditionError):
                return False
            raise
        return True

    def stat(self) -> RemoteStat:
        """Return size, time and ETag of an object.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        UnreadableError
            If the server refuses, or fails each time.
        """
        obstore = _library()
        found = READING.insist(self.url, lambda: obstore.head(self._store, self._key))
        return RemoteStat(found["size"], found["last_modified"].timestamp(), found["e_tag"] or "")

    def is_file(self) -> bool:
        """Return whether there is an object of exactly that name."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def exists(self) -> bool:
        """Return whether there is an object of that name, or one below it."""
        return self.is_file() or bool(self._some_keys())

    def iterdir(self) -> Iterator[RemotePath]:
        """Yield what lies directly below."""
        obstore = _library()
        found = READING.insist(
            self.url, lambda: obstore.list_with_delimiter(self._store, f"{self._key}/")
        )
        names = [entry["path"] for entry in found["objects"]] + list(found["common_prefixes"])
        for name in names:
            yield self / name.rstrip("/").rpartition("/")[2]

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete an object."""
        del missing_ok  # S3 does not tell
        obstore = _library()
        WRITING.insist(self.url, lambda: obstore.delete(self._store, self._key))

    def remove_all(self) -> None:
        """Delete the object, and all that lies below."""
        obstore = _library()
        self.unlink()
        while keys := self._some_keys():
            WRITING.insist(self.url, functools.partial(obstore.delete, self._store, keys))

    def _some_keys(self) -> list[str]:
        """Return the first thousand keys below."""
        obstore = _library()
        listing: list[Any] = READING.insist(
            self.url,
            lambda: next(iter(obstore.list(self._store, f"{self._key}/", chunk_size=1000)), []),
        )
        return [entry["path"] for entry in listing]

    def _put(self, data: bytes, **options: Any) -> None:
        obstore = _library()
        try:
            WRITING.insist(self.url, lambda: obstore.put(self._store, self._key, data, **options))
        except FileNotFoundError as error:
            raise OutputError(
                f"'{self.url}' cannot be written: there is no such bucket.", "Make it first."
            ) from error

    @property
    def _key(self) -> str:
        return self.url.split("/", 3)[3]

    @property
    def _store(self) -> Any:
        return _bucket(self.url.split("/", 3)[2])


Place: TypeAlias = Path | RemotePath
"""Where something is written."""


@functools.lru_cache(maxsize=16)
def _bucket(name: str) -> Any:
    # One a process, so that connections are used again.
    return object_store(f"s3://{name}", "s3", CONNECT_SECONDS, REQUEST_SECONDS)


def _library() -> Any:
    """Return obstore.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    if importlib.util.find_spec("obstore") is None:
        raise MissingDependencyError(
            "Writing to an address needs the package obstore, which is not installed.",
            'Install it with: pip install "napari-superres[remote]".',
        )
    return importlib.import_module("obstore")
