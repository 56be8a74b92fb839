"""Files for programs without Python and PyTorch compute what `upscale` computes."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.cli import _run
from napari_superres.errors import MissingDependencyError, OutputError, SettingError
from napari_superres.models import library
from napari_superres.models.exporting import FORMATS, export_model
from napari_superres.models.families.microscopy import layers
from napari_superres.models.ncnn_engine import Network
from napari_superres.models.noise_line import noise_map
from napari_superres.upscaling import plan_for
from tests.models.conftest import TINY, random_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EMBEDDED = [name for name, spec in sr.MODELS.items() if spec.bundled]


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return a format whose packages are here."""
    if request.param == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    return str(request.param)


def cells(*shape: int) -> np.ndarray:
    """Return something smooth with noise, as a camera gives it."""
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    light = 400 + 300 * np.sin(y / 4) * np.cos(x / 5)
    light = np.broadcast_to(light, shape)
    return np.random.default_rng(0).poisson(light).astype(np.float32)


def run_file(paths: tuple[Path, ...], inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Run what was written, from arrays of shape (c, y, x) to one of them."""
    if len(paths) == 3:
        return Network.from_files(paths[0], paths[1], list(inputs))(*inputs.values())
    import onnxruntime

    session = onnxruntime.InferenceSession(str(paths[0]))
    return np.asarray(session.run(["out"], {k: v[None] for k, v in inputs.items()})[0])[0]


@pytest.mark.parametrize("model", EMBEDDED)
def test_embedded_models_in_files_give_the_pixels_of_upscale(
    model: str, kind: str, tmp_path: Path
) -> None:
    """A device at the microscope would otherwise show other cells than the workstation."""
    made = export_model(model, tmp_path / "m", format=kind)
    image = cells(37, 52)
    inputs = {"image": np.pad(image, made.facts["context"], mode="symmetric")[None]}
    wishes: dict[str, Any] = {"consistency": "off"}
    if "noise" in made.facts["inputs"]:
        wishes["denoise"] = 1.0
        plan = plan_for(as_image(image), model, **wishes)
        inputs["noise"] = noise_map(inputs["image"], plan.noise[0], plan.noise_lines[0])
        assert plan.noise[0] > 5
    expected = sr.upscale(image, model, **wishes)
    (result,) = run_file(made.paths, inputs)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < 1e-5 * np.ptp(expected)
    if "noise" in inputs:
        inputs["noise"] = np.zeros_like(inputs["image"])
        (result,) = run_file(made.paths, inputs)
        expected = sr.upscale(image, model, consistency="off", denoise=0)
        assert np.abs(result - expected).max() < 1e-5 * np.ptp(expected)


@pytest.mark.parametrize("name", TINY)
def test_checkpoints_in_files_give_the_pixels_of_upscale(
    name: str, kind: str, tmp_path: Path
) -> None:
    """Any network of the Real-ESRGAN family: one sample or three, x1 to x8."""
    architecture = TINY[name]
    file = tmp_path / "tiny.safetensors"
    save_file(random_tensors(architecture), file)
    made = export_model(str(file), f"{tmp_path}/out/", format=kind)
    assert [path.name.partition(".")[0] for path in made.paths] == ["tiny"] * len(made.paths)
    side = 12 * architecture.multiple
    image = cells(architecture.samples, side, side + 4 * architecture.multiple) / 1000
    result = run_file(made.paths, {"image": image})
    picture = image[0] if architecture.samples == 1 else np.moveaxis(image, 0, -1)
    expected = sr.upscale(
        picture,
        str(file),
        axes="yx" if architecture.samples == 1 else "yxs",
        limits=(0, 1),
        consistency="off",
        device="cpu/torch",
    )
    fine = result[0] if architecture.samples == 1 else np.moveaxis(result, 0, -1)
    # What lies outside of the limits is added back by `upscale`; nothing does here.
    assert image.min() >= 0
    assert image.max() <= 1
    assert np.abs(fine - expected).max() < 1e-4 * np.ptp(fine)


def test_a_strength_of_denoising_is_fixed_in_the_file(
    kind: str, shared: Path, tmp_path: Path
) -> None:
    """The blend of two files must be the one that was asked for."""
    name = "realesr-general-x4v3"
    library.add(shared / "weights" / f"{name}.safetensors", name)
    library.add(shared / "weights" / "realesr-general-wdn-x4v3.safetensors", f"{name}:wdn")
    made = export_model(name, tmp_path, format=kind, denoise=0.5)
    picture = np.random.default_rng(3).random((20, 24, 3), np.float32)
    result = run_file(made.paths, {"image": np.moveaxis(picture, -1, 0)})
    expected = sr.upscale(
        picture, name, axes="yxs", limits=(0, 1), consistency="off", denoise=0.5, device="cpu"
    )
    assert np.abs(np.moveaxis(result, 0, -1) - expected).max() < 1e-4
    assert made.facts["denoise"] == 0.5


def test_files_that_compute_something_else_are_not_left_behind(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong file on a device is found by nobody."""
    monkeypatch.setattr(layers, "SLOPE", 0.11)
    with pytest.raises(OutputError, match="would be wrong"):
        export_model("microscopy-x2", tmp_path, format=kind)
    assert not list(tmp_path.iterdir())


def test_facts_beside_the_files_say_what_a_user_must_know(kind: str, tmp_path: Path) -> None:
    """Else nobody knows a year later which weights these are, and what they may be used for."""
    made = export_model("microscopy-x4", tmp_path, format=kind)
    facts = json.loads(made.paths[-1].read_text("utf-8"))
    assert facts == json.loads(json.dumps(made.facts))
    spec = sr.MODELS["microscopy-x4"]
    assert (facts["scale"], facts["samples"], facts["context"]) == (4, 1, spec.radius)
    assert facts["licence"] == spec.licence
    assert "'pixel' where no noise is removed" in facts["left_out"]
    assert facts["weights"] == {spec.weights[0].name: spec.weights[0].sha256}
    assert f"{spec.radius} pixels of context" in facts["borders"]
    for path in made.paths[:-1]:
        assert facts["files"][path.name] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert 0 < facts["checked"]["largest_difference"] < facts["checked"]["allowed"]
    if kind == "onnx":
        import onnx

        inside = {p.key: p.value for p in onnx.load(made.paths[0]).metadata_props}
        assert inside["licence"] == spec.licence
        assert json.loads(inside["context"]) == spec.radius


def test_what_is_there_is_replaced_only_when_that_is_allowed(kind: str, tmp_path: Path) -> None:
    """A file that is in use somewhere must not become another model unasked."""
    first = export_model("linear-x2", tmp_path / "m", format=kind)
    before = [path.read_bytes() for path in first.paths]
    with pytest.raises(OutputError, match="exists already"):
        export_model("linear-x4", tmp_path / "m", format=kind)
    assert [path.read_bytes() for path in first.paths] == before
    again = export_model("linear-x4", tmp_path / "m", format=kind, overwrite=True)
    assert again.paths == first.paths
    assert json.loads(again.paths[-1].read_text("utf-8"))["scale"] == 4
    assert sorted(tmp_path.iterdir()) == sorted(first.paths)  # and nothing unfinished


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"model": "bicubic"}, "not a network that can be written"),
        ({"model": "sd-x4"}, "not a network that can be written"),
        ({"model": "microscopy-x2", "denoise": 0.5}, "take the noise as an input"),
        ({"model": "linear-x2", "denoise": 0.5}, "has no denoising strength"),
        ({"model": "linear-x2", "path": "a.onnx"}, "called like a file of onnx"),
        ({"model": "linear-x2", "format": "tflite"}, "is not known"),
    ],
)
def test_what_makes_no_sense_is_refused(wishes: dict[str, Any], words: str) -> None:
    """Each with its reason, before anything is written."""
    with pytest.raises(SettingError, match=words):
        export_model(**{"format": "ncnn", **wishes})


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX is not installed by default."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "napari_superres.models.onnx_graph", raising=False)
    with pytest.raises(MissingDependencyError, match=r"napari-superres\[export\]"):
        export_model("linear-x2", tmp_path, format="onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_prints_what_it_wrote_and_how_it_was_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Paths for scripts, the largest difference for people."""
    words = ["models", "export", "linear-x2", "--format", "ncnn", "-o", str(tmp_path / "lab")]
    assert _run(words) == 0
    out, err = capsys.readouterr()
    assert out.split() == [str(tmp_path / f"lab{end}") for end in (".param", ".bin", ".ncnn.json")]
    assert "the largest difference is" in err
    assert _run(words) == 4
    assert "--overwrite" in capsys.readouterr().err
    assert _run([*words, "--overwrite", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["facts"]["checked"]["against"].startswith("PyTorch")
