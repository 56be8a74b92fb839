"""Where a Zarr hierarchy lies, and what its metadata documents say. No pixel is read here."""

from __future__ import annotations

import functools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from napari_superres.errors import InputError, SuperresError, UnreadableError
from napari_superres.formats.advice import ACCESS, METADATA
from napari_superres.formats.patience import RefusedError
from napari_superres.formats.remote import identity as remote_identity
from napari_superres.formats.remote import is_url, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zarr.abc.store import Store

T = TypeVar("T")

DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Names of metadata documents."""


@dataclass(frozen=True)
class Node:
    """A group or an array of a Zarr hierarchy.

    Parameters
    ----------
    root : str
        Absolute path of a folder, or a URL.
    path : str
        Where the node lies below `root`, with ``/``; empty for the root itself.
    zarr_format : int
        2 or 3.
    is_array : bool
        False for a group.
    attributes : mapping
        What the user, or OME, says of it.
    document : mapping
        The metadata document of an array (``zarr.json`` or ``.zarray``); empty for groups.
    """

    root: str
    path: str
    zarr_format: int
    is_array: bool
    attributes: Mapping[str, Any]
    document: Mapping[str, Any]

    @property
    def where(self) -> str:
        """What messages call it."""
        return join(self.root, self.path)


def absolute_root(path: str | os.PathLike[str]) -> str:
    """Return a folder's absolute path, or a URL without its last slash."""
    text = os.fspath(path)
    return text.rstrip("/") if is_url(text) else os.path.abspath(text)


def join(root: str, path: str) -> str:
    """Return the path or URL of what lies at `path` below `root`."""
    if not path:
        return root
    return f"{root}/{path}" if is_url(root) else str(Path(root, *path.split("/")))


def store_at(root: str) -> Store:
    """Return the store that reads a folder or a URL.

    Raises
    ------
    MissingDependencyError
        If a URL needs a package that is not installed.
    """
    return _remote_store(root) if is_url(root) else LocalStore(root, read_only=True)


@functools.lru_cache(maxsize=16)
def _remote_store(root: str) -> Store:
    # One a process, so that connections are used again.
    return open_store(root)


def read_text(root: str, key: str) -> str | None:
    """Return a small file below `root`, or None if there is none.

    Raises
    ------
    UnreadableError
        If it is there and cannot be read, or is no text.
    """
    try:
        data = sync(store_at(root).get(key, default_buffer_prototype()))
        return None if data is None else data.to_bytes().decode()
    except SuperresError:  # whoever is patient with a network has said what is wrong
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"'{join(root, key)}' cannot be read: {error}.", ACCESS) from error


def read_document(node: Node, name: str) -> bytes | None:
    """Return a file below a node as it is, or None if it is not there."""
    key = f"{node.path}/{name}" if node.path else name
    data = sync(store_at(node.root).get(key, default_buffer_prototype()))
    return None if data is None else data.to_bytes()


def read_json(root: str, key: str) -> dict[str, Any] | None:
    """Return a metadata document, or None if there is none.

    Raises
    ------
    UnreadableError
        If it is not a JSON object.
    """
    text = read_text(root, key)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(
            f"'{join(root, key)}' is not valid JSON ({error}).",
            "The file is damaged or was not written to its end; restore it from a copy.",
        ) from error
    if not isinstance(value, dict):
        raise UnreadableError(f"'{join(root, key)}' holds no JSON object.", METADATA)
    return value


def open_node(root: str, path: str = "") -> Node | None:
    """Return the group or array at a path, or None if there is neither.

    Consolidated metadata is never looked at: a stale copy of it shows shapes of the past. Where a
    server forbids to read one document, the others are looked for all the same.

    Parameters
    ----------
    root : str
        From `absolute_root`.
    path : str
        Below it, checked by `safe_path`.

    Raises
    ------
    UnreadableError
        If a metadata document is damaged.
    RefusedError
        If a server forbids to read one, and no other is there.
    """
    prefix = f"{path}/" if path else ""
    refusals: list[RefusedError] = []

    def look(name: str) -> dict[str, Any] | None:
        try:
            return read_json(root, prefix + name)
        except RefusedError as error:
            refusals.append(error)
            return None

    document = look("zarr.json")
    if document is not None:
        kind = document.get("node_type")
        if document.get("zarr_format") != 3 or kind not in ("array", "group"):
            raise UnreadableError(
                f"'{join(root, prefix + 'zarr.json')}' describes neither a group nor an array of "
                "Zarr version 3.",
                METADATA,
            )
        attributes = _object(document.get("attributes"))
        is_array = kind == "array"
        return Node(root, path, 3, is_array, attributes, document if is_array else {})
    array = look(".zarray")
    group = None if array is not None else look(".zgroup")
    if array is None and group is None:
        if refusals:
            raise refusals[0]
        return None
    attributes = read_json(root, f"{prefix}.zattrs") or {}
    return Node(root, path, 2, array is not None, attributes, array or {})


def if_shown(look: Callable[[], T]) -> T | None:
    """Return what a look at something finds, or None if a server forbids to read it.

    For what need not be there: see `RefusedError`.

    Parameters
    ----------
    look : callable
    """
    try:
        return look()
    except RefusedError:
        return None


def is_image(root: str | os.PathLike[str]) -> bool:
    """Return whether an OME-Zarr image is at a path or URL: a group that says so.

    Raises
    ------
    UnreadableError
        If a metadata document is damaged, or a server fails.
    """
    node = open_node(os.fspath(root))
    return node is not None and "multiscales" in (node.attributes.get("ome") or node.attributes)


def safe_path(root: str, path: object) -> str:
    """Return a path that metadata gives, once it is known to stay below `root`.

    Parameters
    ----------
    root : str
        From `absolute_root`.
    path : object
        What the metadata says.

    Returns
    -------
    str
        With ``/`` and without dots.

    Raises
    ------
    InputError
        If it is no path, leaves the folder by its words, or by a symbolic link.
    """
    if not isinstance(path, str) or not path:
        raise InputError(
            f"The metadata of '{root}' names a dataset by {path!r}, which is no path.", METADATA
        )
    parts = PurePosixPath(path).parts
    leaves = path.startswith("/") or ".." in parts or "\\" in path or re.match(r"\w+:", path)
    if leaves:
        raise InputError(
            f"The metadata of '{root}' names the dataset '{path}', which lies outside of it.",
            "Such a file is not opened; ask whoever made it.",
        )
    clean = "/".join(part for part in parts if part != ".")
    if not is_url(root):
        check_inside(root, Path(root, clean))
    return clean


def check_inside(root: str, place: str | Path) -> None:
    """Refuse a place that symbolic links lead out of a folder.

    Raises
    ------
    InputError
    """
    inside = os.path.realpath(root)
    real = os.path.realpath(place)
    if real != inside and not real.startswith(os.path.join(inside, "")):
        raise InputError(
            f"'{place}' is a link to '{real}', outside of '{root}'.",
            "Copy the image with its links followed (for example 'cp -rL'), and open the copy.",
        )


def identity(root: str, key: str) -> dict[str, Any]:
    """Return what changes when a metadata document does: its size and time, or its ETag.

    Returns
    -------
    dict
        JSON values; empty where the server tells nothing.
    """
    if is_url(root):
        return remote_identity(root, key)
    stat = os.stat(join(root, key))
    return {"size": stat.st_size, "modified": stat.st_mtime_ns}


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
