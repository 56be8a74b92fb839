"""The latent diffusion upscalers compute what diffusers' own pipelines compute."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    LDMSuperResolutionPipeline,
    StableDiffusionUpscalePipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from napari_superres.errors import Cancelled, ResourceError, SettingError, WeightsError
from napari_superres.models.catalog import MODELS
from napari_superres.models.engine import Address, Halo, Setting
from napari_superres.models.families import latent as family
from napari_superres.models.noise import PlaneNoise
from napari_superres.progress import doing, on_tick
from tests.supir_tiny import save_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec
    from napari_superres.models.engine import Engine

WHOLE = Halo(0, 0, 0, 0)
AT = [Address(3, 0, 5, 0, 0)]
SIDE = 16


@pytest.fixture(autouse=True)
def _one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tiny tensors from waiting for other cores, and hide this computer's hub."""
    torch.set_num_threads(1)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def plane() -> np.ndarray:
    """Return a batch of one random colour picture."""
    return np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)


def row(name: str) -> ModelSpec:
    """Return the row of a model."""
    return MODELS[name]


def load(folder: Path, name: str, precision: str = "float32", **options: Any) -> Engine:
    """Return an engine for a tiny model."""
    options = {"base": str(folder), "steps": 3, **options}
    setting = Setting(precision=precision, options=tuple(options.items()))
    return family.load(row(name), {}, setting)


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a tiny Stable Diffusion x4 upscaler as it is published."""
    folder = tmp_path_factory.mktemp("sd")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            in_channels=7,
            out_channels=4,
            block_out_channels=(32, 64),
            layers_per_block=1,
            cross_attention_dim=64,
            attention_head_dim=2,
            norm_num_groups=16,
            num_class_embeds=1000,
            use_linear_projection=True,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(32, 32, 32),
            latent_channels=4,
            norm_num_groups=16,
            scaling_factor=0.08333,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=514,
                hidden_size=64,
                intermediate_size=64,
                num_hidden_layers=1,
                num_attention_heads=1,
                bos_token_id=512,
                eos_token_id=513,
            )
        )
    save_tokenizer(folder / "tokenizer")
    words = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), model_max_length=77)
    pipe = StableDiffusionUpscalePipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=words,
        unet=unet,
        low_res_scheduler=DDPMScheduler(
            beta_start=0.0001, beta_end=0.02, beta_schedule="scaled_linear"
        ),
        scheduler=DDIMScheduler(
            beta_start=0.0001,
            beta_end=0.02,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            clip_sample=False,
        ),
    )
    pipe.save_pretrained(folder)
    return folder


def _window(purpose: str, channels: int) -> torch.Tensor:
    place = (slice(0, SIDE), slice(0, SIDE))
    return torch.from_numpy(PlaneNoise(3, 0, 5).window(purpose, 0, channels, *place))[None]


def test_ldm_equals_diffusers_pipeline(ldm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is labelled with the model's name would not be the model's."""
    from diffusers.pipelines.latent_diffusion import pipeline_latent_diffusion_superresolution as m

    ours = load(ldm, "ldm-sr-x4")(plane(), WHOLE, AT)
    monkeypatch.setattr(m, "randn_tensor", lambda *shape, **options: _window("start", 3))
    pipe = LDMSuperResolutionPipeline.from_pretrained(ldm, use_safetensors=False)
    pipe.set_progress_bar_config(disable=True)
    image = torch.from_numpy(plane() * 2 - 1)
    theirs = pipe(image, num_inference_steps=3, output_type="pt").images
    assert ours.shape == (1, 3, 4 * SIDE, 4 * SIDE)
    np.testing.assert_allclose(np.clip(ours, 0, 1), theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_sd_equals_diffusers_pipeline(
    sd: Path, monkeypatch: pytest.MonkeyPatch, guidance: float
) -> None:
    """A result that is labelled with the model's name would not be the model's."""
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_upscale as m

    prompt = {"prompt": "round cells", "negative_prompt": "blurry"}
    engine = load(sd, "sd-x4", guidance=guidance, noise_level=30, **prompt)
    ours = engine(plane(), WHOLE, AT)
    monkeypatch.setattr(m, "randn_tensor", lambda *shape, **options: _window("degrade", 3))
    pipe = StableDiffusionUpscalePipeline.from_pretrained(sd)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        image=torch.from_numpy(plane()),
        num_inference_steps=3,
        guidance_scale=guidance,
        noise_level=30,
        latents=_window("start", 4),
        output_type="pt",
        **prompt,
    ).images
    np.testing.assert_allclose(np.clip(ours, 0, 1), theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["ldm", "sd"])
def test_tile_as_large_as_the_plane_equals_no_tiles(
    name: str, request: pytest.FixtureRequest
) -> None:
    """Planes that fit into one tile would change when the tile size does."""
    folder = request.getfixturevalue(name)
    model = {"ldm": "ldm-sr-x4", "sd": "sd-x4"}[name]
    one, two, tiled = (
        load(folder, model, latent_tile=edge, latent_stride=8)(plane(), WHOLE, AT)
        for edge in (SIDE, 1000, 12)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, tiled)
    assert np.isfinite(tiled).all()


def test_planes_of_any_size_come_back_four_times_as_long(ldm: Path) -> None:
    """A plane whose sides are not multiples of 8 would be refused or shifted."""
    engine = load(ldm, "ldm-sr-x4", steps=1)
    for shape in ((13, 18), (3, 30)):
        small = np.random.default_rng(0).random((1, 3, *shape), np.float32)
        assert engine(small, WHOLE, AT).shape == (1, 3, 4 * shape[0], 4 * shape[1])


def test_noise_has_an_address_and_nothing_else_counts(ldm: Path) -> None:
    """A stack computed twice, or in another order, would differ."""
    engine = load(ldm, "ldm-sr-x4", eta=1.0)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = engine(plane(), WHOLE, AT)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = engine(plane(), WHOLE, [AT[0]._replace(sample=1)])
    torch.manual_seed(2)
    np.testing.assert_array_equal(engine(plane(), WHOLE, AT), first)
    assert not np.array_equal(other, first)
    still = load(ldm, "ldm-sr-x4", eta=0.0)(plane(), WHOLE, AT)
    assert not np.array_equal(still, first)


def test_cancelling_stops_between_two_calls_of_the_network(ldm: Path) -> None:
    """Somebody who presses Cancel would wait for the rest of a plane."""
    seen: dict[tuple[int, int], str] = {}

    def stop(done: int, total: int) -> None:
        seen[done, total] = doing()
        if done == 1:
            raise Cancelled("Stopped.")

    with on_tick(stop), pytest.raises(Cancelled):
        load(ldm, "ldm-sr-x4")(plane(), WHOLE, AT)
    assert seen == {(0, 3): "step 1/3", (1, 3): "step 2/3"}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("ldm", part) for part in ("unet", "vqvae", "scheduler")),
        *(("sd", part) for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")),
        ("sd", "low_res_scheduler"),
    ],
)
def test_folder_without_a_part_is_refused_by_its_name(
    name: str, part: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A download that was cut off would fail with a trace of somebody else's code."""
    folder = tmp_path / "cut"
    shutil.copytree(request.getfixturevalue(name), folder)
    shutil.rmtree(folder / part)
    with pytest.raises(WeightsError, match=rf"cut.*{part}"):
        load(folder, {"ldm": "ldm-sr-x4", "sd": "sd-x4"}[name])


@pytest.mark.parametrize("content", ["", '{"act', "[]"])
@pytest.mark.parametrize("part", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_spoilt_settings_are_refused_by_their_file(
    ldm: Path, tmp_path: Path, part: str, content: str
) -> None:
    """Small files are cut off as large ones are; a trace of somebody else's code helps nobody."""
    folder = tmp_path / "cut"
    shutil.copytree(ldm, folder)
    (folder / part).write_text(content)
    with pytest.raises(WeightsError, match=rf"cut/{part}'"):
        load(folder, "ldm-sr-x4")


def test_missing_tensor_is_named(ldm: Path, tmp_path: Path) -> None:
    """Diffusers itself draws it at random, and the result would be noise."""
    folder = tmp_path / "cut"
    shutil.copytree(ldm, folder)
    path = folder / "unet" / "diffusion_pytorch_model.bin"
    tensors = torch.load(path)
    del tensors["mid_block.attentions.0.query.weight"]
    torch.save(tensors, path)
    with pytest.raises(WeightsError, match=r"unet.*lacks.*mid_block\.attentions\.0\.to_q\.weight"):
        load(folder, "ldm-sr-x4")


def test_model_that_is_not_here_says_how_to_get_it() -> None:
    """Gigabytes would be fetched unasked, or the error would not help."""
    with pytest.raises(WeightsError, match=r"hf download CompVis/ldm-super-resolution"):
        family.load(row("ldm-sr-x4"), {}, Setting())
    with pytest.raises(WeightsError, match="nothing is downloaded unasked"):
        family.load(row("sd-x4"), {}, Setting(options=(("base", "nobody/nothing"),)))


def test_unknown_options_are_refused(ldm: Path) -> None:
    """A slip of the pen would be ignored in silence."""
    with pytest.raises(SettingError, match="no option 'setps'"):
        load(ldm, "ldm-sr-x4", setps=3)
    with pytest.raises(SettingError, match="a stride of 1 to latent_tile"):
        load(ldm, "ldm-sr-x4", latent_tile=8, latent_stride=9)


def test_half_precision_is_close(sd: Path) -> None:
    """On a GPU, where half precision is usual, pictures would be noise."""
    exact = load(sd, "sd-x4")(plane(), WHOLE, AT)
    half = load(sd, "sd-x4", "bfloat16")(plane(), WHOLE, AT)
    assert np.abs(half - exact).mean() < 0.05 * np.abs(exact).mean()


def test_a_model_that_does_not_fit_into_memory_is_refused_before_it_is_loaded(
    ldm: Path, sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The computer would swap for an hour, or the system kill the program."""
    monkeypatch.setattr("napari_superres.resources.free_memory", lambda: 1000)
    monkeypatch.setattr("napari_superres.models.families.latent.engine.build_part", None)
    for folder, name, words in ((ldm, "ldm-sr-x4", "LDM-SR"), (sd, "sd-x4", "Stable Diffusion x4")):
        with pytest.raises(ResourceError, match=rf"million numbers of {words} as.*bfloat16"):
            load(folder, name)
