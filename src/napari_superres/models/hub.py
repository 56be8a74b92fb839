"""Models that are folders on the Hugging Face hub: where they are, and how to get them."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_superres.errors import MissingDependencyError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

UNUSED = ("*.ckpt", "*.onnx*", "*.msgpack", "*.h5", "*.fp16.*", "*non_ema*", "*.png", "*.jpg")
"""What published folders hold beside the model: the same weights in other forms, and pictures."""


def local_place(name: str) -> Path | None:
    """Return a path as it is, an id as its folder in the hub's cache; None if it is not here."""
    path = Path(os.path.expanduser(name))
    if path.exists():
        return path
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return None
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):  # a path such as './model' is no id
        return None


def find_folder(wish: str, ids: Sequence[str], model: str) -> Path:
    """Return the folder of a diffusers model on this computer.

    Parameters
    ----------
    wish : str
        A folder, or an id on the Hugging Face hub; empty looks for `ids`.
    ids : sequence of str
        Where the model is published, best first.
    model : str
        What to call it in an error.

    Raises
    ------
    WeightsError
        If it is not here; nothing is fetched.
    """
    for name in (wish,) if wish else ids:
        folder = local_place(name)
        if folder is not None and folder.is_dir():
            return folder
    raise WeightsError(
        f"'{model}' needs the folder {' or '.join((wish,) if wish else ids)}, which is not on this "
        "computer; nothing is downloaded unasked.",
        f"Fetch it with 'hf download {wish or ids[0]}', or name a folder with option base=PATH.",
    )


def fetch_folder(ids: Sequence[str], model: str) -> Path:
    """Fetch the folder of a model into the hub's cache, and return where it is.

    A transfer that was cut off goes on where it stopped.

    Parameters
    ----------
    ids : sequence of str
        Where the model is published, best first; the next is tried when one is not there.
    model : str
        What to call it in an error.

    Raises
    ------
    MissingDependencyError
        If the extra ``diffusion`` is not installed.
    WeightsError
        If it cannot be had.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingDependencyError(
            f"'{model}' needs the package 'huggingface_hub', which is not installed.",
            'Use pip install "napari-superres[diffusion]".',
        )
    from huggingface_hub import snapshot_download

    failures = []
    for name in ids:
        try:
            return Path(snapshot_download(name, ignore_patterns=list(UNUSED)))
        except (OSError, ValueError, RuntimeError) as error:
            failures.append(f"{name}: {str(error).strip().partition(chr(10))[0]}")
    raise WeightsError(
        f"'{model}' could not be downloaded ({'; '.join(failures)}).",
        f"Try again later, which goes on where it stopped; or, without a network, run 'hf download "
        f"{ids[0]}' elsewhere, bring the folder here and name it with option base=PATH.",
    )
