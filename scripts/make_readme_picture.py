"""Make docs/images/side_by_side.png: source, bicubic, model and truth of the sample filaments.

Run it from the top of the repository: ``python scripts/make_readme_picture.py [MODEL]``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

import napari_superres as sr
from napari_superres.models.catalog import default_model

TOP = Path(__file__).parents[1]
CROP = 56
"""Edge of what is shown, in source pixels."""
ZOOM = 5
"""Screen pixels for each source pixel."""


def main(model: str) -> None:
    source = sr.read(TOP / "sample_data" / "filaments_lowres.ome.tif")
    truth = sr.read(TOP / "sample_data" / "filaments_truth.ome.tif")
    values = plane(source)
    y, x = (int(n) // 2 - CROP // 2 for n in values.shape)
    window = (slice(4 * y, 4 * (y + CROP)), slice(4 * x, 4 * (x + CROP)))
    panels = {
        "source": plane(sr.upscale(source, "nearest", scale=4))[window],
        "bicubic x4": plane(sr.upscale(source, "bicubic", scale=4))[window],
        f"{model}": plane(sr.upscale(source, model, scale=4))[window],
        "truth (simulated)": plane(truth)[window],
    }
    low, high = np.percentile(panels["source"], (0.5, 99.8))
    font = ImageFont.load_default(size=16)
    edge = CROP * ZOOM
    canvas = Picture.new("RGB", (len(panels) * (edge + 8) - 8, edge + 26), "white")
    draw = ImageDraw.Draw(canvas)
    for i, (name, values) in enumerate(panels.items()):
        shown = shown_as_bytes(values, low, high) if "truth" not in name else own_range(values)
        picture = Picture.fromarray(shown).resize((edge, edge), Picture.Resampling.NEAREST)
        canvas.paste(picture, (i * (edge + 8), 26))
        draw.text((i * (edge + 8), 2), name, fill="black", font=font)
    target = TOP / "docs" / "images" / "side_by_side.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(target, optimize=True)
    print(f"{target.relative_to(TOP)}: {target.stat().st_size / 1000:.0f} kB")


def plane(image: sr.Image) -> np.ndarray:
    """Return the first plane as (y, x)."""
    values = np.asarray(image.data.compute())
    return values.reshape(-1, *values.shape[-2:])[0].astype(np.float32)


def shown_as_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def own_range(values: np.ndarray) -> np.ndarray:
    return shown_as_bytes(values, *np.percentile(values, (0.5, 99.8)))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else default_model(4))
