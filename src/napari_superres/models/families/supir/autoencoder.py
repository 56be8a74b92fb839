"""SDXL's autoencoder with a second encoder, trained to look through degradation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_superres.models import strips
from napari_superres.models.families.supir.layout import SCALE_FACTOR

if TYPE_CHECKING:
    from torch import Tensor

    from napari_superres.models.families.supir.layout import Layout


class DoubleAutoencoder(nn.Module):  # type: ignore[misc]
    """One decoder and two encoders: the plain one, and the robust one that SUPIR adds.

    Latents go in and out multiplied by the scale factor.

    Parameters
    ----------
    layout : Layout
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.plain = layout.autoencoder()
        self.robust = layout.autoencoder()
        # The robust encoder ends in the plain one's last convolution and has no decoder of its own.
        self.robust.quant_conv = self.plain.quant_conv
        self.robust.decoder = self.robust.post_quant_conv = None

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.plain.post_quant_conv.weight.dtype

    def hint(self, image: Tensor) -> Tensor:
        """Return the latent of a degraded image, as the robust encoder sees it.

        Parameters
        ----------
        image : Tensor, shape (n, 3, y, x)
            Between -1 and 1.

        Returns
        -------
        Tensor, shape (n, latent, y / factor, x / factor), float32
        """
        return self._likely(self.robust.encoder, image)[0] * SCALE_FACTOR

    def sample(self, image: Tensor, noise: Tensor) -> Tensor:
        """Return a latent of a clean image, drawn from those that the plain encoder holds likely.

        Parameters
        ----------
        image : Tensor, shape (n, 3, y, x)
        noise : Tensor, shape (n, latent, y / factor, x / factor)
            Standard normal; zeros give the likeliest latent.

        Returns
        -------
        Tensor, shape (n, latent, y / factor, x / factor), float32
        """
        mean, spread = self._likely(self.plain.encoder, image)
        return (mean + spread * noise) * SCALE_FACTOR

    def decode(self, latent: Tensor) -> Tensor:
        """Return the image of a latent, float32, between about -1 and 1."""
        latent = self.plain.post_quant_conv((latent / SCALE_FACTOR).to(self.dtype))
        return strips.decode(self.plain.decoder, latent).float()

    def _likely(self, encoder: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and spread of the latents that an encoder holds likely."""
        moments = self.plain.quant_conv(strips.encode(encoder, image))
        mean, log_variance = moments.float().chunk(2, dim=1)
        # The bounds are those of diffusers' AutoencoderKL.
        return mean, torch.exp(0.5 * log_variance.clamp(-30.0, 20.0))


def stage_one(
    autoencoder: DoubleAutoencoder, image: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the robust latent of an image, its picture, and that picture's own latent.

    Parameters
    ----------
    autoencoder : DoubleAutoencoder
    image : Tensor, shape (n, 3, y, x)
        Between -1 and 1.
    noise : Tensor, shape (n, latent, y / factor, x / factor)
        Standard normal.

    Returns
    -------
    hint, picture, centre : Tensor
        The control network's input; the image without its degradation; and where restoration
        guidance pulls to.
    """
    hint = autoencoder.hint(image)
    picture = autoencoder.decode(hint)
    return hint, picture, autoencoder.sample(picture, noise)
