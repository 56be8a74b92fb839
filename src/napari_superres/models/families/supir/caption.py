"""Describe a picture in words, for the prompt; off unless asked for. See `models.captions`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from napari_superres.errors import WeightsError
from napari_superres.models.hub import local_place
from napari_superres.models.plane_engine import enough_memory
from napari_superres.progress import breathe
from napari_superres.resources import check_memory

QUESTION = "Describe this image and its style in a very detailed manner."
"""What models that answer questions are asked, as in the original."""

LONGEST = 512
"""Tokens of an answer; SDXL reads 77 of them."""


class Captioner(Protocol):
    """Anything that describes a picture."""

    def __call__(self, picture: np.ndarray) -> str:
        """Return a description.

        Parameters
        ----------
        picture : np.ndarray, shape (y, x, 3), uint8
        """


class TransformersCaptioner:
    """A captioner made of an image-to-text model of transformers.

    It is in memory only while it describes a picture, because it is larger than what restores the
    picture afterwards; to read it again takes seconds, to restore a plane minutes. Answers are the
    likeliest words, not drawn ones, so that a plane always has the same caption.

    Parameters
    ----------
    name : str
        Folder or id of a model that is on this computer: LLaVA-1.5 (as in the original,
        ``llava-hf/llava-1.5-13b-hf``), SmolVLM, BLIP and others.
    device : str
        Where it runs.
    dtype : torch.dtype
    longest : int
        Tokens of an answer.

    Raises
    ------
    WeightsError
        If the model is not on this computer, or is none that describes images.
    """

    def __init__(
        self,
        name: str,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        longest: int = LONGEST,
    ) -> None:
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        self.name = name
        self.device = device
        self.dtype = dtype
        self.longest = longest
        try:
            self.processor: Any = AutoProcessor.from_pretrained(name, local_files_only=True)
            config = AutoConfig.from_pretrained(name, local_files_only=True)
            with torch.device("meta"):
                empty = AutoModelForImageTextToText.from_config(config)
        except (OSError, ValueError, KeyError) as error:
            raise self._not_here(_first_line(error)) from error
        place = local_place(name)
        kinds = {path.suffix for path in place.iterdir()} if place else set()
        if not kinds & {".safetensors", ".bin"}:
            raise self._not_here("it has no weights")
        self.numbers = sum(parameter.numel() for parameter in empty.parameters())

    def __call__(self, picture: np.ndarray) -> str:
        """Return a description. See `Captioner`.

        Raises
        ------
        ResourceError
            If memory does not suffice.
        WeightsError
            If the weights cannot be read.
        """
        from PIL import Image

        image = Image.fromarray(picture)
        asks = getattr(self.processor, "chat_template", None) is not None
        if asks:
            content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
            text = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
            inputs = self.processor(images=image, text=text, return_tensors="pt")
        else:
            inputs = self.processor(images=image, return_tensors="pt")
        inputs = inputs.to(self.device, self.dtype)
        ids = self._answer(inputs)
        if asks:  # the answer follows the question
            ids = ids[:, inputs["input_ids"].shape[1] :]
        words = self.processor.batch_decode(ids, skip_special_tokens=True)[0]
        return str(words).strip()

    def _answer(self, inputs: Any) -> torch.Tensor:
        """Return the tokens of an answer; the model is in memory in here alone."""
        from transformers import (
            AutoModelForImageTextToText,
            StoppingCriteriaList,
            __version__,
        )

        check_memory(
            self.numbers * self.dtype.itemsize,
            f"Loading the {self.numbers / 1e6:.0f} million numbers of the captioner '{self.name}' "
            f"as {self.dtype}",
            "Use precision='bfloat16', which takes half, or a smaller captioner.",
        )
        # The keyword was renamed; large captioners do not fit into memory in float32.
        kind = {"dtype" if int(__version__.split(".")[0]) >= 5 else "torch_dtype": self.dtype}
        try:
            model: Any = AutoModelForImageTextToText.from_pretrained(
                self.name, local_files_only=True, **kind
            )
        except (OSError, ValueError, KeyError) as error:
            raise self._not_here(_first_line(error)) from error
        advice = "Use the option offload='parts', precision='bfloat16', or a smaller captioner."
        with enough_memory(self.name, "a description", self.device, advice), torch.inference_mode():
            model = model.to(self.device).eval()
            ids = model.generate(
                **inputs,
                max_new_tokens=self.longest,
                do_sample=False,
                stopping_criteria=StoppingCriteriaList([_never]),
            ).cpu()
        del model
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return torch.as_tensor(ids)

    def _not_here(self, reason: str) -> WeightsError:
        return WeightsError(
            f"'{self.name}' is no image-to-text model on this computer ({reason}).",
            f"Fetch it with 'hf download {self.name}', or name its folder.",
        )


def as_picture(image: torch.Tensor) -> np.ndarray:
    """Return an image of shape (1, 3, y, x) between -1 and 1 as a picture of 8 bits."""
    scaled = ((image[0].float().cpu() + 1) * 127.5).round().clamp(0, 255)
    return np.asarray(scaled.permute(1, 2, 0).to(torch.uint8).numpy())


def _never(ids: torch.Tensor, scores: torch.Tensor, **options: Any) -> torch.Tensor:
    """Stop no answer; asked after each word, so that somebody can stop the whole work."""
    breathe()
    return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
