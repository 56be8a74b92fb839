"""The rows of the diffusion models; data only, like the table that they are part of."""

from __future__ import annotations

from typing import Any

from napari_superres.models.spec import ModelSpec, Option, WeightFile

PHOTOGRAPHS = "photographs; detail is generated, not measured: not for quantification"

_SUPIR = (
    "Yu F, Gu J, Li Z, et al. Scaling Up to Excellence: Practicing Model Scaling for "
    "Photo-Realistic Image Restoration In the Wild. CVPR 2024. doi:10.1109/CVPR52733.2024.02425"
)
_LDM = (
    "Rombach R, Blattmann A, Lorenz D, Esser P, Ommer B. High-Resolution Image Synthesis with "
    "Latent Diffusion Models. CVPR 2022. doi:10.1109/CVPR52688.2022.01042"
)
_PISA = (
    "Sun L, Wu R, Ma Z, et al. Pixel-level and Semantic-level Adjustable Super-resolution: A "
    "Dual-LoRA Approach. CVPR 2025. arXiv:2412.03017"
)


_SUPIR_TERMS = (
    "In short, and not in place of the text: for non-commercial use alone. Commercial use includes "
    "processing images that later become training data for anything. Weights and architecture are "
    "claimed as proprietary: nothing derived from them without permission."
)

_PLANES: dict[str, Any] = {
    # Planes of up to 4096 fine pixels are restored at once. Larger ones in parts, which overlap
    # by 128 + 2 * (64 + 16) source pixels: at least one tile of those that are fused at each step.
    "unit": "plane",
    "tile": 1024,
    "halo": 64,
    "feather": 128,
    "multiple": 16,
}


def _tiles(edge: int, stride: int, unit: str) -> tuple[Option, ...]:
    return (
        Option("latent_tile", edge, f"Tiles that are fused, in {unit}.", low=8),
        Option("latent_stride", stride, f"From one tile to the next, in {unit}.", low=1),
    )


_COLOUR = Option(
    "colour",
    "wavelet",
    "How colours and intensities are taken over from the reference.",
    choices=("wavelet", "adain", "none"),
)

SUPIR_OPTIONS = (
    Option(
        "preset",
        "microscopy",
        "Prompts to start from; 'photo' also takes colours from the restored picture.",
        choices=("microscopy", "photo"),
    ),
    Option("prompt", "", "What the picture should look like; empty takes the preset's."),
    Option("negative_prompt", "", "What it should not look like; empty takes the preset's."),
    Option("captioner", "", "Model that describes whole planes, by folder or id; empty for none."),
    Option("captions", "", "Texts for planes, as JSON, in place of what the captioner would say."),
    Option("steps", 50, "Calls of the network.", low=1, high=1000),
    Option(
        "sampler",
        "edm",
        "'dpmpp2m' needs fewer steps, for example 8 with a Lightning checkpoint.",
        choices=("edm", "dpmpp2m"),
    ),
    Option("guidance", 4.0, "How much the words count at the end.", low=0, high=30),
    Option("guidance_start", 1.0, "How much they count at the beginning.", low=0, high=30),
    Option("control", 1.0, "How much the image counts at the end.", low=0, high=2),
    Option("control_start", 1.0, "How much it counts at the beginning.", low=0, high=2),
    Option(
        "restoration",
        4.0,
        "How soon the pull towards the restored picture fades; 0 for no pull.",
        low=0,
        high=100,
    ),
    Option("churn", 5.0, "Noise added during sampling with 'edm'.", low=0, high=100),
    Option("churn_noise", 1.01, "Its factor: 1.01 for fidelity, 1.02 for detail.", low=0, high=2),
    Option("eta", 1.0, "Share of fresh noise in each step of 'dpmpp2m'.", low=0, high=1),
    *_tiles(128, 64, "latents (8 pixels each)"),
    Option("smallest", 1024, "Short side, in pixels, to which small planes are enlarged.", low=64),
    _COLOUR,
    Option("base", "", "SDXL checkpoint: file, folder or id; empty looks in the usual places."),
    Option("tokenizer", "", "Its tokenizer: folder or id; empty looks in the usual places."),
    Option(
        "offload",
        "none",
        "What waits in main memory: nothing, unused parts, or each layer.",
        choices=("none", "parts", "layers"),
    ),
)


def _supir(name: str, letter: str, title: str) -> ModelSpec:
    file = f"SUPIR-v0{letter}_fp16.safetensors"
    host = "https://huggingface.co/Kijai/SUPIR_pruned/resolve/main"
    return ModelSpec(
        name=name,
        family="supir",
        scale=4,
        title=title,
        domain=PHOTOGRAPHS,
        licence="SUPIR Software License (SupPixel), non-commercial",
        citation=_SUPIR,
        proven="reference tensors",
        # Its authors publish no checksum; the size is rounded up.
        weights=(WeightFile(file, "", 2_670_000_000, (f"{host}/{file}",)),),
        homepage="https://github.com/Fanghua-Yu/SUPIR",
        commercial=False,
        consent=True,
        samples=3,
        needs_limits=True,
        consistency="local",
        **_PLANES,
        random=True,
        terms=_SUPIR_TERMS,
        options=SUPIR_OPTIONS,
        # 3984 million, counted, and about 818 million of the two text encoders.
        parameters=4_802_000_000,
    )


_STEPS = Option("steps", 50, "Calls of the network.", low=1, high=1000)
_ETA = Option("eta", 0.0, "Share of fresh noise in each step.", low=0, high=1)
_BASE = Option("base", "", "The model: folder or id; empty looks for the published ids.")


def _latent(
    name: str,
    title: str,
    licence: str,
    folders: tuple[str, ...],
    options: tuple[Option, ...],
    parameters: int,
) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="latent",
        scale=4,
        title=title,
        domain=PHOTOGRAPHS,
        licence=licence,
        citation=_LDM,
        proven="layout only",
        homepage=f"https://huggingface.co/{folders[0]}",
        samples=3,
        needs_limits=True,
        consistency="local",
        **_PLANES,
        random=True,
        folders=folders,
        options=options,
        parameters=parameters,
    )


DIFFUSION_ROWS = (
    _supir("supir-v0f", "F", "SUPIR v0-F: SDXL restoration, for light degradation"),
    _supir("supir-v0q", "Q", "SUPIR v0-Q: SDXL restoration, for heavy degradation"),
    _latent(
        "ldm-sr-x4",
        "Latent diffusion x4 without words: small, runs on a CPU, soft",
        "Apache-2.0",
        ("CompVis/ldm-super-resolution-4x-openimages",),
        (_STEPS, _ETA, *_tiles(128, 96, "source pixels"), _BASE),
        # 113.6 million of the network and 55.3 of the autoencoder, counted with the published
        # configuration.
        169_000_000,
    ),
    _latent(
        "sd-x4",
        "Stable Diffusion x4: guided by words",
        "OpenRAIL++-M",
        (
            "stabilityai/stable-diffusion-x4-upscaler",
            "sd2-community/stable-diffusion-x4-upscaler",
        ),
        (
            _STEPS,
            _ETA,
            Option("noise_level", 20, "Noise added to the source; more invents more.", 0, 350),
            Option("prompt", "", "What the picture should look like."),
            Option("negative_prompt", "", "What it should not look like."),
            Option("guidance", 1.0, "How much the words count; 1 for the prompt alone.", 1, 30),
            *_tiles(128, 96, "source pixels"),
            _BASE,
        ),
        870_000_000,
    ),
    ModelSpec(
        name="pisa-sr-x4",
        family="onestep",
        scale=4,
        title="PiSA-SR: one step on Stable Diffusion 2.1, with a dial for fidelity",
        domain=PHOTOGRAPHS,
        licence="Apache-2.0; its base model: OpenRAIL++-M",
        citation=_PISA,
        proven="layout only",
        # Its authors publish neither checksum nor size.
        weights=(WeightFile("pisa_sr.pkl", "", 0),),
        homepage="https://github.com/csslc/PiSA-SR",
        samples=3,
        needs_limits=True,
        consistency="local",
        **_PLANES,
        options=(
            Option("fidelity", 1.0, "How much of the restoration of pixels is applied.", 0, 2),
            Option("looks", 1.0, "How much detail is invented; 0 gives a regression.", 0, 2),
            Option("prompt", "", "What the picture should look like."),
            *_tiles(96, 64, "latents (8 pixels each)"),
            Option(
                "smallest", 512, "Short side, in pixels, to which small planes are enlarged.", 64
            ),
            _COLOUR,
            Option("base", "", "Stable Diffusion 2.1: folder or id; empty looks for the ids."),
        ),
        parameters=1_290_000_000,
    ),
)
"""In the order in which menus show them."""
