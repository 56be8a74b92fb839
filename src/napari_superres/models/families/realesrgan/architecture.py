"""What a Real-ESRGAN checkpoint is, told from the names and shapes of its tensors alone.

No framework is imported here: the torch networks, the ncnn engine and the weights manager all start
from an `Architecture`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from napari_superres.errors import WeightsError
from napari_superres.models.families.realesrgan.names import official_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Shape = tuple[int, ...]

BLOCK_RADIUS = 15
"""Receptive radius of one RRDB: three dense blocks of five 3 x 3 convolutions."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that fix a network of the Real-ESRGAN family.

    ::

        compact  conv  [PReLU conv] x blocks  PReLU conv  pixel shuffle  + nearest(input)
        rrdb     unshuffle  conv  RRDB x blocks  conv  + skip  [nearest x2  conv] x ups  conv conv

    Parameters
    ----------
    kind : {"rrdb", "compact"}
        RRDBNet, or SRVGGNetCompact.
    samples : int
        Samples a pixel, in and out.
    features : int
        Feature maps between the blocks.
    blocks : int
        Number of RRDBs, or of convolutions between the first and the last one.
    growth : int
        Feature maps that each convolution of a dense block adds; 0 for *compact*.
    scale : int
        Scale factor.
    unshuffle : int
        Side of the square of input pixels that *rrdb* folds into samples first: 1, 2 (x2plus) or 4.

    References
    ----------
    Wang X, Xie L, Dong C, Shan Y. Real-ESRGAN. ICCV Workshops 2021.
    Wang X et al. ESRGAN. ECCV Workshops 2018.
    """

    kind: Literal["rrdb", "compact"]
    samples: int
    features: int
    blocks: int
    growth: int
    scale: int
    unshuffle: int = 1

    @property
    def ups(self) -> int:
        """Number of doublings between the features and the output; 0 for *compact*."""
        return (self.scale * self.unshuffle).bit_length() - 1 if self.kind == "rrdb" else 0

    @property
    def multiple(self) -> int:
        """The network's input sides are multiples of this."""
        return self.unshuffle

    @property
    def body_radius(self) -> int:
        """Receptive radius of everything before the upsampler, in feature pixels."""
        return BLOCK_RADIUS * self.blocks + 2 if self.kind == "rrdb" else self.blocks + 2

    @property
    def tail_radius(self) -> int:
        """How many feature pixels around a feature pixel its part of the output is made from."""
        if self.kind == "compact":
            return 0
        width = self.scale * self.unshuffle
        low, high = self._tail_reach(0)[0], self._tail_reach(width - 1)[1]
        return max(-low, high)

    @property
    def radius(self) -> int:
        """Exact receptive radius in source pixels: nothing beyond it influences a pixel.

        Counted per source pixel and side, so that the fold of the unshuffle is not paid twice.
        """
        fold, reach = self.unshuffle, 0
        for pixel in range(fold):
            first, last = pixel * self.scale, (pixel + 1) * self.scale - 1
            low = (self._tail_reach(first)[0] - self.body_radius) * fold
            high = (self._tail_reach(last)[1] + self.body_radius) * fold + fold - 1
            reach = max(reach, pixel - low, high - pixel)
        return reach

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(math.prod(shape) for shape in self.tensors.values())

    @property
    def flop(self) -> float:
        """Floating-point operations of the convolutions for one source pixel, untiled."""
        return sum(
            2 * math.prod(shape) * self._pixels(name)
            for name, shape in self.tensors.items()
            if len(shape) == 4
        )

    @property
    def workspace(self) -> int:
        """Bytes that a float32 forward pass holds at its peak for one source pixel of a tile.

        *compact* holds three sets of feature maps. A dense block of *rrdb* holds its widest input
        twice, its output and the inputs of two skip connections.
        """
        if self.kind == "compact":
            maps = 3 * self.features + 2 * self.samples * self.scale**2
        else:
            maps = 2 * (self.features + 4 * self.growth) + 4 * self.features
        return 4 * maps // self.unshuffle**2

    @cached_property
    def tensors(self) -> Mapping[str, Shape]:
        """Every tensor of the network by its official name, in the order in which it is used."""
        return dict(self._compact() if self.kind == "compact" else self._rrdb())

    def _tail_reach(self, output: int) -> tuple[int, int]:
        """Return first and last feature pixel, after the body, from which an output pixel is made.

        Output pixels are counted from the first one of feature pixel 0.
        """
        if self.kind == "compact":
            return output // self.scale, output // self.scale
        low, high = output - 2, output + 2  # conv_hr and conv_last
        for _ in range(self.ups):
            low, high = (low - 1) // 2, (high + 1) // 2
        return low, high

    def _pixels(self, name: str) -> float:
        """Return how many pixels a source pixel has where a tensor is used."""
        per_feature = 1.0
        if name.startswith("conv_up"):
            per_feature = 4.0 ** int(name.removeprefix("conv_up").split(".")[0])
        elif name.startswith(("conv_hr", "conv_last")):
            per_feature = 4.0**self.ups
        return per_feature / self.unshuffle**2

    def _compact(self) -> Iterator[tuple[str, Shape]]:
        f = self.features
        widths = [self.samples, *([f] * (self.blocks + 1)), self.samples * self.scale**2]
        for i, (before, after) in enumerate(pairwise(widths)):
            yield from _convolution(f"body.{2 * i}", before, after)
            if i <= self.blocks:
                yield f"body.{2 * i + 1}.weight", (f,)

    def _rrdb(self) -> Iterator[tuple[str, Shape]]:
        f, g = self.features, self.growth
        yield from _convolution("conv_first", self.samples * self.unshuffle**2, f)
        for block in range(self.blocks):
            for dense in (1, 2, 3):
                for i in range(5):
                    name = f"body.{block}.rdb{dense}.conv{i + 1}"
                    yield from _convolution(name, f + i * g, g if i < 4 else f)
        yield from _convolution("conv_body", f, f)
        for up in range(self.ups):
            yield from _convolution(f"conv_up{up + 1}", f, f)
        yield from _convolution("conv_hr", f, f)
        yield from _convolution("conv_last", f, self.samples)


def recognise(shapes: Mapping[str, Shape], file: str = "the checkpoint") -> Architecture:
    """Return the architecture whose tensors these are.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Shape of each tensor by its name, official or old (see `official_names`), in any order.
    file : str
        What messages call the checkpoint.

    Raises
    ------
    WeightsError
        If the tensors are not those of an RRDBNet or SRVGGNetCompact, naming what is missing and
        what is too many.
    """
    names = official_names(shapes)
    known = {names[name]: tuple(shape) for name, shape in shapes.items()}
    if len(known) < len(shapes):
        raise WeightsError(
            f"'{file}' holds the same tensor under two names.", "Use a checkpoint of one network."
        )
    if "conv_first.weight" in known:
        architecture = _recognise_rrdb(known, file)
    elif "body.0.weight" in known:
        architecture = _recognise_compact(known, file)
    else:
        some = ", ".join(f"'{name}'" for name in sorted(known)[:3]) or "none"
        raise WeightsError(
            f"'{file}' is neither an RRDBNet (no tensor 'conv_first.weight') nor an "
            f"SRVGGNetCompact (no tensor 'body.0.weight'); its {len(known)} tensors "
            f"are {some}, ...",
            "Use a checkpoint of the Real-ESRGAN or ESRGAN family.",
        )
    if architecture.blocks > len(known):  # else a single name could ask for billions of tensors
        raise WeightsError(
            f"'{file}' numbers its blocks up to {architecture.blocks}, but has only {len(known)} "
            "tensors.",
            "Use a complete checkpoint of one network.",
        )
    _compare(known, architecture, file)
    return architecture


def _recognise_rrdb(known: Mapping[str, Shape], file: str) -> Architecture:
    first = _kernel(known, "conv_first.weight", file)
    dense = _kernel(known, "body.0.rdb1.conv1.weight", file)
    last = _kernel(known, "conv_last.weight", file)
    blocks = 1 + max(int(m[1]) for m in map(re.compile(r"body\.(\d+)\.").match, known) if m)
    ups = sum(bool(re.fullmatch(r"conv_up\d+\.weight", name)) for name in known)
    samples, folded = last[0], first[1]
    unshuffle = next((n for n in (1, 2, 4) if folded == samples * n * n), 0)
    if not unshuffle or 2**ups % unshuffle:
        raise WeightsError(
            f"'{file}' takes {folded} samples, gives {samples} and doubles {ups} times, which is "
            "no whole scale factor.",
            "Use a network whose output has the input's samples.",
        )
    scale = 2**ups // unshuffle
    return Architecture("rrdb", samples, first[0], blocks, dense[0], scale, unshuffle)


def _recognise_compact(known: Mapping[str, Shape], file: str) -> Architecture:
    first = _kernel(known, "body.0.weight", file)
    places = [int(m[1]) for m in map(re.compile(r"body\.(\d+)\.").match, known) if m]
    last = _kernel(known, f"body.{max(places)}.weight", file)
    features, samples = first[0], first[1]
    scale = math.isqrt(last[0] // samples)
    if max(places) % 2 or max(places) < 4 or scale < 1 or samples * scale**2 != last[0]:
        raise WeightsError(
            f"'{file}' starts like an SRVGGNetCompact, but its last tensor "
            f"'body.{max(places)}.weight' makes {last[0]} samples of {samples}, which is no whole "
            "scale factor.",
            "Use a network with PReLU activations whose output has the input's samples.",
        )
    return Architecture("compact", samples, features, max(places) // 2 - 1, 0, scale)


def _kernel(known: Mapping[str, Shape], name: str, file: str) -> Shape:
    """Return the shape of a 3 x 3 convolution's weights: (out, in, 3, 3)."""
    shape = known.get(name)
    if shape is None or len(shape) != 4 or shape[2:] != (3, 3) or 0 in shape:
        found = "missing" if shape is None else f"of shape {list(shape)}"
        raise WeightsError(
            f"'{file}' is not a complete network: '{name}' should be a 3 x 3 convolution and is "
            f"{found}.",
            "Use a checkpoint of an RRDBNet or SRVGGNetCompact.",
        )
    return shape


def _compare(known: Mapping[str, Shape], architecture: Architecture, file: str) -> None:
    """Refuse tensors that are not exactly those of `architecture`."""
    expected = architecture.tensors
    faults = {
        "missing": [name for name in expected if name not in known],
        "unexpected": sorted(name for name in known if name not in expected),
        "of the wrong shape": [
            name for name, shape in expected.items() if name in known and known[name] != shape
        ],
    }
    parts = [
        f"{len(bad)} tensors {what} ('{bad[0]}'{', ...' if len(bad) > 1 else ''})"
        for what, bad in faults.items()
        if bad
    ]
    if parts:
        called = "RRDBNet" if architecture.kind == "rrdb" else "SRVGGNetCompact"
        raise WeightsError(
            f"'{file}' looks like an {called} with {architecture.blocks} blocks, but has "
            f"{' and '.join(parts)}.",
            "Use a complete checkpoint of one network, without discriminator or optimiser.",
        )


def _convolution(name: str, before: int, after: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (after, before, 3, 3)
    yield f"{name}.bias", (after,)
