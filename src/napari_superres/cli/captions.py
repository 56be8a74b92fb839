"""What a captioner says of each plane: shown, and written to a file, to be read and changed."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_superres.cli.console import talk
from napari_superres.errors import SettingError
from napari_superres.formats.remote import is_url
from napari_superres.formats.suffixes import split_suffix
from napari_superres.models.captions import parse_captions, reviewing, write_captions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_superres.job.workers import Workers
    from napari_superres.plan import Plan

    Begin = Callable[[Plan, str], None]


def check_shown(plan: Plan, place: Workers) -> None:
    """Refuse captions that would be made in other processes, where nobody sees them.

    Raises
    ------
    SettingError
    """
    if place.elsewhere and dict(plan.options).get("captioner"):
        raise SettingError(
            "A captioner works in this process alone, where its captions can be shown.",
            "Describe the planes on one device, then compute elsewhere with the option "
            "captions=@FILE in place of captioner.",
        )


@contextmanager
def captions_shown(*, overwrite: bool, quiet: bool) -> Iterator[Begin]:
    """Show captions as long as the context lasts, and keep them in a file for each image.

    It lies beside the result, or in the working folder if that is in a bucket. What it says of
    planes that an earlier run has finished stays.

    Parameters
    ----------
    overwrite : bool
        Whether results of earlier runs count for nothing.
    quiet : bool

    Yields
    ------
    callable
        To be called with the plan and the place of each result before its planes are restored.
    """
    path = Path()
    captions: dict[int, str] = {}
    written: set[Path] = set()

    def begin(plan: Plan, target: str) -> None:
        nonlocal path, captions
        options = dict(plan.options)
        if not options.get("captioner"):
            return
        folder = Path() if is_url(target) else Path(target).parent
        path = folder / f"{split_suffix(target)[0]}_captions.json"
        earlier = path.read_text("utf-8") if path.is_file() and not overwrite else ""
        captions = {**parse_captions(earlier), **parse_captions(str(options["captions"]))}

    def show(plane: int, caption: str) -> str:
        captions[plane] = caption
        path.write_text(write_captions(captions), "utf-8")
        written.add(path)
        if not quiet:
            talk(f"Plane {plane} is described as: {caption}")
        return caption

    with reviewing(show):
        yield begin
    if not quiet:
        for file in sorted(written):
            talk(f"To change a description, edit {file} and add --option captions=@{file}.")
