"""Diffusion models on the command line, from a folder of weights to a finished file."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

pytest.importorskip("diffusers")

import torch

import napari_superres as sr
from napari_superres import tile_results
from napari_superres.cli import _run
from napari_superres.estimate import REACHED, expected_speed, measure_speed
from napari_superres.kept_tiles import KEPT
from napari_superres.models import hub
from napari_superres.models.base_model import base_record, contents_of
from napari_superres.models.cache import accepted_licences, weights_folder
from napari_superres.models.catalog import MODELS
from napari_superres.models.engine import load_engine
from napari_superres.models.families.supir.base import FILES, IDS
from napari_superres.models.weights import find_model, state
from napari_superres.provenance import history_record, methods_text
from napari_superres.upscaling import plan_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.supir_tiny import Tiny

SIDE = 16


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tiny tensors from waiting for other cores, and hide this computer's hub."""
    torch.set_num_threads(1)
    KEPT.forget()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Return a file of two planes of 16 bits."""
    path = tmp_path / "cells.ome.tif"
    values = np.random.default_rng(0).integers(100, 4000, (2, SIDE, SIDE), dtype=np.uint16)
    tifffile.imwrite(path, values, metadata={"axes": "ZYX"}, photometric="minisblack")
    return path


def _options(**options: Any) -> list[str]:
    return [word for key, value in options.items() for word in ("--option", f"{key}={value}")]


def _supir(tiny: Tiny, **others: Any) -> list[str]:
    options = {"base": tiny.diffusers, "smallest": 64, "steps": 1, **others}
    return ["-m", "supir-v0f", *_options(**options), "--limits", "0:4000"]


def test_a_licence_is_shown_and_accepted_before_the_first_use(
    cells: Path, supir: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user would break a licence unseen, or could not find out how to accept it."""
    arguments = ["upscale", str(cells), *_supir(supir)]
    assert _run(arguments) == 5
    error = capsys.readouterr().err
    for words in ("non-commercial", "training data", "superres models accept supir-v0f"):
        assert words in error
    assert not cells.with_name("cells_x4.ome.zarr").exists()
    assert _run(["batch", str(cells), str(cells.parent / "out"), *_supir(supir)]) == 5
    assert _run(["models", "download", "supir-v0f"]) == 5
    assert accepted_licences() == {}
    assert _run(["plan", str(cells), *_supir(supir)]) == 0
    assert "Accept the licence" in capsys.readouterr().out

    assert _run([*arguments, "--accept-licence", "supir-v0f"]) == 5
    error = capsys.readouterr().err
    assert "Accepted for 'supir-v0f'" in error
    assert "nothing is downloaded unasked" in error
    assert list(accepted_licences()) == ["supir-v0f"]
    assert find_model("supir-v0q").consent
    assert state(find_model("supir-v0q")) == "to accept"


def test_supir_from_a_file_of_ones_own_to_a_result_with_its_spread(
    cells: Path, supir: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The main job; and a result that does not say with what it was made cannot be cited."""
    loads: list[int] = []

    def counted(*arguments: Any) -> Any:
        loads.append(1)
        return load_engine(*arguments)

    monkeypatch.setattr(tile_results, "load_engine", counted)
    assert _run(["models", "add", str(supir.supir), "--as", "supir-v0f"]) == 0
    assert _run(["models", "accept", "supir-v0f"]) == 0
    assert "training data" in capsys.readouterr().err
    arguments = ["upscale", str(cells), *_supir(supir), "--samples", "2", "--seed", "7", "--json"]
    assert _run(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    result, spread = sr.read(report["output"]), sr.read(report["spread"])
    assert report["spread"].endswith("cells_x4_spread.ome.zarr")
    assert (result.shape, result.dtype) == ((2, 4 * SIDE, 4 * SIDE), np.uint16)
    assert (spread.shape, spread.dtype) == (result.shape, np.float32)
    assert len(loads) == 2 * 2  # planes times samples: the spread came from the same ones
    assert float(spread.data.mean()) > 0
    record = result.history[-1]
    assert record["model"] == "supir-v0f"
    assert record["seed"] == 7
    assert "SUPIR Software License" in record["licence"]
    assert len(record["weights"]["SUPIR-v0F_fp16.safetensors"]) == 64
    assert record["base"] == {
        "path": str(supir.diffusers),
        "contents": contents_of(supir.diffusers),
    }
    assert contents_of(supir.diffusers) in methods_text([record])
    assert set(record["plan"]["options"]) == {option.name for option in MODELS["supir-v0f"].options}
    assert spread.history[-1]["spread"] == "sampling spread"


def test_the_history_says_which_base_model_was_found(tmp_path: Path, supir: Tiny) -> None:
    """base="" takes what is there: with another checkpoint the same history made other pixels."""
    model = MODELS["supir-v0f"]
    assert base_record(model, ()) == {}  # it is not here: a plan can be made all the same
    hub_folder = tmp_path / "hub" / f"models--{IDS[0].replace('/', '--')}"
    snapshot = hub_folder / "snapshots" / "abc"
    (snapshot / "unet").mkdir(parents=True)
    (hub_folder / "refs").mkdir()
    (hub_folder / "refs" / "main").write_text("abc")
    image = sr.Image(_zeros(16), "yx")
    plan = plan_for(image, "supir-v0f", limits=(0, 1))
    record = history_record(image, plan)
    assert record["base"] == {"path": str(snapshot), "revision": "abc"}
    assert "revision abc" in methods_text([record])

    digest = hashlib.sha256(supir.single.read_bytes()).hexdigest()
    weights_folder().mkdir(parents=True)
    single = weights_folder() / FILES[0]
    shutil.copy(supir.single, single)
    record = history_record(image, plan)
    assert record["base"] == {"path": str(single), "sha256": digest}
    assert digest in methods_text([record])
    assert "base" not in history_record(image, plan_for(image, "bicubic"))
    for name in ("ldm-sr-x4", "pisa-sr-x4"):
        own = (("base", str(tmp_path)),)
        assert base_record(MODELS[name], own)["path"] == str(tmp_path)


def test_a_folder_of_a_model_is_known_by_its_contents(tmp_path: Path, supir: Tiny) -> None:
    """Two trainings of SDXL have the same names and sizes: histories would not tell them apart."""
    copy = tmp_path / "copy"
    shutil.copytree(supir.diffusers, copy)
    before = contents_of(copy)
    assert before == contents_of(supir.diffusers)  # wherever it lies, whenever it was copied
    (copy / "README.md").write_text("read me")
    assert contents_of(copy) == before
    file = copy / "vae" / "diffusion_pytorch_model.fp16.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    changed = contents_of(copy)
    assert changed != before
    file.unlink()
    assert contents_of(copy) not in (before, changed)


def test_captions_are_shown_kept_and_can_be_changed(
    cells: Path, supir: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a captioner sees in a micrograph is drawn; somebody must be able to correct it."""
    monkeypatch.setattr(
        "napari_superres.models.families.supir.engine.TransformersCaptioner",
        lambda *_: lambda picture: "A photograph of a cat.",
    )
    assert _run(["models", "add", str(supir.supir), "--as", "supir-v0f"]) == 0
    common = ["upscale", str(cells), "--accept-licence", "supir-v0f"]
    assert _run([*common, *_supir(supir, captioner="cats")]) == 0
    assert "Plane 1 is described as: A photograph of a cat." in capsys.readouterr().err
    path = cells.with_name("cells_x4_captions.json")
    assert json.loads(path.read_text()) == dict.fromkeys("01", "A photograph of a cat.")
    first = sr.read(cells.with_name("cells_x4.ome.zarr")).data.compute()

    path.write_text('{"0": "", "1": "A photograph of a cat."}')
    KEPT.forget()
    target = cells.with_name("edited.ome.zarr")
    assert _run([*common, str(target), *_supir(supir, captions=f"@{path}")]) == 0
    edited = sr.read(target)
    np.testing.assert_array_equal(edited.data[1], first[1])
    assert not np.array_equal(edited.data[0].compute(), first[0])
    assert "photograph of a cat" in edited.history[-1]["plan"]["options"]["captions"]

    KEPT.forget()
    path.write_text('{"7": "A plane that an earlier run has finished."}')
    folder = cells.parent / "results"
    folder.mkdir()
    path.rename(folder / path.name)
    capsys.readouterr()
    described = [*common[2:], *_supir(supir, captioner="cats")]
    assert _run(["batch", str(cells), str(folder), *described]) == 0
    assert "Plane 1 is described as: A photograph of a cat." in capsys.readouterr().err
    kept = json.loads((folder / path.name).read_text())
    assert kept == {**dict.fromkeys("01", "A photograph of a cat."), "7": kept["7"]}
    assert (
        _run(
            ["upscale", str(cells), str(folder / "c.ome.zarr"), *described, "--cluster", "local:2"]
        )
        == 2
    )
    assert "in this process alone" in capsys.readouterr().err


def test_plan_tells_what_it_costs_before_anything_is_there(
    cells: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user would fetch ten gigabytes, and learn then that it takes days."""
    for name, least in (("supir-v0f", 2.0), ("ldm-sr-x4", 1e-4), ("pisa-sr-x4", 5e-3)):
        arguments = ["plan", str(cells), "-m", name, "--limits", "0:1", "--json"]
        assert _run(arguments) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["flop"] > least * 1e15
        assert report["weights_bytes"] == 4 * MODELS[name].parameters
        assert report["seconds"] > 0
        assert "a rough estimate" in report["seconds_basis"]
        assert f"at {REACHED:.0%} of" in report["seconds_basis"]
        assert not report["warnings"] or name == "supir-v0f"
    # By its name `napari_superres.job.needs` is the function.
    machine = sys.modules["napari_superres.job.needs"]
    monkeypatch.setattr(machine, "free_memory", lambda: 4 * 10**9)
    assert _run(["plan", str(cells), "-m", "supir-v0f", "--limits", "0:1"]) == 0
    told = capsys.readouterr().out
    assert "Loading the model takes 19.2 GB of memory, and 80 % of the 4 GB that are free" in told
    # 1024 x 1024 fine pixels, 50 steps: 1.05 PFLOP as counted layer by layer.
    whole = plan_for(sr.Image(_zeros(256), "yx"), "supir-v0f", limits=(0, 1))
    assert whole.flop == pytest.approx(1.05e15, rel=0.01)
    assert "1.04 PFLOP" in str(whole)


def _zeros(side: int) -> Any:
    import dask.array as da

    return da.zeros((side, side), dtype=np.uint16)


def test_expected_time_is_measured_on_two_calls_where_weights_are_here(ldm: Path) -> None:
    """The time of a plane would be known only after the plane; or the estimate be far off."""
    calls: list[int] = []
    image = sr.Image(_zeros(24), "yx")
    options = {"base": str(ldm), "steps": 40, "latent_tile": 16, "latent_stride": 8}
    plan = plan_for(image, "ldm-sr-x4", limits=(0, 1), samples=3, options=options)
    engine = load_engine(plan.spec, {}, plan.setting(0))
    handle = engine.parts.network.register_forward_hook(  # type: ignore[attr-defined]
        lambda *_: calls.append(1)
    )
    speed = measure_speed(image, plan)
    handle.remove()
    assert len(calls) == 2  # of 40 steps with 4 tiles each
    assert speed.basis == expected_speed(image, plan).basis == "measured on one call of the network"
    assert speed.seconds(plan) == speed.start + 3 * speed.tile
    assert speed.seconds(plan, workers=8) == speed.seconds(plan)


def test_folders_of_models_are_found_fetched_and_never_unasked(
    tmp_path: Path, ldm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that is not here would be called ready, or gigabytes be fetched by a preview."""
    assert state(MODELS["ldm-sr-x4"]) == "to download"
    asked: list[str] = []

    def snapshot(name: str, *, local_files_only: bool = False, **options: Any) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        if local_files_only:
            raise LocalEntryNotFoundError(name)
        asked.append(name)
        if name.startswith("stabilityai"):
            raise OSError("401 Client Error: it was withdrawn.\nmore")
        return str(ldm)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert hub.local_place(MODELS["sd-x4"].folders[0]) is None
    assert asked == []
    assert _run(["models", "download", "sd-x4"]) == 0
    assert asked == list(MODELS["sd-x4"].folders)  # the second when the first is gone
    assert capsys.readouterr().out.strip() == str(ldm)
    asked.clear()
    monkeypatch.setattr(hub, "UNUSED", ())
    with pytest.raises(sr.SuperresError, match="it was withdrawn"):
        hub.fetch_folder(("stabilityai/one",), "one")


@pytest.mark.parametrize("base", ["./ldm", "../ldm", "a--b/ldm"])
def test_mistyped_folder_is_named(
    cells: Path, capsys: pytest.CaptureFixture[str], base: str
) -> None:
    """A relative path is no id of the hub, whose own error says nothing about folders."""
    assert _run(["upscale", str(cells), "-m", "ldm-sr-x4", *_options(base=base)]) == 5
    assert f"needs the folder {base}, which is not on this computer" in capsys.readouterr().err


def test_incomplete_files_cannot_be_added(
    tmp_path: Path, supir: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    """A download that was cut off would be found out after the licence, at the first plane."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(supir.supir)
    name = next(n for n in tensors if "project_modules." in n and "zero_mul.weight" in n)
    del tensors[name]
    save_file(tensors, tmp_path / "cut.safetensors")
    assert _run(["models", "add", str(tmp_path / "cut.safetensors"), "--as", "supir-v0q"]) == 5
    assert "adapters" in capsys.readouterr().err
    other = {"conv_in.lora_A.other.weight": torch.zeros(4, 4)}
    torch.save({"state_dict_unet": other}, tmp_path / "pisa_sr.pkl")
    assert _run(["models", "add", str(tmp_path / "pisa_sr.pkl")]) == 5
    assert "end in 'pix'" in capsys.readouterr().err
