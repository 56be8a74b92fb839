"""Autoencoders on planes of any size, in strips, with the result of the whole.

An autoencoder's norms look at the whole map. Cut into tiles, each tile has norms of its own, and on
a flat, dark background every tile gets a tone of its own. Here each layer is computed on the whole
plane before the next one, a few rows at a time::

    map in main memory        rows of a strip, and one more      map in main memory
    +-----------------+       above and below, on the device     +-----------------+
    |                 |       +-----------------+                |                 |
    |- - - - - - - - -|  -->  |  norm, convolve |  -->           |- - - - - - - - -|
    |- - - - - - - - -|       +-----------------+                |- - - - - - - - -|
    |                 |                                          |                 |
    +-----------------+                                          +-----------------+

so that the device holds a strip, and the norms are those of the plane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Reader = Callable[[int, int], Tensor]

PIXELS = 2**20
"""Of a map that one strip has, about: a 1024 x 1024 image at its finest level."""

WHOLE = 2048**2
"""Pixels of an image up to which it is treated whole, which is faster and takes some gigabytes."""

QUERIES = 2**27
"""Products of positions that attention computes at once."""


def decode(decoder: Any, latent: Tensor, pixels: int | None = None) -> Tensor:
    """Return what a decoder makes of a latent.

    Parameters
    ----------
    decoder : diffusers Decoder
    latent : Tensor, shape (1, c, y, x)
    pixels : int, optional
        Of a strip. None: the whole at once if it is not too large, else strips of `PIXELS`.

    Returns
    -------
    Tensor, shape (1, 3, factor * y, factor * x)
        Of the decoder's type, where the latent is.
    """
    factor = 2 ** (len(decoder.up_blocks) - 1)
    latent = latent.to(decoder.conv_in.weight.dtype)
    if pixels is None and latent[0, 0].numel() * factor**2 <= WHOLE:
        return decoder(latent)
    run = _Strips(decoder.conv_in.weight.device, latent.dtype, pixels or PIXELS)
    x = run.convolve(decoder.conv_in, latent.cpu())
    x = run.middle(decoder.mid_block, x)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            x = run.resnet(resnet, x)
        for upsampler in block.upsamplers or ():
            x = run.upsample(upsampler, x)
    out = run.convolve(decoder.conv_out, x, run.normed(decoder.conv_norm_out, x))
    return out.to(latent.device)


def encode(encoder: Any, image: Tensor, pixels: int | None = None) -> Tensor:
    """Return what an encoder makes of an image.

    Parameters
    ----------
    encoder : diffusers Encoder
    image : Tensor, shape (1, 3, y, x)
    pixels : int, optional
        As for `decode`.

    Returns
    -------
    Tensor, shape (1, 2 * c, y / factor, x / factor)
        Of the encoder's type, where the image is.
    """
    image = image.to(encoder.conv_in.weight.dtype)
    if pixels is None and image[0, 0].numel() <= WHOLE:
        return encoder(image)
    run = _Strips(encoder.conv_in.weight.device, image.dtype, pixels or PIXELS)
    x = run.convolve(encoder.conv_in, image.cpu())
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            x = run.resnet(resnet, x)
        for downsampler in block.downsamplers or ():
            x = run.downsample(downsampler, x)
    x = run.middle(encoder.mid_block, x)
    out = run.convolve(encoder.conv_out, x, run.normed(encoder.conv_norm_out, x))
    return out.to(image.device)


class _Strips:
    """Layers on whole maps in main memory, computed a strip at a time on a device."""

    def __init__(self, device: torch.device, dtype: torch.dtype, pixels: int) -> None:
        self.device = device
        self.dtype = dtype
        self.pixels = pixels

    def convolve(
        self,
        conv: Any,
        x: Tensor,
        read: Reader | None = None,
        *,
        size: tuple[int, int] | None = None,
        padding: tuple[int, int] | None = None,
    ) -> Tensor:
        """Return a convolution of a map.

        Parameters
        ----------
        conv : Conv2d
        x : Tensor, shape (1, c, y, x)
        read : callable, optional
            Returns rows from a first one to before a last one, as the convolution shall see them,
            on the device; None for those of `x` as they are.
        size : (int, int), optional
            Of what is read, if not that of `x`.
        padding : (int, int), optional
            Zeros before and after, along both axes; None for the convolution's own.
        """
        read = read or (lambda first, last: x[:, :, first:last].to(self.device))
        height, width = size or tuple(x.shape[-2:])
        before, after = padding or (conv.padding[0], conv.padding[0])
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        rows, columns = ((n + before + after - kernel) // stride + 1 for n in (height, width))
        out = torch.empty(1, conv.out_channels, rows, columns, dtype=self.dtype)
        step = max(1, self.pixels // columns)
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            first, last = start * stride - before, (stop - 1) * stride - before + kernel
            strip = read(max(first, 0), min(last, height))
            zeros = (before, after, max(-first, 0), max(last - height, 0))
            strip = functional.pad(strip, zeros)
            out[:, :, start:stop] = functional.conv2d(strip, conv.weight, conv.bias, stride)
        return out

    def normed(self, norm: Any, x: Tensor) -> Reader:
        """Return a reader of rows of a map, normalised over the whole map and activated."""
        mean, spread = self._statistics(norm, x)

        def read(first: int, last: int) -> Tensor:
            return functional.silu(self._normalise(norm, x[:, :, first:last], mean, spread))

        return read

    def resnet(self, block: Any, x: Tensor) -> Tensor:
        """Return a residual block of a map."""
        h = self.convolve(block.conv1, x, self.normed(block.norm1, x))
        h = self.convolve(block.conv2, h, self.normed(block.norm2, h))
        if block.conv_shortcut is not None:
            x = self.convolve(block.conv_shortcut, x)
        return h.add_(x)

    def upsample(self, block: Any, x: Tensor) -> Tensor:
        """Return a map of twice the size, each position repeated and then convolved."""

        def read(first: int, last: int) -> Tensor:
            rows = x[:, :, first // 2 : -(-last // 2)].to(self.device)
            twice = rows.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            return twice[:, :, first % 2 : first % 2 + last - first]

        return self.convolve(block.conv, x, read, size=(2 * x.shape[2], 2 * x.shape[3]))

    def downsample(self, block: Any, x: Tensor) -> Tensor:
        """Return a map of half the size; zeros are added below and to the right only."""
        return self.convolve(block.conv, x, padding=(0, 1))

    def middle(self, block: Any, x: Tensor) -> Tensor:
        """Return the middle of an autoencoder: residual, attention, residual."""
        x = self.resnet(block.resnets[0], x)
        for attention, resnet in zip(block.attentions, block.resnets[1:], strict=True):
            if attention is not None:
                x = self._attend(attention, x)
            x = self.resnet(resnet, x)
        return x

    def _attend(self, block: Any, x: Tensor) -> Tensor:
        """Return attention of every position to every other, some positions at a time."""
        mean, spread = self._statistics(block.group_norm, x)
        # (1, c, y, x) -> (1, y*x, c)
        seen = self._normalise(block.group_norm, x, mean, spread).flatten(2).transpose(1, 2)
        keys, values = block.to_k(seen), block.to_v(seen)
        positions = seen.shape[1]
        step = max(1, QUERIES // positions)
        found = torch.cat(
            [
                block.to_out[0](_attention(block, block.to_q(part), keys, values)).cpu()
                for part in seen.split(step, dim=1)
            ],
            dim=1,
        )
        return found.transpose(1, 2).reshape(x.shape).add_(x)

    def _statistics(self, norm: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and inverse spread of each group of a map, shape (groups, 1)."""
        count = x[0].numel() // norm.num_groups
        step = max(1, self.pixels // x.shape[-1])
        sums = torch.zeros(2, norm.num_groups, dtype=torch.float64)
        for pass_ in range(2):
            for strip in x[0].split(step, dim=1):
                values = strip.to(self.device).float().reshape(norm.num_groups, -1)
                if pass_:
                    middle = (sums[0] / count).float().to(self.device)[:, None]
                    values = (values - middle) ** 2
                sums[pass_] += values.sum(dim=1).double().cpu()
        mean, variance = (sums / count).float().to(self.device)
        return mean[:, None], (variance[:, None] + norm.eps).rsqrt()

    def _normalise(self, norm: Any, strip: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
        values = strip.to(self.device).float().reshape(norm.num_groups, -1)
        values = ((values - mean) * spread).reshape(strip.shape)
        shape = (1, -1, 1, 1)
        return (values * norm.weight.view(shape) + norm.bias.view(shape)).to(self.dtype)


def _attention(block: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return attention with the block's heads, tokens last but one."""
    parts = (
        tokens.unflatten(-1, (block.heads, -1)).transpose(1, 2)
        for tokens in (queries, keys, values)
    )
    found = functional.scaled_dot_product_attention(*parts)
    return found.transpose(1, 2).flatten(2)
