"""One-step restorers: changes of weights are merged, and their dials do what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from napari_superres.errors import ResourceError, SettingError, WeightsError
from napari_superres.models.catalog import ModelSpec, WeightFile
from napari_superres.models.engine import Address, Halo, Setting
from napari_superres.models.families import onestep as family
from napari_superres.models.families.onestep.lora import merge, read_changes
from napari_superres.progress import on_tick
from tests.supir_tiny import save_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.models.engine import Engine

WHOLE = Halo(0, 0, 0, 0)
AT = [Address(3, 0, 5, 0, 0)]
RANK = 4
LAYERS = (
    "conv_in",
    "down_blocks.0.resnets.0.conv1",
    "down_blocks.0.downsamplers.0.conv",
    "down_blocks.1.resnets.0.conv_shortcut",
    "down_blocks.1.attentions.0.proj_in",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "up_blocks.1.resnets.0.conv2",
    "conv_out",
)


@pytest.fixture(autouse=True)
def _one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tiny tensors from waiting for other cores, and hide this computer's hub."""
    torch.set_num_threads(1)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a tiny Stable Diffusion 2.1."""
    folder = tmp_path_factory.mktemp("sd21")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        UNet2DConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            cross_attention_dim=64,
            attention_head_dim=2,
            norm_num_groups=16,
            use_linear_projection=True,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ).save_pretrained(folder / "unet")
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(32, 32, 32, 32),
            latent_channels=4,
            norm_num_groups=16,
        ).save_pretrained(folder / "vae")
        CLIPTextModel(
            CLIPTextConfig(
                vocab_size=514,
                hidden_size=64,
                intermediate_size=64,
                num_hidden_layers=1,
                num_attention_heads=1,
                bos_token_id=512,
                eos_token_id=513,
            )
        ).save_pretrained(folder / "text_encoder")
    save_tokenizer(folder / "tokenizer")
    return folder


@pytest.fixture(scope="module")
def published(base: Path) -> dict[str, Any]:
    """Return what a published file holds: changes, and what the training program said of them."""
    layers = dict(UNet2DConditionModel.from_pretrained(base / "unet").named_modules())
    generator = torch.Generator().manual_seed(1)
    state = {}
    for index, layer in enumerate(LAYERS):
        weight = layers[layer].weight
        group = ("encoder", "decoder", "others")[index % 3]
        for ending in ("pix", "sem"):
            down = torch.randn(RANK, *weight.shape[1:], generator=generator) * 0.05
            up = torch.randn(weight.shape[0], RANK, *[1] * (weight.ndim - 2), generator=generator)
            for half, tensor in (("A", down), ("B", up * 0.3)):
                state[f"{layer}.lora_{half}.default_{group}_{ending}.weight"] = tensor
    return {
        "state_dict_unet": state,
        "lora_rank_unet_pix": RANK,
        "lora_rank_unet_sem": RANK,
        "unet_lora_encoder_modules_pix": list(LAYERS),
    }


@pytest.fixture(scope="module")
def pkl(published: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save it as it is published."""
    path = tmp_path_factory.mktemp("pisa") / "pisa_sr.pkl"
    torch.save(published, path)
    return path


def load(base: Path | str, pkl: Path, precision: str = "float32", **options: Any) -> Engine:
    """Return an engine of the tiny model."""
    spec = ModelSpec(
        "pisa-sr-x4",
        "onestep",
        4,
        *[""] * 4,
        "layout only",
        weights=(WeightFile("pisa_sr.pkl", "", 0),),
        samples=3,
    )
    options = {"base": str(base), "smallest": 64, **options}
    setting = Setting(precision=precision, options=tuple(options.items()))
    return family.load(spec, {"pisa_sr.pkl": pkl}, setting)


def plane(side: int = 32) -> np.ndarray:
    """Return a batch of one random colour picture."""
    return np.random.default_rng(0).random((1, 3, side, side), np.float32)


def _with_hooks(base: Path, state: dict[str, Any], *endings: str) -> UNet2DConditionModel:
    """Return the network with its changes applied beside each layer, as in training."""
    network = UNet2DConditionModel.from_pretrained(base / "unet").eval()
    layers = dict(network.named_modules())

    def change(layer: Any, inputs: Any, output: Any, pairs: Any = None) -> Any:
        for down, up in pairs:
            if up.ndim == 2:
                extra = inputs[0] @ down.T @ up.T
            else:
                narrow = functional.conv2d(
                    inputs[0], down, stride=layer.stride, padding=layer.padding
                )
                extra = functional.conv2d(narrow, up)
            output = output + extra * (8 / RANK)
        return output

    for name in LAYERS:
        pairs = [
            tuple(
                next(
                    tensor
                    for key, tensor in state.items()
                    if key.startswith(f"{name}.lora_{half}.") and key.endswith(f"{end}.weight")
                )
                for half in "AB"
            )
            for end in endings
        ]
        layers[name].register_forward_hook(
            lambda layer, inputs, output, pairs=pairs: change(layer, inputs, output, pairs)
        )
    return network


@pytest.mark.parametrize("endings", [("pix",), ("pix", "sem")])
def test_merged_changes_equal_changes_beside_each_layer(
    base: Path, published: dict[str, Any], endings: tuple[str, ...]
) -> None:
    """Restored planes would be those of a network that nobody trained."""
    state = published["state_dict_unet"]
    network = UNet2DConditionModel.from_pretrained(base / "unet").eval()
    for ending in endings:
        merge(network, read_changes(state, ending, "file"), 8.0, "file")
    x, words = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 64)
    plain = UNet2DConditionModel.from_pretrained(base / "unet").eval()
    with torch.no_grad():
        ours, theirs, untouched = (
            net(x, 1, encoder_hidden_states=words).sample
            for net in (network, _with_hooks(base, state, *endings), plain)
        )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (ours - untouched).abs().max() > 0.01


def test_dials_mix_what_the_two_networks_see(base: Path, pkl: Path) -> None:
    """The dial between fidelity and looks would do something else than it says."""

    def seen(**dials: float) -> np.ndarray:
        engine = load(base, pkl, colour="none", **dials)
        latent = torch.linspace(-1, 1, 4 * 64).reshape(1, 4, 8, 8)
        with torch.inference_mode():
            return engine._seen(latent).numpy()  # type: ignore[attr-defined]

    both = seen(fidelity=1, looks=1)
    faithful = seen(fidelity=1, looks=0)
    assert np.abs(both - faithful).max() > 1e-3
    mixed = seen(fidelity=0.5, looks=0.7)
    expected = 0.5 * faithful + 0.7 * (both - faithful)
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
    np.testing.assert_array_equal(seen(fidelity=0, looks=0), 0)


def test_dials_save_calls_of_networks_that_do_not_count(base: Path, pkl: Path) -> None:
    """The default would take twice as long as the one call that the name promises."""
    for dials, calls in (({}, 1), ({"looks": 0.0}, 1), ({"fidelity": 0.5}, 2)):
        seen: set[tuple[int, int]] = set()
        with on_tick(lambda done, total, seen=seen: seen.add((done, total))):
            load(base, pkl, **dials)(plane(), WHOLE, AT)
        assert seen - {(0, 1)} == {(number, calls) for number in range(calls)} - {(0, 1)}


def test_result_is_the_source_less_what_is_seen(base: Path, pkl: Path) -> None:
    """With nothing taken for degradation the result must be the source, through the autoencoder."""
    engine = load(base, pkl, fidelity=0, looks=0, colour="none")
    picture = plane()
    result = engine(picture, WHOLE, AT)
    assert result.shape == (1, 3, 128, 128)
    image = functional.interpolate(
        torch.from_numpy(picture) * 2 - 1, (128, 128), mode="bicubic", antialias=True
    ).clamp(-1, 1)
    vae = AutoencoderKL.from_pretrained(base / "vae")
    with torch.no_grad():
        expected = vae.decode(vae.encode(image).latent_dist.mode()).sample
    np.testing.assert_allclose(result, (expected.numpy() + 1) / 2, atol=1e-4)


def test_samples_are_the_same_and_colours_are_the_sources(base: Path, pkl: Path) -> None:
    """A spread between samples would be reported that does not exist; intensities would drift."""
    engine = load(base, pkl)
    first = engine(plane(), WHOLE, AT)
    np.testing.assert_array_equal(engine(plane(), WHOLE, [Address(9, 4, 1, 0, 0)]), first)
    flat = engine(np.full((1, 3, 32, 32), 0.3, np.float32), WHOLE, AT)
    np.testing.assert_allclose(flat.mean(axis=(2, 3)), 0.3, atol=0.02)
    assert not np.array_equal(load(base, pkl, prompt="cells")(plane(), WHOLE, AT), first)
    tiled = load(base, pkl, latent_tile=12, latent_stride=4)(plane(), WHOLE, AT)
    assert np.isfinite(tiled).all()
    assert not np.array_equal(tiled, first)
    half = load(base, pkl, "bfloat16")(plane(), WHOLE, AT)
    assert np.abs(half - first).mean() < 0.05


def test_incomplete_and_foreign_changes_are_refused_by_name(
    base: Path, published: dict[str, Any], tmp_path: Path
) -> None:
    """A restorer that lacks a change would smooth or invent, and nobody would know why."""
    state = published["state_dict_unet"]
    first = next(iter(state))

    def saved(changed: dict[str, Any]) -> Path:
        path = tmp_path / "cut.pkl"
        torch.save({**published, "state_dict_unet": changed}, path)
        return path

    cases = (
        ({k: v for k, v in state.items() if "sem" not in k}, "lacks the changes.*'sem'"),
        ({k: v for k, v in state.items() if k != first}, "change of 'conv_in' lacks 'lora_A'"),
        ({k.replace("conv_in", "conv_inn"): v for k, v in state.items()}, "layer 'conv_inn'"),
        ({**state, first: torch.ones(RANK, 5, 3, 3)}, r"changes 'conv_in' by.*\(32, 4, 3, 3\)"),
        ({**state, first: state[first] * float("nan")}, "not made of finite numbers"),
    )
    for changed, words in cases:
        with pytest.raises(WeightsError, match=rf"cut\.pkl.*{words}"):
            load(base, saved(changed))


def test_base_that_is_not_here_says_how_to_get_it(pkl: Path) -> None:
    """Gigabytes would be fetched unasked, or the error would not help."""
    with pytest.raises(WeightsError, match="hf download nobody/nothing"):
        load("nobody/nothing", pkl)
    with pytest.raises(WeightsError, match=r"lacks 'unet/config\.json'"):
        load(pkl.parent, pkl)


def test_unknown_options_are_refused(base: Path, pkl: Path) -> None:
    """A slip of the pen would be ignored in silence."""
    with pytest.raises(SettingError, match="no option 'look'"):
        load(base, pkl, look=1)
    with pytest.raises(SettingError, match="colour='hue'"):
        load(base, pkl, colour="hue")
    with pytest.raises(SettingError, match="latent_stride"):
        load(base, pkl, latent_stride=0)


def test_a_model_that_does_not_fit_into_memory_is_refused_before_it_is_loaded(
    base: Path, pkl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The computer would swap for an hour, or the system kill the program."""
    monkeypatch.setattr("napari_superres.resources.free_memory", lambda: 1000)
    monkeypatch.setattr("napari_superres.models.families.onestep.engine.build_part", None)
    with pytest.raises(ResourceError, match=r"million numbers of pisa-sr-x4.*Use a computer"):
        load(base, pkl)
