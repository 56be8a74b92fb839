"""Convolutions on a CPU whose bits do not depend on the size of the image.

``conv2d`` takes another algorithm below some 20000 numbers, with another order of summation, so the
same neighbourhood gives other last bits in a small tile than in a large one. oneDNN's own
convolution, called by its name, has one order for every size, batch and number of threads on
processors with AVX2 or newer (shown by ``tests/models/test_realesrgan_exact.py``).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def convolve2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    padding: tuple[int, int] = (0, 0),
) -> torch.Tensor:
    """Return a convolution with stride 1.

    Parameters
    ----------
    x : torch.Tensor, shape (n, in, y, x)
    weight : torch.Tensor, shape (out, in, k, l)
    bias : torch.Tensor, shape (out,), optional
    padding : (int, int)
        Zeros at both sides along y and x.

    Returns
    -------
    torch.Tensor, shape (n, out, y', x')
        On a CPU in float32 or bfloat16 with bits that do not depend on the size; elsewhere what
        ``conv2d`` gives. A processor that cannot multiply bfloat16 computes in float32 and
        rounds, as those that can do too.
    """
    known = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)
    if not known or x.dtype != weight.dtype or not torch.backends.mkldnn.is_available():
        return functional.conv2d(x, weight, bias, padding=padding)
    if x.dtype == torch.bfloat16 and not _multiplies_bfloat16():
        wide = (x.float(), weight.float(), None if bias is None else bias.float())
        return convolve2d(*wide, padding).to(torch.bfloat16)
    if x.shape[1] == 1:
        # A single sample has two memory layouts at once, and oneDNN picks one by the size.
        more = (0, 0, 0, 0, 0, 1)
        x, weight = functional.pad(x, more), functional.pad(weight, more)
        x = x.contiguous(memory_format=torch.channels_last)
    return torch.mkldnn_convolution(x, weight, bias, padding, (1, 1), (1, 1), 1)


@cache
def _multiplies_bfloat16() -> bool:
    # Torch asks this itself before it calls oneDNN, but tells it by no public name.
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class SameBits(TorchFunctionMode):  # type: ignore[misc]
    """While the context lasts, this thread's plain ``conv2d`` are `convolve2d`.

    For networks that are not written with `convolve2d`, outside of autocast. Convolutions with
    strides, dilations, groups or padding by name stay as they are.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, or what takes its place."""
        kwargs = kwargs or {}
        if func is not torch.conv2d:
            return func(*args, **kwargs)
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        padding = given.get("padding", 0)
        plain = (
            _pair(given.get("stride", 1)) == _pair(given.get("dilation", 1)) == (1, 1)
            and given.get("groups", 1) == 1
            and not isinstance(padding, str)
            and given["input"].dim() == 4
        )
        if not plain:
            return func(*args, **kwargs)
        return convolve2d(given["input"], given["weight"], given.get("bias"), _pair(padding))


def _pair(value: Any) -> tuple[int, int]:
    y, x = (value, value) if isinstance(value, int) else (value * 2)[:2]
    return int(y), int(x)
