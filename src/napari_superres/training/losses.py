"""What the training makes small: error, missing detail and moved light."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

# Weights of the two extra terms, as large as they could be without costing PSNR in short trials
# with the mean of squares in place of their logarithm.
FOURIER_WEIGHT = 0.1
FLUX_WEIGHT = 0.1
# Share of the interpolation's squared error below which a patch is as good as perfect.
_GOOD = 0.01
_SHARE_ADDED = 0.1


def total(prediction: Any, truth: Any, plain: Any, scale: int) -> tuple[Any, dict[str, float]]:
    """Return the loss of a batch and its parts.

    Residuals are divided by how hard each patch is: the error that plain interpolation makes
    there, plus half a percent of the patch's own standard deviation. The error is half the
    logarithm of each patch's mean square, as decibels are, down to a hundredth of the
    interpolation's: faint and easy patches count as much as bright and hard ones, and one that is
    nearly right is worth improving as much as one that is not.

    Parameters
    ----------
    prediction, truth, plain : torch.Tensor, shape (n, 1, y, x)
        The network's result, the target, and the interpolation that the network corrects.
    scale : int
        Scale factor.

    Returns
    -------
    loss : torch.Tensor
        Scalar.
    parts : dict of str to float
        For the log.
    """
    with torch.no_grad():
        spread = truth.std(dim=(1, 2, 3), keepdim=True)
        hard = (truth - plain).pow(2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
        unit = hard + 0.005 * spread + 1e-4
    left = ((prediction - truth) / unit).pow(2).mean(dim=(1, 2, 3))
    error = 0.5 * torch.log1p(left / _GOOD).mean()
    detail = 1 - ring_correlation(prediction, truth).mean()
    moved = sum(
        (functional.avg_pool2d(prediction - truth, edge) / unit).abs().mean()
        for edge in (scale, 8 * scale)
    )
    loss = error + FOURIER_WEIGHT * detail + FLUX_WEIGHT * moved
    parts = {"error": error, "detail": detail, "flux": moved}
    return loss, {name: float(part.detach()) for name, part in parts.items()}


def ring_correlation(one: Any, other: Any) -> Any:
    """Return the Fourier ring correlation of image pairs, differentiable.

    Parameters
    ----------
    one, other : torch.Tensor, shape (n, 1, y, x)
        Images of one shape; a Hann window keeps their edges out.

    Returns
    -------
    torch.Tensor, shape (n, rings)
        For rings one frequency sample wide, from the lowest to the Nyquist frequency
        (R. P. J. Nieuwenhuizen et al., Nature Methods 10, 557, 2013).
    """
    height, width = one.shape[-2:]
    window = torch.hann_window(height, device=one.device)[:, None] * torch.hann_window(
        width, device=one.device
    )
    spectra = [
        torch.fft.rfft2((image - image.mean(dim=(-2, -1), keepdim=True)) * window).flatten(1)
        for image in (one.float(), other.float())
    ]
    fy = torch.fft.fftfreq(height, device=one.device)[:, None]
    fx = torch.fft.rfftfreq(width, device=one.device)[None, :]
    rings = min(height, width) // 2
    ring = torch.round(torch.hypot(fy, fx) * 2 * rings).long().flatten()
    ring = torch.where((ring >= 1) & (ring <= rings), ring - 1, rings)

    def summed(values: Any) -> Any:
        empty = torch.zeros(values.shape[0], rings + 1, device=values.device)
        return empty.index_add(1, ring, values)[:, :rings]

    first, second = spectra
    together = summed((first * second.conj()).real)
    power = summed(first.abs().pow(2)) * summed(second.abs().pow(2))
    return together / torch.sqrt(power + 1e-12)


def laplace(residual: Any, scale: Any) -> Any:
    """Return the negative log-likelihood of residuals under a Laplace law of given scale.

    A tenth of a patch's mean error is added to the scale. The predicted scale is the magnitude of
    a signed map: near that map's zeros a few pixels would cost so much that all others were made
    several times too wide.

    Parameters
    ----------
    residual, scale : torch.Tensor, shape (n, 1, y, x)
        Error, and predicted scale, in units of the patch's standard deviation.
    """
    size = residual.abs()
    wide = scale + _SHARE_ADDED * size.mean(dim=(1, 2, 3), keepdim=True) + 1e-4
    return (torch.log(wide) + size / wide).mean()
