"""Tensors from a file of weights, without running anything that the file may carry.

Two kinds of file are read, told apart by their first bytes and not by their names: safetensors, and
what ``torch.save`` writes. The second is a pickle, and a pickle can run any program when it is
loaded; torch's restricted loader accepts tensors and plain containers and nothing else.
"""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_superres.errors import WeightsError
from napari_superres.resources import check_memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_WRAPPERS = ("params_ema", "params", "state_dict", "model")
"""Keys under which training programs put the network's tensors, best first: the running average
of the weights (``params_ema``) is what Real-ESRGAN itself prefers."""

_TYPES: dict[str, Any] = {
    **dict.fromkeys(("F16", "BF16", "F32", "F64"), np.float32),
    **dict.fromkeys(("I8", "U8", "I16", "I32", "I64", "BOOL")),
}
"""What safetensors' types become; None keeps them."""

_AGAIN = "Fetch the file again."

DAMAGED = (
    *(RuntimeError, EOFError, ValueError, LookupError, AttributeError),
    *(TypeError, AssertionError, struct.error),
)
"""What torch and pickle raise on bytes that were cut off or changed."""


def read_tensors(path: Path, *, integers: bool = False) -> dict[str, np.ndarray]:
    """Return every tensor of a checkpoint.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file, or a ``.pth`` file as ``torch.save`` writes it. The network may lie
        under ``params_ema``, ``params``, ``state_dict`` or ``model``, and its names may start with
        ``module.``.
    integers : bool
        Whether tensors of integers and truth values are allowed, such as the index tables of
        attention layers; they keep their type.

    Returns
    -------
    dict of str to np.ndarray, float32
        By the file's own names. float16, bfloat16 and float64 are converted; each array is a copy
        that belongs to the caller.

    Raises
    ------
    WeightsError
        If the file is missing, empty, truncated, damaged, no weights, or carries code; or if a
        tensor holds integers, NaN or infinity.
    ResourceError
        If its numbers do not fit into memory.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise WeightsError(
            f"'{path}' {reason} ({error.strerror}).", "Check its path and permissions."
        ) from error
    if not head:
        raise WeightsError(f"'{path}' is empty.", _AGAIN)
    if head.startswith(b"PK\x03\x04"):
        tensors = _read_archive(path)
    elif head[8:9] == b"{":
        tensors = _read_safetensors(path)
    elif head.startswith(b"\x80"):
        tensors = _unwrap(_load(path), path)
    else:
        raise _no_weights(path, head)
    if not tensors:
        raise WeightsError(f"'{path}' holds no tensors.", "Use a file of trained weights.")
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32 and not integers:
            raise WeightsError(
                f"'{path}' holds '{name}' as {tensor.dtype}; trained weights are floating-point "
                "numbers.",
                "Use the weights that were trained, not a quantised version of them.",
            )
        if not np.isfinite(tensor).all():
            raise WeightsError(
                f"'{path}' is unusable: its tensor '{name}' holds NaN or infinity.",
                "Use a checkpoint of a training run that converged.",
            )
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Return what a safetensors file says about itself; nothing for other files.

    Parameters
    ----------
    path : Path
        A file that `read_tensors` accepts.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except SafetensorError:  # a torch file, which says nothing
        return {}


def _no_weights(path: Path, head: bytes) -> WeightsError:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body")):
        return WeightsError(
            f"'{path}' is a web page and not a file of weights.",
            "Fetch it again through the link to the file itself, not to the page about it.",
        )
    if text.startswith(b"version https://git-lfs"):
        return WeightsError(
            f"'{path}' is a Git LFS pointer to weights, not the weights.",
            "Fetch the file itself, for example with 'git lfs pull'.",
        )
    return WeightsError(
        f"'{path}' is not a file of weights: neither safetensors nor what torch.save writes.",
        "Use a .safetensors or .pth file.",
    )


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            for name, dtype in types.items():
                if dtype not in _TYPES:
                    raise _wrong_type(path, name, dtype)
            tensors = {
                name: np.array(file.get_tensor(name), _TYPES[dtype])
                for name, dtype in types.items()
                if dtype != "BF16"
            }
        if len(tensors) < len(types):  # numpy has no bfloat16
            with safe_open(path, framework="pt") as file:
                tensors |= {
                    name: file.get_tensor(name).float().numpy()
                    for name, dtype in types.items()
                    if dtype == "BF16"
                }
    except SafetensorError as error:
        raise WeightsError(f"'{path}' is truncated or damaged ({error}).", _AGAIN) from error
    return {name: tensors[name] for name in types}


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    """Read what ``torch.save`` has written since torch 1.6: a ZIP archive around a pickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            damaged = archive.testzip()  # torch itself does not look at the checksums
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise WeightsError(f"'{path}' is truncated or damaged ({error}).", _AGAIN) from error
    if damaged is not None:
        raise WeightsError(f"'{path}' is damaged: its part '{damaged}' fails its checksum.", _AGAIN)
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in members):
        raise WeightsError(
            f"'{path}' is a TorchScript program: it carries code, which is not run.",
            "Use the weights as a plain state dict or as safetensors.",
        )
    if not any(name.endswith("/data.pkl") for name in members):
        raise WeightsError(
            f"'{path}' is an archive without weights in it.", "Unpack it and use the file inside."
        )
    return _unwrap(_load(path), path)


def _load(path: Path) -> Any:
    """Return what ``torch.save`` was given, if it is made of tensors and plain containers."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what matters is raised
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"(?:GLOBAL|class|function) ([\w.]+\.[\w.]+)", str(error))
        if name is None:
            raise WeightsError(
                f"'{path}' is damaged, or pickles something else than tensors, which may carry "
                "code; it was not run.",
                "Use a file with tensors only, such as safetensors.",
            ) from error
        raise WeightsError(
            f"'{path}' carries code ('{name[1]}') beside its tensors; it was not run.",
            "Use a file with tensors only, such as safetensors.",
        ) from error
    except DAMAGED as error:
        reason = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
        raise WeightsError(f"'{path}' is truncated or damaged ({reason}).", _AGAIN) from error


def _unwrap(content: Any, path: Path) -> dict[str, np.ndarray]:
    """Return the network's tensors out of whatever a training program wrapped around them."""
    import torch

    for _ in _WRAPPERS:  # no endless chain: a dictionary may hold itself
        if isinstance(content, dict):
            found = (content[key] for key in _WRAPPERS if isinstance(content.get(key), dict))
            content = next(found, content)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise WeightsError(
            f"'{path}' holds a {type(content).__name__} where tensors by name were expected.",
            "Use a checkpoint that holds a state dict.",
        )
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor):
            raise WeightsError(
                f"'{path}' holds a {type(tensor).__name__} ('{name}') among its tensors.",
                "Use a checkpoint of a network alone.",
            )
        if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
            raise _wrong_type(path, name, str(tensor.dtype).removeprefix("torch."))
        if tensor.is_nested or tensor.is_meta:
            raise WeightsError(
                f"'{path}' holds '{name}' without numbers of its own.",
                "Use a checkpoint that was saved from a whole network.",
            )
    # A tensor may repeat few numbers over a shape that no memory holds.
    check_memory(
        4 * sum(tensor.numel() for tensor in content.values()),
        f"Reading '{path}'",
        "Use a computer with more memory.",
    )
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy().copy()
        for name, tensor in _without_prefix(content).items()
    }


def _without_prefix(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Drop the ``module.`` that training on several devices puts before every name."""
    if content and all(name.startswith("module.") for name in content):
        return {name.removeprefix("module."): tensor for name, tensor in content.items()}
    return content


def _wrong_type(path: Path, name: str, dtype: str) -> WeightsError:
    return WeightsError(
        f"'{path}' holds '{name}' as {dtype}, which is no type of trained weights.",
        "Use the weights that were trained, not a quantised version of them.",
    )
