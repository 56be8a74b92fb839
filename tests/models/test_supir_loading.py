"""SUPIR is loaded from what is published, and refused by the name of what is missing."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("diffusers")

import torch
from safetensors.torch import load_file, save_file

from napari_superres.errors import MissingDependencyError, ResourceError, WeightsError
from napari_superres.models.cache import weights_folder
from napari_superres.models.families import supir as family
from napari_superres.models.families.supir.base import FILES, IDS, find_base, find_tokenizer
from napari_superres.models.families.supir.layout import Layout
from napari_superres.models.families.supir.loading import load_supir
from napari_superres.models.parts import open_tensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.supir_tiny import Tiny


@pytest.fixture(autouse=True)
def _nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide what this computer has from the hub, and keep to one thread."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    torch.set_num_threads(1)


def load(tiny: Tiny, own: Path | None = None, base: Path | None = None) -> Any:
    """Load SUPIR, with the tokenizer of the tiny model."""
    words = str(tiny.folder / "tokenizer")
    return load_supir(own or tiny.supir, str(base or tiny.single), words)


@pytest.mark.parametrize("own", ["supir", "ckpt"])
@pytest.mark.parametrize("base", ["single", "diffusers"])
def test_every_published_form_gives_the_same_model(supir: Tiny, own: str, base: str) -> None:
    """Weights would work from one site and draw nonsense from another."""
    loaded = load(supir, getattr(supir, own), getattr(supir, base))
    for part, saved in (
        (loaded.network, supir.network),
        (loaded.autoencoder, supir.autoencoder),
    ):
        state, expected = part.state_dict(), saved.state_dict()
        assert set(state) == set(expected)
        for name, tensor in state.items():
            assert torch.equal(tensor, expected[name]), name
    assert loaded.autoencoder.robust.quant_conv is loaded.autoencoder.plain.quant_conv


def test_both_forms_of_the_text_encoders_say_the_same(supir: Tiny) -> None:
    """A prompt would mean something else with a single file than with a folder."""
    one = load(supir, base=supir.single).encoders("Round cells, in focus.")
    two = load(supir, base=supir.diffusers).encoders("Round cells, in focus.")
    assert one.context.shape == (1, 77, 128)
    torch.testing.assert_close(one.context, two.context, rtol=0, atol=1e-6)
    torch.testing.assert_close(one.vector, two.vector, rtol=0, atol=1e-6)
    other = load(supir).encoders("Square cells, in focus.")
    assert not torch.equal(one.context, other.context)
    assert not torch.equal(one.vector, other.vector)


def test_text_encoders_pad_as_the_original_and_read_77_tokens(supir: Tiny) -> None:
    """The network would hear words that it was not trained to hear."""
    encoders = load(supir).encoders
    seen = []
    for encoder in (encoders.first, encoders.second):
        forward = encoder.forward

        def spy(ids: torch.Tensor, forward: Any = forward, **options: Any) -> Any:
            seen.append(ids[0].tolist())
            return forward(ids, **options)

        encoder.forward = spy
    encoders("ab")
    begin, end = 512, 513
    assert seen[0][0] == seen[1][0] == begin
    length = seen[0].index(end)
    assert seen[0][length:] == [end] * (77 - length)
    assert seen[1][length:] == [end] + [0] * (76 - length)
    encoders("word " * 200)
    assert len(seen[2]) == 77
    assert seen[2][-1] == end


def test_half_precision_keeps_the_autoencoder_out_of_float16(supir: Tiny) -> None:
    """SDXL's autoencoder overflows there, and pictures would be black."""
    loaded = load_supir(supir.supir, str(supir.diffusers), dtype=torch.float16)
    assert loaded.network.unet.conv_in.weight.dtype == torch.float16
    assert loaded.autoencoder.dtype == torch.bfloat16


def test_layout_of_full_size_is_sdxls() -> None:
    """Published files would be refused as of another network."""
    layout = Layout()
    with torch.device("meta"):
        sizes = {"unet": layout.unet(), "control": layout.control(), "adapters": layout.adapters()}
        robust = layout.autoencoder().encoder
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in sizes.items()}
    # Millions, counted from the published files: 2567.5, 1243.4 and 54.8; 34.2 for the encoder.
    assert [round(n / 1e6, 1) for n in count.values()] == [2567.5, 1243.4, 54.8]
    assert round(sum(p.numel() for p in robust.parameters()) / 1e6, 1) == 34.2
    assert len(sizes["control"].state_dict()) == 810
    assert len(sizes["adapters"].state_dict()) == 118


def _rewrite(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    tensors = load_file(source)
    change(tensors)
    save_file(tensors, target)
    return target


@pytest.mark.parametrize(
    ("prefix", "part"),
    [
        ("model.control_model.", "control network"),
        ("model.diffusion_model.project_modules.", "adapters"),
        ("first_stage_model.denoise_encoder.", "degradation-robust encoder"),
    ],
)
def test_supir_file_without_a_part_is_refused_by_its_name(
    supir: Tiny, tmp_path: Path, prefix: str, part: str
) -> None:
    """The rest would run and draw noise."""

    def without(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.startswith(prefix)]:
            del tensors[name]

    path = _rewrite(supir.supir, tmp_path / "cut.safetensors", without)
    with pytest.raises(WeightsError, match=rf"cut\.safetensors.*lacks the {part}"):
        load(supir, own=path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.control_model.input_blocks.1.0.in_layers.2.weight", "input_blocks.1.0"),
        ("model.control_model.middle_block.2.out_layers.3.bias", "mid_block.resnets.1.conv2.bias"),
        ("model.control_model.label_emb.0.0.weight", "label_emb.0.0.weight"),
        ("model.diffusion_model.project_modules.1.zero_conv.bias", "1.mix.bias"),
        ("first_stage_model.denoise_encoder.conv_out.bias", "conv_out.bias"),
    ],
)
def test_one_missing_tensor_is_named(supir: Tiny, tmp_path: Path, name: str, words: str) -> None:
    """Somebody with a truncated conversion would not learn what is wrong with it."""
    path = _rewrite(supir.supir, tmp_path / "cut.safetensors", lambda tensors: tensors.pop(name))
    with pytest.raises(WeightsError, match=rf"cut\.safetensors.*lacks.*{words}"):
        load(supir, own=path)


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("model.diffusion_model.", "network"),
        ("first_stage_model.", "autoencoder"),
        ("conditioner.embedders.0.", "first text encoder"),
        ("conditioner.embedders.1.", "second text encoder"),
        ("model.diffusion_model.time_embed.0.bias", "time_embedding.linear_1.bias"),
        ("first_stage_model.decoder.conv_in.bias", "decoder.conv_in.bias"),
        ("conditioner.embedders.0.transformer.text_model.final_layer_norm.bias", "final_layer"),
        ("conditioner.embedders.1.model.text_projection", "text_projection"),
        ("conditioner.embedders.1.model.token_embedding", "token_embedding"),
    ],
)
def test_incomplete_sdxl_file_is_refused_by_what_it_lacks(
    supir: Tiny, tmp_path: Path, prefix: str, words: str
) -> None:
    """A network or a part of a checkpoint, given as the base, would draw noise."""

    def without(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.startswith(prefix)]:
            del tensors[name]

    path = _rewrite(supir.single, tmp_path / "base.safetensors", without)
    with pytest.raises(WeightsError, match=rf"base\.safetensors.*lacks.*{words}"):
        load(supir, base=path)


def test_foreign_reshaped_and_broken_tensors_are_refused(supir: Tiny, tmp_path: Path) -> None:
    """Another network's file, or a failed training, would draw noise."""

    def foreign(tensors: dict[str, Any]) -> None:
        tensors["model.control_model.zero_convs.0.weight"] = torch.ones(1)

    def narrow(tensors: dict[str, Any]) -> None:
        tensors["model.control_model.input_hint_block.0.weight"] = torch.ones(64, 3, 3, 3)

    def broken(tensors: dict[str, Any]) -> None:
        tensors["model.control_model.input_hint_block.0.bias"][3] = float("nan")

    for change, words in (
        (foreign, "does not know.*zero_convs"),
        (narrow, r"input_hint_block.*\(64, 3, 3, 3\)"),
        (broken, "input_hint_block.0.bias' is not made of finite"),
    ):
        path = _rewrite(supir.supir, tmp_path / "other.safetensors", change)
        with pytest.raises(WeightsError, match=words):
            load(supir, own=path)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "text_encoder_2", "tokenizer"])
def test_folder_without_a_part_is_refused_by_its_name(
    supir: Tiny, tmp_path: Path, part: str
) -> None:
    """A download that was cut off would fail with a trace of somebody else's code."""
    folder = tmp_path / "sdxl"
    shutil.copytree(supir.diffusers, folder)
    shutil.rmtree(folder / part)
    with pytest.raises(WeightsError, match=part):
        load_supir(supir.supir, str(folder))


def test_folder_without_a_piece_of_its_weights_is_refused(supir: Tiny, tmp_path: Path) -> None:
    """Of large models one piece of several is easily lost."""
    folder = tmp_path / "sdxl"
    shutil.copytree(supir.diffusers, folder)
    piece = sorted((folder / "unet").glob("*-of-*.safetensors"))[1]
    piece.unlink()
    with pytest.raises(WeightsError, match=piece.name):
        load_supir(supir.supir, str(folder))
    for file in (folder / "vae").glob("*.safetensors"):
        file.unlink()
    shutil.copytree(supir.diffusers / "unet", folder / "unet", dirs_exist_ok=True)
    with pytest.raises(WeightsError, match=r"vae' has no weights"):
        load_supir(supir.supir, str(folder))


@pytest.mark.parametrize("content", ["", '{"weight', "[]", "null"])
@pytest.mark.parametrize(
    "name",
    [
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "text_encoder/config.json",
        "text_encoder_2/config.json",
        "tokenizer/vocab.json",
    ],
)
def test_spoilt_text_of_a_folder_is_refused_by_its_place(
    supir: Tiny, tmp_path: Path, name: str, content: str
) -> None:
    """Small files are cut off as large ones are; a trace of somebody else's code helps nobody."""
    folder = tmp_path / "sdxl"
    shutil.copytree(supir.diffusers, folder)
    (folder / name).write_text(content)
    where = "tokenizer" if "vocab" in name else name
    with pytest.raises(WeightsError, match=rf"sdxl/{where}'"):
        load_supir(supir.supir, str(folder))


class _Touch:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def test_pickled_code_is_not_executed(
    supir: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint from a forum could do anything with the user's computer."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "callbacks": _Touch()}, path)
    with pytest.raises(WeightsError, match=r"evil\.ckpt.*not run"):
        load(supir, own=path)
    path.write_bytes(pickle.dumps(_Touch()))
    with pytest.raises(WeightsError, match=r"evil\.ckpt"):
        load(supir, own=path)
    assert not (tmp_path / "executed").exists()


def test_what_is_no_file_of_weights_is_refused_by_what_it_is(supir: Tiny, tmp_path: Path) -> None:
    """The page of a download, saved in place of the file, is the usual mistake."""
    page = tmp_path / "SUPIR-v0Q.ckpt"
    page.write_text("<!DOCTYPE html><html>Google Drive - Virus scan warning</html>")
    with pytest.raises(WeightsError, match="web page"):
        load(supir, own=page)
    whole = supir.supir.read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="truncated"):
        load(supir, own=tmp_path / "half.safetensors")
    with pytest.raises(WeightsError, match="no file of weights"):
        load(supir, own=tmp_path / "none.safetensors")


def test_spoilt_pickle_is_refused_wherever_it_is_spoilt(tmp_path: Path) -> None:
    """Damage to the few bytes that describe the tensors must not end in a traceback."""
    path = tmp_path / "net.ckpt"
    torch.save({"state_dict": {"a.weight": torch.ones(4, 3), "b.bias": torch.ones(4)}}, path)
    whole = path.read_bytes()
    start = whole.index(b"\x80\x02") + 2  # of an old protocol torch warns, and no more
    for place in range(start, whole.index(b"PK", start)):
        path.write_bytes(whole[:place] + b"\x00" + whole[place + 1 :])
        with contextlib.suppress(WeightsError):
            open_tensors(path)


def test_base_is_looked_for_in_the_usual_places(supir: Tiny, tmp_path: Path) -> None:
    """A user who has SDXL for another program would have to fetch it again."""
    with pytest.raises(WeightsError, match=r"nothing is downloaded unasked.*hf download"):
        find_base("")
    hub = tmp_path / "hub" / f"models--{IDS[0].replace('/', '--')}"
    snapshot = hub / "snapshots" / "abc"
    shutil.copytree(supir.diffusers, snapshot)
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("abc")
    assert find_base("") == snapshot
    assert find_base(IDS[0]) == snapshot
    assert find_tokenizer("", supir.single) == snapshot / "tokenizer"
    weights_folder().mkdir(parents=True)
    shutil.copy(supir.single, weights_folder() / FILES[0])
    assert find_base("") == weights_folder() / FILES[0]
    assert find_base(str(supir.folder)) == supir.single  # a folder with the single file in it
    for wish in ("nobody/nothing", str(tmp_path / "none")):
        with pytest.raises(WeightsError, match="no SDXL checkpoint"):
            find_base(wish)


def test_single_file_without_a_tokenizer_says_where_to_get_one(supir: Tiny) -> None:
    """Single files have none, and the error would speak of a vocabulary."""
    with pytest.raises(WeightsError, match=r"no tokenizer.*hf download openai/clip"):
        load_supir(supir.supir, str(supir.single))


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user would not know what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r'pip install "napari-superres\[diffusion\]"'):
        family.check_installed("supir-v0f")


def test_numbers_of_published_checkpoints_are_not_lost(supir: Tiny) -> None:
    """Half precision on the disk is what is computed with."""
    published = load_file(supir.supir)["model.control_model.input_hint_block.0.weight"]
    ours = load(supir).network.control.controlnet_cond_embedding.weight
    np.testing.assert_array_equal(ours.numpy(), published.float().numpy())


def test_a_model_that_does_not_fit_into_memory_is_refused_before_it_is_loaded(
    supir: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The computer would swap for an hour, or the system kill the program."""
    monkeypatch.setattr("napari_superres.resources.free_memory", lambda: 1000)
    with pytest.raises(ResourceError, match=r"million numbers of SUPIR.*bfloat16"):
        load_supir(supir.supir, str(supir.diffusers))
