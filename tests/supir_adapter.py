"""What the SUPIR parity check calls, made of the family's own parts.

The check is a program of its own (``supir_parity.py``) with tensors that the original code computed
from tiny random weights; see `tests/models/test_supir_parity.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_superres.models.families.supir import colour, samplers
from napari_superres.models.families.supir.autoencoder import stage_one
from napari_superres.models.families.supir.denoising import Guidance, WordGuided
from napari_superres.models.families.supir.keys import sort_names
from napari_superres.models.families.supir.layout import layout_of
from napari_superres.models.families.supir.loading import PARTS, assemble, parts_on_meta
from napari_superres.models.families.supir.modules import CrossInject
from napari_superres.models.families.supir.network import Conditioning
from napari_superres.models.latent_tiles import lay_tiles
from napari_superres.models.parts import Found, fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor


class Adapter:
    """The family's parts behind the names of the check."""

    wavelet = staticmethod(colour.wavelet)
    adain = staticmethod(colour.adain)

    def __init__(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.layout = layout_of(shapes, "the reference tensors", config["head_dim"])
        names = sort_names(tensors, self.layout.blocks, len(self.layout.vae_channels))
        found = {part: Found(tensors, names[part], "reference") for part in PARTS}
        self.network, self.autoencoder = assemble(self.layout, found)

    def control(self, xt: Tensor, t: Tensor, z_lq: Tensor, cond: Any) -> list[Tensor]:
        """Return the control states, the middle one last."""
        return self.network.states(xt, t, z_lq, _words(cond))

    def unet(self, xt: Tensor, t: Tensor, z_lq: Tensor, cond: Any, scale: float) -> Tensor:
        """Return the noise that the controlled network sees."""
        return self.network(xt, t, z_lq, _words(cond), scale)

    def unet_plain(self, xt: Tensor, t: Tensor, cond: Any) -> Tensor:
        """Return the noise that SDXL's network alone sees."""
        return self.network(xt, t, None, _words(cond))

    def sample(
        self,
        sampler: str,
        noise: Tensor,
        z_lq: Tensor,
        x_center: Tensor,
        cond: Any,
        uncond: Any,
        step_noise: list[Tensor],
        *,
        num_steps: int,
        cfg_scale: float,
        cfg_scale_start: float,
        control_scale: float,
        s_noise: float,
        control_scale_start: float = 0.0,
        use_linear_control_scale: bool = False,
        restore_cfg: float = -1.0,
        s_churn: float = 0.0,
        eta: float = 1.0,
        tile_size: int = 10**6,
        tile_stride: int = 10**6,
    ) -> Tensor:
        """Return a latent, with the check's names of the options."""
        tiles = lay_tiles(*noise.shape[-2:], tile_size, tile_stride, shift=0.5)
        course = samplers.Course(
            steps=num_steps,
            churn=s_churn,
            churn_noise=s_noise,
            control=control_scale,
            control_start=control_scale_start if use_linear_control_scale else control_scale,
            restoration=restore_cfg,
            eta=eta,
        )
        guidance = Guidance(cfg_scale, cfg_scale_start)
        words, without = _words(cond), _words(uncond)
        denoise = WordGuided(self.network, z_lq, words, without, guidance, tiles, num_steps)
        run = samplers.SAMPLERS[sampler.removeprefix("tiled_")]
        return run(noise, denoise, lambda i: step_noise[i], course, x_center)

    def cross_inject(
        self, tensors: Mapping[str, Tensor], control: Tensor, x: Tensor, scale: float
    ) -> Tensor:
        """Return what one cross injection makes of the decoder's maps."""
        part = CrossInject(x.shape[1], control.shape[1])
        prefix = "model.diffusion_model.project_modules.3."
        names = sort_names([prefix + name for name in tensors])["adapters"]
        source = {ours.removeprefix("3."): name for ours, name in names.items()}
        published = {prefix + name: tensor for name, tensor in tensors.items()}
        fill(part, published, source, name="cross injection", where="reference")
        return part(control, x, scale)

    def stage1(self, image: Tensor, encode_noise: Tensor) -> dict[str, Tensor]:
        """Return the three tensors of stage 1."""
        hint, picture, centre = stage_one(self.autoencoder, image, encode_noise)
        return {"z_lq": hint, "x_stage1": picture, "z_stage1": centre}

    def decode(self, latent: Tensor) -> Tensor:
        """Return the image of a latent."""
        return self.autoencoder.decode(latent)


def factory(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Adapter:
    """Return the parts with these weights, as the check wants them."""
    return Adapter(tensors, config)


def key_report(keys: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> Iterable[str]:
    """Return every published name that finds its place, after checking its shape."""
    layout = layout_of(keys, "the published files", config["head_dim"])
    names = sort_names(keys, layout.blocks, len(layout.vae_channels))
    parts = parts_on_meta(layout)
    for part in PARTS:
        expected = {name: tuple(value.shape) for name, value in parts[part].state_dict().items()}
        for ours, published in names[part].items():
            shape = keys[published]
            squeezed = shape[:2] if shape[2:] == (1, 1) else shape
            assert expected[ours] in (shape, squeezed), published
            yield published
        assert set(expected) == set(names[part]), part


def _words(cond: Mapping[str, Tensor]) -> Conditioning:
    return Conditioning(cond["context"], cond["y"])
