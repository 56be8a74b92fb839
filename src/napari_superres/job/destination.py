"""Where a result goes, under which name it grows, and how it gets its own."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_superres.errors import OutputError, ResourceError, SettingError, SuperresError
from napari_superres.formats import is_image_folder
from napari_superres.formats.remote import is_url
from napari_superres.formats.remote_path import Place, RemotePath
from napari_superres.formats.suffixes import split_suffix
from napari_superres.formats.zarr_store import DOCUMENTS, is_image
from napari_superres.models.cache import cache_folder
from napari_superres.resources import disk_full, human_bytes

if TYPE_CHECKING:
    from napari_superres.image import Image

Kind = Literal["zarr", "tiff", "png"]

KINDS: dict[str, Kind] = {
    ".ome.zarr": "zarr",
    ".zarr": "zarr",
    ".ome.tiff": "tiff",
    ".ome.tif": "tiff",
    ".ome.btf": "tiff",
    ".tiff": "tiff",
    ".tif": "tiff",
    ".png": "png",
}
"""What can be written, by suffix."""

COMPRESSED = 0.4
"""Least share of its size that a result takes on the disk.

The codec made 0.39 of a noisy microscope picture at x4, the least favourable case.
"""


@dataclass(frozen=True)
class Destination:
    """A result's path, and the folder beside it in which it grows.

    In a bucket nothing can be renamed: there the blocks grow in their place, and what a job knows
    of itself lies in a folder of this computer.

    Parameters
    ----------
    path : Path or RemotePath
        Absolute, with symbolic links followed.
    kind : {"zarr", "tiff", "png"}
    control : Path, optional
        The folder of the unfinished result, where that is not beside it.
    inner : bool
        Whether it lies inside another result, whose job sees to it that nobody else is at work.
    """

    path: Place
    kind: Kind
    control: Path | None = None
    inner: bool = False

    @property
    def part(self) -> Path:
        """The folder of the unfinished result."""
        if self.control is not None:
            return self.control
        assert isinstance(self.path, Path)
        return self.path.with_name(self.path.name + ".part")

    @property
    def beside(self) -> RemotePath | None:
        """What lies beside an unfinished result in a bucket, for other machines."""
        if isinstance(self.path, RemotePath) and not self.inner:
            return self.path.with_name(self.path.name + ".part")
        return None

    @property
    def root(self) -> Place:
        """The Zarr hierarchy inside it, or in its place in a bucket."""
        return self.path if isinstance(self.path, RemotePath) else self.part / "image.zarr"

    @property
    def lock(self) -> Path:
        """The file that says who is at work."""
        return self.part / "lock"

    @property
    def manifest(self) -> Path:
        """What is being made, and the list of finished blocks."""
        return self.part / "manifest.jsonl"

    def lock_of(self, name: str) -> Path:
        """Return the file that says who is at work on a part of the blocks."""
        return self.part / f"lock.{name}"

    def manifest_of(self, name: str) -> Path:
        """Return the list of the blocks that were finished as a part of a job."""
        return self.part / f"manifest.{name}.jsonl"

    def part_locks(self) -> list[Path]:
        """Return the locks of all parts that were ever begun."""
        return sorted(self.part.glob("lock.*"))

    def part_manifests(self) -> list[Path]:
        """Return the lists of all parts."""
        return sorted(self.part.glob("manifest.*.jsonl"))

    @property
    def scratch(self) -> Path:
        """Where the file of a block grows before it takes its place."""
        return self.part / "scratch"

    @property
    def exported(self) -> Path:
        """The single file that is made of the blocks, if the result is one."""
        return self.part / f"exported{split_suffix(self.path.name)[1]}"

    @property
    def old(self) -> Path:
        """Where an older result stands aside while the new one takes its name."""
        return self.part / "old"

    def labels(self, name: str) -> Destination:
        """Return where a label image goes that lies in the result's folder."""
        control = self.part / "labels" / name if isinstance(self.path, RemotePath) else None
        return Destination(self.root / "labels" / name, "zarr", control, inner=True)

    def is_finished(self) -> bool:
        """Return whether the result is there.

        On a disk nothing carries its name before it is complete; in a bucket nothing is an image.
        """
        if isinstance(self.path, RemotePath):
            return is_image(self.path)
        return os.path.lexists(self.path)


def destination(path: str | os.PathLike[str]) -> Destination:
    """Return where a result goes, without looking at the disk.

    Raises
    ------
    SettingError
        If the suffix is not one that can be written, or the address not one of a bucket.
    """
    text = os.fspath(path)
    if is_url(text):
        return _in_bucket(text.rstrip("/"))
    kind = KINDS.get(split_suffix(text)[1])
    if kind is None:
        raise SettingError(
            f"'{text}' has no suffix that can be written.", f"Use one of {', '.join(KINDS)}."
        )
    return Destination(Path(os.path.realpath(os.path.expanduser(text))), kind)


def _in_bucket(url: str) -> Destination:
    path = RemotePath(url)
    if KINDS.get(split_suffix(url)[1]) != "zarr":
        raise SettingError(
            f"'{url}' cannot be written: at an address only OME-Zarr can.",
            "Use a name that ends in .ome.zarr, or write to a local folder.",
        )
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    return Destination(path, "zarr", cache_folder() / "jobs" / f"{path.name}-{digest}.part")


def check_destination(target: Destination, image: Image, *, overwrite: bool) -> None:
    """Refuse to start when the result could harm the source, or cannot come to be.

    Parameters
    ----------
    target : Destination
    image : Image
        What will be written.
    overwrite : bool
        Whether an existing result may be replaced.

    Raises
    ------
    OutputError
        If the path is the source's own, inside or around it; if something is there and `overwrite`
        is False; if the folder is missing or cannot be written.
    """
    if isinstance(target.path, RemotePath):
        _check_sources_apart(target.path, image)
        target.part.parent.mkdir(parents=True, exist_ok=True)
        check_free(target, overwrite=overwrite)
        return
    path, folder = target.path, target.path.parent
    for source in _sources(image):
        for place in (path, target.part):
            if _contains(source, place) or _contains(place, source):
                raise OutputError(
                    f"The result '{path}' and its source '{source}' are the same or inside each "
                    "other: the source would be lost.",
                    "Choose another name.",
                )
    check_folder(target)
    check_free(target, overwrite=overwrite)
    if not os.access(folder, os.W_OK):
        raise OutputError(f"'{folder}' cannot be written: permission denied.", "Choose another.")


def check_folder(target: Destination) -> None:
    """Refuse a place in a folder that is not there. Buckets have no folders.

    Raises
    ------
    OutputError
    """
    if isinstance(target.path, Path) and not target.path.parent.is_dir():
        raise OutputError(
            f"There is no folder '{target.path.parent}' for '{target.path.name}'.",
            "Make it first.",
        )


def check_free(target: Destination, *, overwrite: bool) -> None:
    """Refuse to replace a result, unless that is wanted, and what is no result at all.

    Raises
    ------
    OutputError
    """
    if not overwrite and target.is_finished():
        raise OutputError(
            f"'{target.path}' exists already.", "Choose another name, or allow it: overwrite=True."
        )
    path = target.path
    if isinstance(path, Path) and path.is_dir() and any(path.iterdir()):
        if target.kind == "zarr" and is_image_folder(str(path)):
            return
        raise OutputError(
            f"'{path}' is a folder of something else than an image, which is not replaced.",
            "Choose another name, or move it elsewhere.",
        )


def check_space(target: Destination, nbytes: int, there: int = 0, files: int | None = None) -> None:
    """Refuse to start when the disk is certainly too small.

    Parameters
    ----------
    target : Destination
    nbytes : int
        Size of all levels, uncompressed.
    there : int
        Bytes that an earlier run has already written.
    files : int, optional
        How often the pixels are stored at the same time; None for the blocks, and the file that is
        made of them.

    Raises
    ------
    ResourceError
    """
    if isinstance(target.path, RemotePath):
        return
    needed = space_for(target, nbytes, files) - there
    free = shutil.disk_usage(target.path.parent).free
    if needed > free:
        raise ResourceError(
            f"'{target.path}' needs about {human_bytes(needed)}, and its disk has "
            f"{human_bytes(free)} left.",
            "Make space, or write to another disk.",
        )


def space_for(target: Destination, nbytes: int, files: int | None = None) -> int:
    """Return how many bytes a result takes on the disk at least, as `check_space` counts."""
    return int(nbytes * COMPRESSED * (files or (2 if target.kind == "tiff" else 1)))


def explained(error: OSError, path: Place) -> SuperresError:
    """Return what an error of the operating system means for a result.

    Parameters
    ----------
    error : OSError
        Raised while writing.
    path : Path or RemotePath
        The result.
    """
    if isinstance(error, SuperresError):
        return error
    full = disk_full(path, error, "Make space and run the same again: what is done is kept.")
    return full or OutputError(
        f"'{path}' could not be written: {error.strerror or error}.",
        "What is done is kept; run the same again once the folder can be written.",
    )


def take_name(target: Destination, finished: Place) -> None:
    """Give a finished result its name, in place of an older one.

    Parameters
    ----------
    target : Destination
    finished : Path or RemotePath
        Below ``target.part``; in a bucket it has its name already.
    """
    if isinstance(target.path, RemotePath) or isinstance(finished, RemotePath):
        return
    if os.path.lexists(target.path):
        if finished.is_file() and not target.path.is_dir():
            os.replace(finished, target.path)
            return
        # No system can swap two folders at once; `put_back` ends what a crash here leaves behind.
        remove(target.old)
        os.rename(target.path, target.old)
    os.rename(finished, target.path)


def put_back(target: Destination) -> None:
    """Give an older result its name again, if a crash came just before the new one took it."""
    if os.path.lexists(target.old):  # never in a bucket
        if os.path.lexists(target.path):
            remove(target.old)
        else:
            os.rename(target.old, target.path)


def remove(path: Place) -> None:
    """Delete a file, a link or a whole folder, if it is there."""
    if isinstance(path, RemotePath):
        for name in DOCUMENTS:  # first of all it is no image any more
            (path / name).unlink()
        path.remove_all()
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_sources_apart(path: RemotePath, image: Image) -> None:
    """Refuse a result at the address of its source."""
    source = str(image.source.get("path", "")).rstrip("/")
    if f"{path}/".startswith(f"{source}/") or f"{source}/".startswith(f"{path}/"):
        raise OutputError(
            f"The result '{path}' and its source '{source}' are the same or inside each other: "
            "the source would be lost.",
            "Choose another name.",
        )


def _sources(image: Image) -> list[Path]:
    found = [image.source.get("path"), *(image.source.get("files") or ())]
    return [Path(os.path.realpath(p)) for p in found if isinstance(p, str) and not is_url(p)]


def _contains(outer: Path, inner: Path) -> bool:
    """Return whether `inner` is `outer` or inside it, by name or as the same file."""
    outer_name, inner_name = os.path.normcase(outer), os.path.normcase(inner)
    if inner_name == outer_name or inner_name.startswith(os.path.join(outer_name, "")):
        return True
    return any(_is_same(outer, place) for place in (inner, *inner.parents))


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two names are those of one file; what is not there yet has no other name."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
