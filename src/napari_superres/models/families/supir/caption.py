"""Describe a picture in words, for the prompt; off unless asked for. See `models.captions`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from napari_superres.errors import WeightsError

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

    Answers are the likeliest words, not drawn ones, so that a plane always has the same caption.

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
        from transformers import AutoModelForImageTextToText, AutoProcessor, __version__

        # The keyword was renamed; large captioners do not fit into memory in float32.
        kind = {"dtype" if int(__version__.split(".")[0]) >= 5 else "torch_dtype": dtype}
        try:
            self.processor: Any = AutoProcessor.from_pretrained(name, local_files_only=True)
            model: Any = AutoModelForImageTextToText.from_pretrained(
                name, local_files_only=True, **kind
            )
        except (OSError, ValueError, KeyError) as error:
            raise WeightsError(
                f"'{name}' is no image-to-text model on this computer ({_first_line(error)}).",
                f"Fetch it with 'hf download {name}', or name its folder.",
            ) from error
        self.model = model.to(device).eval()
        self.longest = longest

    def __call__(self, picture: np.ndarray) -> str:
        """Return a description. See `Captioner`."""
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
        inputs = inputs.to(self.model.device, self.model.dtype)
        with torch.inference_mode():
            ids = self.model.generate(**inputs, max_new_tokens=self.longest, do_sample=False)
        if asks:  # the answer follows the question
            ids = ids[:, inputs["input_ids"].shape[1] :]
        words = self.processor.batch_decode(ids, skip_special_tokens=True)[0]
        return str(words).strip()


def as_picture(image: torch.Tensor) -> np.ndarray:
    """Return an image of shape (1, 3, y, x) between -1 and 1 as a picture of 8 bits."""
    scaled = ((image[0].float().cpu() + 1) * 127.5).round().clamp(0, 255)
    return np.asarray(scaled.permute(1, 2, 0).to(torch.uint8).numpy())


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
