"""Descriptions of planes in words: given beforehand, or shown to somebody before they are used.

Captioners are trained on photographs: they name things that are not there, and what is named is
drawn. So a caption can be read, and changed or dropped.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_superres.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_log = logging.getLogger(__name__)


class _Review:
    """Somebody who is shown each caption once, however many samples of a plane are drawn."""

    def __init__(self, reviewer: Callable[[int, str], str]) -> None:
        self.reviewer = reviewer
        self.answers: dict[tuple[int, str], str] = {}

    def __call__(self, plane: int, caption: str) -> str:
        if (plane, caption) not in self.answers:
            self.answers[plane, caption] = self.reviewer(plane, caption)
        return self.answers[plane, caption]


_reviews: list[_Review] = []


def parse_captions(text: str) -> dict[int, str]:
    """Return the captions that a user gives, by the number of the plane, from 0.

    Parameters
    ----------
    text : str
        A JSON object such as ``{"0": "Round cells.", "3": ""}``; empty for none.

    Raises
    ------
    SettingError
        If it is anything else.
    """
    try:
        values = json.loads(text or "{}")
        return {int(plane): str(words) for plane, words in dict(values).items()}
    except (ValueError, TypeError) as error:
        raise SettingError(
            f"captions is not a JSON object of planes and words ({error}).",
            'Write for example {"0": "Round cells."}, where 0 is the first plane.',
        ) from error


def write_captions(captions: Mapping[int, str]) -> str:
    """Return captions as the text that `parse_captions` reads."""
    return json.dumps({str(n): captions[n] for n in sorted(captions)}, indent=1, ensure_ascii=False)


@contextmanager
def reviewing(reviewer: Callable[[int, str], str]) -> Iterator[None]:
    """Show each caption to somebody before it is used, as long as the context lasts.

    Parameters
    ----------
    reviewer : callable
        Gets the number of the plane, from 0, and the caption; returns the text to use instead.
        Called once for each caption, in whatever thread restores the plane.
    """
    review = _Review(reviewer)
    _reviews.append(review)
    try:
        yield
    finally:
        _reviews.remove(review)


def reviewed(plane: int, caption: str) -> str:
    """Return the caption as whoever reviews it leaves it, and log it."""
    text = _reviews[-1](plane, caption) if _reviews else caption
    _log.info("plane %d is described as: %s", plane, text)
    return text
