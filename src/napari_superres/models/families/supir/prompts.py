"""Words for pictures: what the network is asked for when the user says nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """What to ask for, and what the colours are taken from.

    Parameters
    ----------
    positive, negative : str
        What the picture should and should not look like.
    reference : {"input", "stage1"}
        Whether colours and intensities come from the measured image, or from the restored picture
        of stage 1.
    """

    positive: str
    negative: str
    reference: str


PRESETS = {
    # Names no specimen and no instrument: a word for a structure would draw that structure. The
    # words for quality in the negative text were seen in training.
    "microscopy": Preset(
        positive="A sharp, clean image.",
        negative="blurry, noisy, low quality, jpeg artifacts",
        reference="input",
    ),
    # The defaults of the original program, made for photographs.
    "photo": Preset(
        positive=(
            "Cinematic, High Contrast, highly detailed, taken using a Canon EOS R camera, hyper "
            "detailed photo - realistic maximum detail, 32k, Color Grading, ultra HD, extreme "
            "meticulous detailing, skin pore detailing, hyper sharpness, perfect without "
            "deformations."
        ),
        negative=(
            "painting, oil painting, illustration, drawing, art, sketch, oil painting, cartoon, CG "
            "Style, 3D render, unreal engine, blurring, dirty, messy, worst quality, low quality, "
            "frames, watermark, signature, jpeg artifacts, deformed, lowres, over-smooth"
        ),
        reference="stage1",
    ),
}
"""By the names that users give."""
