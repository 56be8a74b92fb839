"""Parts of diffusion models: how they get their tensors.

Nothing is fetched, nothing that a file carries is executed, and a part gets exactly its own
tensors.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from napari_superres.errors import WeightsError
from napari_superres.models.checkpoints import DAMAGED, read_tensors
from napari_superres.resources import check_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


_AGAIN = "Fetch the whole folder again."

_OLD_ATTENTION = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


class Found(NamedTuple):
    """The tensors of one part.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        By the file's names.
    source : mapping of str to str
        For each name in the part, the one in the file.
    where : str
        What to call the file in an error.
    """

    tensors: Mapping[str, Tensor]
    source: Mapping[str, str]
    where: str

    @property
    def numbers(self) -> int:
        """How many numbers the part has."""
        return sum(self.tensors[name].numel() for name in self.source.values())


def open_tensors(path: Path, under: str = "state_dict") -> dict[str, Tensor]:
    """Return every tensor of a checkpoint as it is stored, on the CPU.

    The files are many gigabytes long: their pages are read from the disk as tensors are used.

    Parameters
    ----------
    path : Path
        Safetensors, or what ``torch.save`` writes (``.ckpt``, ``.pth``, ``.bin``, ``.pkl``).
        Pickles are never executed.
    under : str
        Name under which the tensors of what ``torch.save`` writes may lie.

    Raises
    ------
    WeightsError
        If the file is missing, truncated or damaged, no weights, or carries code.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file of weights '{path}'.", "Check the path.")
    with path.open("rb") as file:
        head = file.read(9)
    try:
        if head[8:9] == b"{":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        content = content.get(under, content)
        if content and all(isinstance(value, torch.Tensor) for value in content.values()):
            return dict(content)
    except (pickle.UnpicklingError, SafetensorError, OSError, *DAMAGED):
        # The slower reader below says what is wrong, and reads archives from before torch 1.6.
        pass
    return {name: torch.from_numpy(values) for name, values in read_tensors(path).items()}


def open_folder(folder: Path, stem: str, *, half: bool) -> dict[str, Tensor]:
    """Return the tensors of one part of a diffusers folder.

    Parameters
    ----------
    folder : Path
        Of the part, such as ``unet``.
    stem : str
        ``"diffusion_pytorch_model"`` or ``"model"``.
    half : bool
        Whether the file in half precision is preferred, where both are there.

    Raises
    ------
    WeightsError
        If no file of weights is there, or a piece of one is missing.
    """
    kinds = ["", ".fp16"]
    for kind in reversed(kinds) if half else kinds:
        for suffix in (f"{kind}.safetensors", f"{kind}.bin"):
            path = folder / f"{stem}{suffix}"
            if path.is_file():
                return open_tensors(path)
        index = folder / f"{stem}.safetensors.index{kind}.json"
        if index.is_file():
            pieces = sorted(set(_weight_map(index).values()))
            return {k: v for name in pieces for k, v in open_tensors(folder / name).items()}
    raise WeightsError(
        f"'{folder}' has no weights: neither '{stem}.safetensors' nor '{stem}.fp16.safetensors'.",
        _AGAIN,
    )


def read_config(path: Path) -> dict[str, Any]:
    """Return what a JSON file of a diffusers folder says.

    Raises
    ------
    WeightsError
        If it cannot be read, or is no JSON object.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"'{path}' cannot be read ({error}).", _AGAIN) from error
    if not isinstance(values, dict):
        raise WeightsError(f"'{path}' holds no settings by name.", _AGAIN)
    return values


def _weight_map(index: Path) -> dict[str, str]:
    """Return in which file each tensor lies."""
    files = read_config(index).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise WeightsError(f"'{index}' does not say where the tensors are.", _AGAIN)
    return files


def open_part(folder: Path, name: str, *, half: bool = False) -> Found:
    """Return the tensors of one part of a diffusers folder.

    Parameters
    ----------
    folder : Path
        Of the model.
    name : str
        Of the part, such as ``unet``.
    half : bool
        Whether weights in half precision are preferred, where both are there.

    Raises
    ------
    WeightsError
        If the part is not there.
    """
    place = folder / name
    if not (place / "config.json").is_file():
        raise WeightsError(
            f"'{folder}' is not a complete model: it lacks '{name}/config.json'.",
            _AGAIN,
        )
    tensors = open_folder(place, "diffusion_pytorch_model", half=half)
    return Found(tensors, {modern_name(key): key for key in tensors}, str(place))


def build_part(found: Found, kind: Any, dtype: torch.dtype) -> Any:
    """Return one part of a diffusers folder with its weights.

    Parameters
    ----------
    found : Found
        From `open_part`.
    kind : type
        Its class in diffusers.
    dtype : torch.dtype

    Raises
    ------
    WeightsError
        If the part is incomplete, or of another network.
    """
    place = Path(found.where)
    with torch.device("meta"):
        part = kind.from_config(read_config(place / "config.json"))
    fill(part, found.tensors, found.source, name=place.name, where=found.where, dtype=dtype)
    return part


def check_room(name: str, numbers: int, dtype: torch.dtype, *, halves: bool = True) -> None:
    """Refuse a model that main memory, through which all its numbers go, does not hold.

    Parameters
    ----------
    name : str
        Of the model.
    numbers : int
        How many it has.
    dtype : torch.dtype
        What they become.
    halves : bool
        Whether half precision would help.

    Raises
    ------
    ResourceError
    """
    helps = halves and dtype == torch.float32
    half = " precision='bfloat16', which takes half, or" if helps else ""
    check_memory(
        numbers * dtype.itemsize,
        f"Loading the {numbers / 1e6:.3g} million numbers of {name} as {dtype}",
        f"Use{half} a computer with more memory.",
    )


def modern_name(name: str) -> str:
    """Return today's name of a tensor that diffusers saved before 2023."""
    for old, new in _OLD_ATTENTION.items():
        name = name.replace(old, new)
    return name


def fill(
    part: nn.Module,
    tensors: Mapping[str, Tensor],
    source: Mapping[str, str],
    *,
    name: str,
    where: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Give a part made on the meta device its tensors: all of them, and no others.

    Parameters
    ----------
    part : Module
        Its parameters are replaced, and get the type `dtype`.
    tensors : mapping of str to Tensor
        By the file's names.
    source : mapping of str to str
        For each name in the part, the one in the file.
    name, where : str
        What to call the part, and the file, in an error.
    dtype : torch.dtype

    Raises
    ------
    WeightsError
        If tensors are missing, too many, of another shape, or not finite.
    """
    check_fit(part, tensors, source, name=name, where=where)
    state = {}
    for key, expected in part.state_dict().items():
        tensor = tensors[source[key]]
        # NaN and infinity survive a sum, which is the fastest way to look at every number.
        if not tensor.is_floating_point() or not tensor.sum(dtype=torch.float32).isfinite():
            raise WeightsError(
                f"'{where}' is unusable: its tensor '{source[key]}' is not made of finite numbers.",
                "Fetch the file again.",
            )
        state[key] = tensor.reshape(expected.shape).to(dtype, copy=True).contiguous()
    part.load_state_dict(state, strict=True, assign=True)
    part.requires_grad_(False).eval()


def check_fit(
    part: nn.Module,
    tensors: Mapping[str, Tensor],
    source: Mapping[str, str],
    *,
    name: str,
    where: str,
) -> None:
    """Refuse tensors that are not all of a part's, and no others; none is read for it.

    Parameters
    ----------
    part, tensors, source, name, where
        As for `fill`.

    Raises
    ------
    WeightsError
        If tensors are missing, too many, or of another shape.
    """
    expected = {key: value.shape for key, value in part.state_dict().items()}
    lacking = [key for key in expected if key not in source]
    if lacking:
        raise WeightsError(
            f"'{where}' lacks {len(lacking)} of the {len(expected)} tensors of the {name}, "
            f"the first of them '{lacking[0]}'.",
            "It is incomplete, or of another network; fetch the file again.",
        )
    foreign = [key for key in source if key not in expected]
    if foreign:
        raise WeightsError(
            f"'{where}' has {len(foreign)} tensors that the {name} does not know, the first of "
            f"them '{source[foreign[0]]}'.",
            "It is of another network.",
        )
    for key, shape in expected.items():
        found = tensors[source[key]].shape
        # Attention of the autoencoder is published as convolutions of one pixel.
        if found[: len(shape)] != shape or found.numel() != shape.numel():
            raise WeightsError(
                f"'{where}' holds '{source[key]}' with shape {tuple(found)}; the {name} "
                f"has {tuple(shape)}.",
                "It is of another network.",
            )
