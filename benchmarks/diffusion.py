"""Time and memory of SUPIR at full size, with random weights, on the machine at hand.

No weights are needed: speed does not depend on their values. Each run restores one plane of
256 x 256 pixels to 1024 x 1024 and prints a row of a Markdown table; `plain` is SDXL's network
alone as diffusers calls it, with the same number of calls and the same autoencoder, for comparison.

    python benchmarks/diffusion.py                     # the first GPU, bfloat16
    python benchmarks/diffusion.py --device cpu --tiny # a toy on any machine, to see that it runs

Without a GPU, and without a device named, it measures nothing and says so.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from napari_superres.models.families.supir.engine import place
from napari_superres.models.families.supir.layout import Layout
from napari_superres.models.families.supir.loading import parts_on_meta
from napari_superres.models.families.supir.network import Conditioning
from napari_superres.models.families.supir.pipeline import Pipeline
from napari_superres.models.families.supir.settings import Settings
from napari_superres.models.noise import PlaneNoise
from napari_superres.models.plane_engine import Place

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = Layout(
    channels=(64, 64),
    depth=(0, 1),
    blocks=1,
    context=128,
    vector=64,
    hidden=16,
    vae_channels=(32, 32, 32, 32),
    vae_blocks=1,
)


def random_model(layout: Layout, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return network and autoencoder with random weights on the CPU."""
    parts = parts_on_meta(layout)
    for name in ("network", "autoencoder"):
        # The type first: in float32 the full size would take 16 GB on the way.
        parts[name].to(dtype).to_empty(device="cpu").eval().requires_grad_(False)
        for parameter in parts[name].parameters():
            parameter.fill_(0.01)
    return parts["network"], parts["autoencoder"]


def measured(run: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Return seconds and peak gigabytes of a second run."""
    with torch.inference_mode():
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")
    return seconds, peak


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", help="the first GPU if not given")
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--side", type=int, default=256, help="of the plane, in pixels")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    if options.device is None and not torch.cuda.is_available():
        print("There is no GPU here, so nothing was measured.", file=sys.stderr)
        print("Use --device cpu for hours on a CPU, with --tiny for a toy.", file=sys.stderr)
        return
    device = torch.device(options.device or "cuda:0")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    print(f"{name}, torch {torch.__version__}, {options.precision}, {options.steps} steps\n")
    print("| run | seconds a megapixel | same, for 50 steps | peak GB |\n| --- | --- | --- | --- |")
    once = 0.0
    for offload in ("none", "parts", "layers"):
        once = compare(options, device, offload, once)


def compare(options: argparse.Namespace, device: torch.device, offload: str, once: float) -> float:
    """Print the rows of one way to keep the parts; return the seconds of the autoencoder alone."""
    layout = TINY if options.tiny else Layout()
    smallest, side = (64, 16) if options.tiny else (1024, options.side)
    fine = (4 * side) ** 2 / 1e6
    network, autoencoder = random_model(layout, getattr(torch, options.precision))
    place(network, autoencoder, offload, str(device))
    settings = Settings(steps=options.steps, smallest=smallest, offload=offload)
    words = Conditioning(torch.zeros(1, 77, layout.context), torch.zeros(1, layout.vector))
    pipeline = Pipeline(
        network, autoencoder, settings, device, layout.factor, layout.latent, lambda text: words
    )

    def row(run: str, seconds: float, peak: float) -> None:
        whole = (seconds - once) / options.steps * 50 + once
        print(f"| {run} | {seconds / fine:.2f} | {whole / fine:.2f} | {peak:.1f} |", flush=True)

    if offload == "none":
        image = torch.rand(1, 3, smallest, smallest, device=device) * 2 - 1
        once, peak = measured(partial(_stages, autoencoder, image), device)
        row("encode and decode alone", once, peak)
        plain = partial(_plain, network, autoencoder, image, words, settings)
        row("plain SDXL network in diffusers", *measured(plain, device))
    restore = partial(pipeline.restore, torch.rand(3, side, side), 4, PlaneNoise(0, 0, 0), Place(0))
    row(f"SUPIR, offload {offload}", *measured(restore, device))
    return once


def _stages(autoencoder: Any, image: torch.Tensor) -> torch.Tensor:
    hint = autoencoder.hint(image)
    picture = autoencoder.decode(hint)
    return autoencoder.decode(autoencoder.sample(picture, torch.zeros_like(hint)))


def _plain(
    network: Any, autoencoder: Any, image: torch.Tensor, words: Conditioning, settings: Settings
) -> None:
    latent = autoencoder.hint(image)
    unet = network.unet
    dtype = unet.conv_out.weight.dtype
    told = words.to(latent.device, dtype)
    pooled = told.vector[:, : words.vector.shape[1] - 12].repeat(2, 1)
    ids = torch.zeros(2, 6, device=latent.device, dtype=dtype)
    for step in range(settings.steps):
        unet(
            latent.to(dtype).repeat(2, 1, 1, 1),
            step,
            encoder_hidden_states=told.context.repeat(2, 1, 1),
            added_cond_kwargs={"text_embeds": pooled, "time_ids": ids},
        )
    _stages(autoencoder, image)


if __name__ == "__main__":
    main()
