"""SDXL's two text encoders: from words to what the network is conditioned on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_superres.errors import WeightsError
from napari_superres.models.families.supir.network import Conditioning
from napari_superres.models.parts import Found, fill, open_folder, read_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor
    from transformers import CLIPTextModel, CLIPTextModelWithProjection


SIZES = (1024, 1024, 0, 0, 1024, 1024)
"""Original size, crop and target size, which SDXL is told; SUPIR always says these."""

_OPEN_CLIP = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


class TextEncoders:
    """Turns a text into `Conditioning`.

    Parameters
    ----------
    tokenizer : CLIPTokenizer
        Both encoders have the same vocabulary and differ only in what they pad with.
    first : CLIPTextModel
    second : CLIPTextModelWithProjection
    vector : int
        Width of the vector of pooled text and sizes.
    """

    def __init__(
        self,
        tokenizer: Any,
        first: CLIPTextModel,
        second: CLIPTextModelWithProjection,
        vector: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.first = first
        self.second = second
        self.vector = vector

    def __call__(self, text: str) -> Conditioning:
        """Return what the network is told for a text, float32 on the CPU; 77 tokens are read."""
        length = self.first.config.max_position_embeddings
        ids = self.tokenizer(text, truncation=True, max_length=length)["input_ids"]
        with torch.inference_mode():
            # The first encoder pads with its end token, the second with token 0.
            one = self._read(self.first, ids, ids[-1])
            two = self._read(self.second, ids, 0)
        pooled = two.text_embeds.float().cpu()
        context = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1).float().cpu()
        sizes = size_vector((self.vector - pooled.shape[1]) // len(SIZES))
        return Conditioning(context, torch.cat([pooled, sizes[None]], dim=1))

    def _read(self, encoder: Any, ids: list[int], padding: int) -> Any:
        length = self.first.config.max_position_embeddings
        padded = torch.tensor([ids + [padding] * (length - len(ids))])
        return encoder(padded.to(encoder.device), output_hidden_states=True)


def size_vector(width: int) -> Tensor:
    """Return the six sizes as waves, `width` numbers each: cosines, then sines."""
    half = width // 2
    frequencies = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(half) / half)
    phases = torch.tensor(SIZES, dtype=torch.float32)[:, None] * frequencies
    return torch.cat([phases.cos(), phases.sin()], dim=1).flatten()


def build_encoder(found: Found, config: Any, kind: type, name: str, dtype: torch.dtype) -> Any:
    """Return a text encoder with its weights.

    Parameters
    ----------
    found : Found
        Its tensors, by names without the leading ``text_model.``.
    config : CLIPTextConfig
    kind : type
        `CLIPTextModel` or `CLIPTextModelWithProjection`.
    name : str
        What to call it in an error.
    dtype : torch.dtype

    Raises
    ------
    WeightsError
        If tensors are missing, too many, or of another shape.
    """
    with torch.device("meta"):
        encoder = kind(config)
    # transformers 5 dropped the prefix from one of the two classes.
    names = {key.removeprefix("text_model."): key for key in encoder.state_dict()}
    source = {names.get(ours, ours): theirs for ours, theirs in found.source.items()}
    fill(encoder, found.tensors, source, name=name, where=found.where, dtype=dtype)
    for module in encoder.modules():
        ids = getattr(module, "position_ids", None)
        if isinstance(ids, torch.Tensor) and ids.is_meta:
            module.position_ids = torch.arange(ids.shape[-1])[None]
    return encoder


def encoder_config(
    tensors: Mapping[str, Tensor], source: Mapping[str, str], activation: str
) -> Any:
    """Return the configuration of a text encoder that comes without one, from its shapes.

    Parameters
    ----------
    tensors, source : mapping
        As in `Found`.
    activation : {"quick_gelu", "gelu"}
        Which the shapes do not tell.
    """
    from transformers import CLIPTextConfig

    def shape(name: str) -> torch.Size:
        return tensors[source[name]].shape

    vocabulary, width = shape("embeddings.token_embedding.weight")
    layers = [re.match(r"encoder\.layers\.(\d+)\.", name) for name in source]
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=shape("encoder.layers.0.mlp.fc1.weight")[0],
        projection_dim=shape("text_projection.weight")[0]
        if "text_projection.weight" in source
        else width,
        num_hidden_layers=1 + max(int(match[1]) for match in layers if match),
        num_attention_heads=width // 64,
        max_position_embeddings=shape("embeddings.position_embedding.weight")[0],
        hidden_act=activation,
        # CLIP's vocabulary ends with the tokens that begin and end a text.
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
    )


def from_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an OpenCLIP text encoder by transformers' names.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        By OpenCLIP's names. Queries, keys and values lie in one tensor there, and the projection is
        transposed.
    """
    out = {}
    for name, tensor in tensors.items():
        if name.startswith("transformer.resblocks."):
            layer, _, rest = name.removeprefix("transformer.resblocks.").partition(".")
            prefix = f"encoder.layers.{layer}."
            stem, _, kind = rest.rpartition(".")
            if rest.startswith("attn.in_proj_"):
                kind = rest.removeprefix("attn.in_proj_")
                for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                    out[f"{prefix}self_attn.{letter}_proj.{kind}"] = part
            else:
                out[f"{prefix}{_OPEN_CLIP.get(stem, stem)}.{kind}"] = tensor
        elif name == "token_embedding.weight":
            out["embeddings.token_embedding.weight"] = tensor
        elif name == "positional_embedding":
            out["embeddings.position_embedding.weight"] = tensor
        elif name.startswith("ln_final."):
            out[name.replace("ln_final", "final_layer_norm")] = tensor
        elif name == "text_projection":
            out["text_projection.weight"] = tensor.T
        elif name != "logit_scale":  # only training compares texts with images
            out[name] = tensor
    return out


def open_encoder(folder: Path, *, half: bool) -> Found:
    """Return the tensors of a diffusers model's text encoder.

    Parameters
    ----------
    folder : Path
        Of the model, with ``text_encoder`` and ``tokenizer``.
    half : bool
        Whether weights in half precision are preferred, where both are there.

    Raises
    ------
    WeightsError
        If a part is not there.
    """
    for needed in ("text_encoder/config.json", "tokenizer/vocab.json"):
        if not (folder / needed).is_file():
            raise WeightsError(
                f"'{folder}' is not a complete model: it lacks '{needed}'.",
                "Fetch the whole folder again.",
            )
    place = folder / "text_encoder"
    tensors = open_folder(place, "model", half=half)
    source = {
        name.removeprefix("text_model."): name
        for name in tensors
        if not name.endswith("position_ids")
    }
    return Found(tensors, source, str(place))


def open_config(folder: Path) -> Any:
    """Return the configuration of a text encoder.

    Raises
    ------
    WeightsError
        If it cannot be read.
    """
    from transformers import CLIPTextConfig

    read_config(folder / "config.json")  # refuses what is none, in words
    return CLIPTextConfig.from_pretrained(folder)


def open_tokenizer(folder: Path) -> Any:
    """Return a tokenizer.

    Raises
    ------
    WeightsError
        If its files cannot be read.
    """
    from transformers import CLIPTokenizer

    try:
        return CLIPTokenizer.from_pretrained(str(folder))
    except Exception as error:  # the package that reads them has no narrower one
        raise WeightsError(
            f"The tokenizer in '{folder}' cannot be read ({error}).", "Fetch its folder again."
        ) from error


def encode(found: Found, texts: Sequence[str], dtype: torch.dtype) -> Tensor:
    """Return what a model is told for some texts.

    Parameters
    ----------
    found : Found
        From `open_encoder`.
    texts : sequence of str
    dtype : torch.dtype

    Returns
    -------
    Tensor, shape (texts, tokens, width), float32

    Raises
    ------
    WeightsError
        If the encoder is incomplete, or its tokenizer cannot be read.
    """
    from transformers import CLIPTextModel

    place = Path(found.where)
    config = open_config(place)
    encoder = build_encoder(found, config, CLIPTextModel, "text encoder", dtype)
    words = open_tokenizer(place.with_name("tokenizer"))
    length = config.max_position_embeddings
    ids = words(list(texts), padding="max_length", truncation=True, max_length=length)["input_ids"]
    with torch.inference_mode():
        return encoder(torch.tensor(ids))[0].float()
