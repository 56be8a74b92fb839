"""An autoencoder in strips gives what it gives on the whole plane."""

from __future__ import annotations

import pytest

pytest.importorskip("diffusers")

import torch
from diffusers import AutoencoderKL

from napari_superres.models.strips import decode, encode


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Keep tiny tensors from waiting for a busy computer's other cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def autoencoder() -> AutoencoderKL:
    """Return a small autoencoder whose levels differ in width."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        part = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(32, 64, 64),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=32,
        ).eval()
        for name, parameter in part.named_parameters():
            if "norm" in name:  # not the ones and zeros that they start with
                torch.nn.init.normal_(parameter, 1.0, 0.3)
        return part


@pytest.mark.parametrize("pixels", [1, 300, 1000, 2**20])
@pytest.mark.parametrize("shape", [(12, 20), (7, 9)])
def test_strips_equal_the_whole(
    autoencoder: AutoencoderKL, pixels: int, shape: tuple[int, int]
) -> None:
    """A large plane would differ from a small one, or show where it was cut."""
    latent = torch.randn(1, 4, *shape, generator=torch.Generator().manual_seed(1))
    image = torch.randn(1, 3, *[4 * n for n in shape], generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        whole, strips = autoencoder.decoder(latent), decode(autoencoder.decoder, latent, pixels)
        torch.testing.assert_close(strips, whole, rtol=1e-4, atol=1e-4)
        whole, strips = autoencoder.encoder(image), encode(autoencoder.encoder, image, pixels)
        torch.testing.assert_close(strips, whole, rtol=1e-4, atol=1e-4)


def test_attention_in_parts_equals_attention(
    autoencoder: AutoencoderKL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far parts of a large plane would not see each other."""
    latent = torch.randn(1, 4, 6, 10, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr("napari_superres.models.strips.QUERIES", 60 * 7)
    with torch.inference_mode():
        whole, parts = autoencoder.decoder(latent), decode(autoencoder.decoder, latent)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)


def test_flat_background_shows_no_tiles(autoencoder: AutoencoderKL) -> None:
    """The usual tiling gives each tile a tone of its own where nothing else is to be seen."""
    generator = torch.Generator().manual_seed(1)
    latent = 0.05 + 0.001 * torch.randn(1, 4, 32, 32, generator=generator)
    with torch.inference_mode():
        whole = autoencoder.decoder(latent)
        strips = decode(autoencoder.decoder, latent, 1000)
        autoencoder.enable_tiling()
        autoencoder.tile_sample_min_size, autoencoder.tile_latent_min_size = 64, 16
        tiled = autoencoder.decode(latent).sample
        autoencoder.disable_tiling()
        plain = autoencoder.decode(latent).sample
    assert (strips - whole).abs().max() < 1e-3
    # What it is good for: the tiles of diffusers are seen.
    assert (tiled - plain).abs().max() > 100 * (strips - whole).abs().max()
