"""A captioner describes each plane once, and what it says can be changed."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from napari_superres.errors import Cancelled, ResourceError, SettingError, WeightsError
from napari_superres.models.captions import parse_captions, reviewing, write_captions
from napari_superres.models.engine import Address, Halo
from napari_superres.models.families.supir.caption import TransformersCaptioner, as_picture
from napari_superres.models.families.supir.engine import SupirEngine
from napari_superres.models.families.supir.loading import load_supir
from napari_superres.models.families.supir.pipeline import Pipeline
from napari_superres.models.families.supir.settings import Settings
from napari_superres.progress import on_tick

if TYPE_CHECKING:
    from pathlib import Path

    from tests.supir_tiny import Tiny

WORDS = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "USER:", "ASSISTANT:", "round", "cells"]


class Fake:
    """Says a number that grows, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def __call__(self, picture: np.ndarray) -> str:
        """Return the number as a sentence."""
        self.seen.append(picture)
        return f"Picture {len(self.seen)}."


def test_each_plane_is_described_once_and_the_text_counts(supir: Tiny) -> None:
    """Hours of captions for one plane, or captions that are shown and not used."""
    torch.set_num_threads(1)
    loaded = load_supir(supir.supir, str(supir.diffusers))
    asked: list[str] = []

    def words(text: str) -> Any:
        asked.append(text)
        return loaded.encoders(text)

    settings = Settings(smallest=64, steps=1, prompt="Sharp.", restoration=0)
    layout = loaded.layout
    device = torch.device("cpu")
    pipeline = Pipeline(
        loaded.network, loaded.autoencoder, settings, device, layout.factor, layout.latent, words
    )
    captioner = Fake()
    plain, engine = SupirEngine(pipeline, 4), SupirEngine(pipeline, 4, captioner)
    plane = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    halo = Halo(0, 0, 0, 0)

    without = plain(plane, halo, [Address(0, 0, 0, 0, 0)])
    first = engine(plane, halo, [Address(0, 0, 0, 0, 0)])
    engine(plane, halo, [Address(0, 1, 0, 0, 0)])  # another sample of the same plane
    assert len(captioner.seen) == 1
    assert captioner.seen[0].shape == (64, 64, 3)
    assert captioner.seen[0].dtype == np.uint8
    assert asked.count("Picture 1.Sharp.") == 2
    assert not np.array_equal(first, without)

    shown = []

    def edit(number: int, caption: str) -> str:
        shown.append((number, caption))
        return ""

    with reviewing(edit):
        edited = engine(plane, halo, [Address(0, 0, 7, 0, 0)])
        engine(plane, halo, [Address(0, 1, 7, 0, 0)])
    assert shown == [(7, "Picture 1.")]  # once, and not described again: it is the same picture
    np.testing.assert_array_equal(edited, plain(plane, halo, [Address(0, 0, 7, 0, 0)]))

    engine(1 - plane, halo, [Address(0, 0, 0, 0, 0)])  # the first plane of another image
    assert len(captioner.seen) == 2
    assert asked[-2] == "Picture 2.Sharp."
    with pytest.raises(SettingError, match=r"whole planes.*the option captions"):
        engine(plane, Halo(0, 4, 0, 0), [Address(0, 0, 0, 0, 0)])


def test_captions_given_beforehand_are_used_in_place_of_a_captioners(supir: Tiny) -> None:
    """What a user has read and changed would be described anew."""
    torch.set_num_threads(1)
    loaded = load_supir(supir.supir, str(supir.diffusers))
    captions = {0: "Round cells.", 12: ""}
    text = write_captions(captions)
    assert parse_captions(text) == captions
    assert parse_captions("") == {}
    asked: list[str] = []

    def words(text: str) -> Any:
        asked.append(text)
        return loaded.encoders(text)

    settings = Settings(smallest=64, steps=1, prompt="Sharp.", captions=text)
    layout = loaded.layout
    pipeline = Pipeline(
        loaded.network,
        loaded.autoencoder,
        settings,
        torch.device("cpu"),
        layout.factor,
        layout.latent,
        words,
    )
    captioner = Fake()
    engine = SupirEngine(pipeline, 4, captioner)
    plane = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    for number in (0, 12, 3):
        engine(plane, Halo(0, 0, 0, 0), [Address(0, 0, number, 0, 0)])
    assert asked[::2] == ["Round cells.Sharp.", "Sharp.", "Picture 1.Sharp."]


@pytest.mark.parametrize("text", ["cells", "[1]", '{"first": "cells"}', "3"])
def test_captions_that_are_none_are_refused(text: str) -> None:
    """A slip of the pen would be ignored, and the picture be made without a caption."""
    with pytest.raises(SettingError, match="captions is not a JSON object"):
        parse_captions(text)


def test_picture_for_a_captioner_has_the_whole_range() -> None:
    """A captioner would see a black or a washed-out picture."""
    image = torch.tensor([-1.5, -1.0, 0.0, 1.0]).expand(1, 3, 2, 4)
    assert as_picture(image)[0, :, 0].tolist() == [0, 0, 128, 255]


def _tokenizer(**options: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        **options,
    )


def _vision() -> dict[str, int]:
    return {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }


def _save_llava(folder: Path) -> None:
    import transformers as tf

    template = (
        "{% for m in messages %}USER: {% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}"
        "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT: {% endif %}"
    )
    size = {"height": 32, "width": 32}
    tf.LlavaProcessor(
        tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        _tokenizer(additional_special_tokens=["<image>"]),
        patch_size=16,
        vision_feature_select_strategy="default",
        chat_template=template,
        image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    text = tf.LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**_vision()), text_config=text, image_token_index=4
    )
    torch.manual_seed(0)
    model = tf.LlavaForConditionalGeneration(config)
    model.generation_config.suppress_tokens = [0, 1, 2, 3, 4]  # words only, and no end
    model.save_pretrained(folder)


def _save_blip(folder: Path) -> None:
    import transformers as tf

    text = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "encoder_hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
        "max_position_embeddings": 64,
    }
    size = {"height": 32, "width": 32}
    tf.BlipProcessor(tf.BlipImageProcessor(size=size), _tokenizer()).save_pretrained(folder)
    torch.manual_seed(0)
    config = tf.BlipConfig(text_config=text, vision_config=_vision(), projection_dim=16)
    tf.BlipForConditionalGeneration(config).save_pretrained(folder)


@pytest.mark.parametrize("save", [_save_llava, _save_blip])
def test_models_that_answer_and_models_that_describe_both_work(
    tmp_path: Path, save: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A captioner named by its folder would fail, or its question would end up in the prompt."""
    torch.set_num_threads(1)
    save(tmp_path)
    loaded: list[Any] = []
    load = transformers.AutoModelForImageTextToText.from_pretrained

    def watched(*arguments: Any, **options: Any) -> Any:
        model = load(*arguments, **options)
        loaded.append(weakref.ref(model))
        return model

    monkeypatch.setattr(transformers.AutoModelForImageTextToText, "from_pretrained", watched)
    captioner = TransformersCaptioner(str(tmp_path), longest=6)
    assert not loaded
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    text = captioner(picture)
    assert text
    assert set(text.split()) <= set(WORDS)
    assert "Describe" not in text
    assert captioner(picture) == text
    gc.collect()
    assert [model() for model in loaded] == [None, None]  # it makes room for what is larger

    def stop(done: int, total: int) -> None:
        raise Cancelled("Stopped.")

    with on_tick(stop), pytest.raises(Cancelled):
        captioner(picture)
    monkeypatch.setattr("napari_superres.resources.free_memory", lambda: 1000)
    with pytest.raises(ResourceError, match=r"million numbers of the captioner.*bfloat16"):
        captioner(picture)


def test_captioner_that_is_not_here_is_refused(tmp_path: Path) -> None:
    """A model of many gigabytes would be fetched unasked."""
    for name in ("nobody/nothing", str(tmp_path)):
        with pytest.raises(WeightsError, match="no image-to-text model on this computer"):
            TransformersCaptioner(name)
    _save_blip(tmp_path)
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(WeightsError, match="it has no weights"):
        TransformersCaptioner(str(tmp_path))
