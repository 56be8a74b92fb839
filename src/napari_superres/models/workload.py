"""How much there is to compute for a plane, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What restoring one plane takes.

    Parameters
    ----------
    calls : int
        Calls of the network, each on one tile of a latent.
    call : float
        Floating-point operations of one call (two a multiply-add).
    rest : float
        Those of all else, which is encoding and decoding.
    pixels : int
        Of the finest map that the decoder makes.
    """

    calls: int
    call: float
    rest: float
    pixels: int

    @property
    def flop(self) -> float:
        """Floating-point operations of the plane."""
        return self.calls * self.call + self.rest

    @property
    def workspace(self) -> int:
        """Bytes while it is decoded: four maps of 128 channels in float32."""
        return 4 * 128 * 4 * self.pixels


def step_words(step: int, steps: int, tile: int, tiles: int) -> str:
    """Return where a sampler is, in words; `step` and `tile` count from 0."""
    words = f"step {step + 1}/{steps}"
    return f"{words}, tile {tile + 1}/{tiles}" if tiles > 1 else words


def fused_tiles(length: int, edge: int, stride: int) -> int:
    """Return how many tiles `latent_tiles.lay_tiles` lays along an axis."""
    return 1 if length <= edge else -(-(length - edge) // stride) + 1
