"""Checkpoints of other networks run through spandrel, where it is installed."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_superres.errors import MissingDependencyError, SettingError, WeightsError
from napari_superres.models.engine import Address, Halo, Setting, load_engine
from napari_superres.models.library import add
from napari_superres.models.weights import find_model, find_weights
from tests.models.conftest import image, repair_torchvision

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = Halo(0, 0, 0, 0)
HERE = [Address(0, 0, 0, 0, 0)]


@pytest.fixture
def spandrel() -> Any:
    """Return the package, or skip with the reason."""
    if importlib.util.find_spec("spandrel") is None:
        pytest.skip('spandrel is not installed: pip install "napari-superres[community]"')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            repair_torchvision()
            import spandrel as package
        except (ImportError, RuntimeError, AttributeError) as error:
            pytest.skip(f"spandrel is installed but cannot be imported: {error}")
    return package


@pytest.fixture
def checkpoint(spandrel: Any, tmp_path: Path) -> Path:
    """Return a small SwinIR network, whose attention has tables of integers."""
    from spandrel.architectures.SwinIR import SwinIR

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = small(SwinIR)
    path = tmp_path / "swin.pth"
    torch.save({"params": network.state_dict()}, path)
    return path


def small(architecture: Any) -> Any:
    """Return a SwinIR network of few numbers."""
    return architecture(
        img_size=16,
        window_size=8,
        depths=[2],
        embed_dim=12,
        num_heads=[2],
        mlp_ratio=2,
        upscale=2,
        upsampler="pixelshuffledirect",
        resi_connection="1conv",
    )


def test_other_network_is_recognised_and_runs(spandrel: Any, checkpoint: Path) -> None:
    """Else the extra would promise hundreds of networks and run none."""
    spec = find_model(str(checkpoint))
    assert (spec.family, spec.scale, spec.samples) == ("community", 2, 3)
    assert spec.feather > 0, "how far it reaches is not known, so seams must be soft"
    engine = load_engine(spec, find_weights(spec), Setting())
    tile = image(3, 24, 32)
    whole = engine(tile, WHOLE, HERE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = spandrel.ModelLoader().load_from_file(checkpoint)(torch.from_numpy(tile))
    np.testing.assert_allclose(whole, expected.numpy(), atol=1e-6)
    cut = engine(tile, Halo(8, 0, 4, 2), HERE)
    np.testing.assert_array_equal(cut, whole[:, :, 16:, 8:-4])
    assert engine(image(3, 1, 7), WHOLE, HERE).shape == (1, 3, 2, 14)


def test_other_network_can_be_added_by_name(checkpoint: Path) -> None:
    """Else only networks of the Real-ESRGAN family could get a name."""
    add(checkpoint, "swin")
    assert "SwinIR" in find_model("swin").title


def test_half_precision_that_a_network_cannot_do_is_refused(checkpoint: Path) -> None:
    """Else it would fail deep inside, or give noise."""
    spec = find_model(str(checkpoint))
    with pytest.raises(SettingError, match="cannot be computed in float16 on 'cpu'"):
        load_engine(spec, find_weights(spec), Setting(precision="float16"))


def test_network_that_nobody_knows_is_refused(spandrel: Any, tmp_path: Path) -> None:
    """Else a classifier would be called an upscaler."""
    path = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.ones(3, 3)}, path)
    with pytest.raises(WeightsError, match=r"other\.pth.*spandrel.*neither an RRDBNet"):
        find_model(str(path))


@pytest.mark.parametrize(
    "name",
    ["layers.0.residual_group.blocks.0.attn.relative_position_bias_table", "upsample.0.bias"],
)
def test_network_that_lacks_a_tensor_is_refused(checkpoint: Path, name: str) -> None:
    """Else a file that was cut down would end in a trace of somebody else's code."""
    tensors = torch.load(checkpoint)["params"]
    del tensors[name]
    torch.save(tensors, checkpoint)
    with pytest.raises(WeightsError, match=r"swin\.pth.*spandrel"):
        find_model(str(checkpoint))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'spandrel'", name="spandrel"), "napari-superres"),
        (ModuleNotFoundError("No module named 'einops'", name="einops"), "einops"),
        (RuntimeError("operator torchvision::nms does not exist"), "built for another torch"),
    ],
)
def test_spandrel_that_does_not_import_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """Else a user would see a message about an operator that nobody has heard of."""
    path = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.ones(3, 3)}, path)

    class Broken:
        """Takes part in imports and fails at this one."""

        def find_spec(self, name: str, *rest: object) -> None:
            """Fail as a broken installation does."""
            if name == "spandrel":
                raise error

    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(MissingDependencyError, match=words):
        find_model(str(path))
