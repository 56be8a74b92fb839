"""``superres models``: what a user types to get and keep weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from safetensors.numpy import save_file

from napari_superres.cli import _run
from napari_superres.models.catalog import MODELS
from tests.models.conftest import COMPACT, random_tensors

if TYPE_CHECKING:
    from pathlib import Path

NAME = "realesr-animevideov3"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a small network of the user's own."""
    path = tmp_path / "mine.safetensors"
    save_file(random_tensors(COMPACT), path)
    return path


def superres(*arguments: str) -> int:
    """Run the command line, and return its exit code."""
    return _run(["models", *arguments])


def test_list_shows_every_model_with_its_state(capsys: pytest.CaptureFixture[str]) -> None:
    """Else a user could not choose, or would choose what is not here or not allowed."""
    assert superres("list") == 0
    out = capsys.readouterr().out
    for name, spec in MODELS.items():
        line = next(line for line in out.splitlines() if line.startswith(f"{name} "))
        assert spec.licence.split()[0] in line
        assert spec.proven in line
        states = ("ready", "bundled", "to download", "to add", "to accept")
        assert any(word in line for word in states)
        assert not spec.weights or all(file.urls for file in spec.weights) or "download" not in line
    assert "67 MB" in out


def test_list_as_json_has_what_a_script_needs(
    capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    """Else a script would have to read the table."""
    assert superres("list", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["cache"] == str(cache)
    assert [model["name"] for model in report["models"]] == list(MODELS)
    model = next(model for model in report["models"] if model["name"] == NAME)
    assert model["state"] == "to download"
    assert model["files"][0]["sha256"] == MODELS[NAME].weights[0].sha256
    assert model["files"][0]["path"] is None


def test_info_shows_origin_and_checksum(capsys: pytest.CaptureFixture[str]) -> None:
    """Else a user could not check or cite a model."""
    assert superres("info", NAME) == 0
    out = capsys.readouterr().out
    spec = MODELS[NAME]
    for words in (spec.licence, spec.citation, spec.weights[0].sha256, spec.weights[0].urls[0]):
        assert words in out
    assert superres("info", NAME, "--json") == 0
    assert json.loads(capsys.readouterr().out)["radius"] == 18


@pytest.mark.parametrize("card", ["not json", "[1]", '{"name": "mine"}', '{"limits": 7}'])
def test_info_passes_over_a_card_that_is_not_ours(
    card: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other programs write under that name, too."""
    path = tmp_path / "mine.safetensors"
    save_file(random_tensors(COMPACT), path, metadata={"card": card})
    assert superres("info", str(path)) == 0
    assert superres("add", str(path), "--as", "mine") == 0
    assert superres("info", "mine", "--json") == 0
    capsys.readouterr()


def test_info_recognises_a_file(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else a user could not find out what a file of weights is."""
    assert superres("info", str(checkpoint)) == 0
    assert "SRVGGNetCompact, 3 blocks, x4" in capsys.readouterr().out


def test_life_of_an_added_model(
    checkpoint: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a user's own network could be added but not used, or used but not removed."""
    assert superres("add", str(checkpoint), "--as", "mine") == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(cache / "models" / "mine.safetensors")
    assert "--model mine" in err
    assert superres("path", "mine") == 0
    assert capsys.readouterr().out.strip() == str(cache / "models" / "mine.safetensors")
    assert superres("list") == 0
    assert "\nmine " in capsys.readouterr().out
    assert superres("verify") == 0
    assert "mine.safetensors: right" in capsys.readouterr().out
    assert superres("rm", "mine") == 0
    assert superres("path", "mine") == 5
    assert "There is no model named 'mine'" in capsys.readouterr().err


def test_other_file_than_the_official_one_is_said_to_be(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a user would not know that results come from converted weights."""
    file = shared / "weights" / "RealESRGAN_x4plus_anime_6B.pth"
    assert superres("add", str(file), "--as", "realesrgan-x4plus-anime-6b") == 0
    assert "not the official file" in capsys.readouterr().err
    assert superres("add", str(file), "--as", "realesrgan-x4plus-anime-6b", "--json") == 0
    assert json.loads(capsys.readouterr().out)["official"] is False
    assert superres("add", str(shared / "weights" / f"{NAME}.pth"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["official"] is True


def test_download_without_a_network_fails_with_the_way_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a user behind a firewall would get a traceback, or nothing."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # the port that discards everything
    monkeypatch.setattr("napari_superres.models.download.ATTEMPTS", 1)
    assert superres("download", NAME) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert "Licence: BSD-3-Clause" in err
    assert f"superres models add {NAME}.pth --as {NAME}" in err


def test_damaged_model_does_not_hide_the_others(
    checkpoint: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else one bad file would make the whole list unavailable."""
    assert superres("add", str(checkpoint), "--as", "mine") == 0
    (cache / "models" / "mine.safetensors").write_bytes(b"x")
    capsys.readouterr()
    assert superres("list", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in report["models"]] == list(MODELS)
    assert "not a file of weights" in report["unusable"]["mine"]
    assert superres("list") == 0
    assert "Not usable" in capsys.readouterr().err
    assert superres("rm", "mine") == 0
    assert not (cache / "models" / "mine.safetensors").exists()


def test_wrong_checksum_fails_verification(
    shared: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else damage on the disk would go unnoticed."""
    assert superres("add", str(shared / "weights" / f"{NAME}.pth")) == 0
    path = cache / "weights" / f"{NAME}.pth"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert superres("verify", NAME) == 5
    assert "is not the file that" in capsys.readouterr().err


def test_verifying_all_finds_a_model_that_became_unreadable(
    checkpoint: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the file that is damaged most would be the one that nobody looks at."""
    assert superres("add", str(checkpoint), "--as", "mine") == 0
    (cache / "models" / "mine.safetensors").write_bytes(b"x")
    capsys.readouterr()
    assert superres("verify") == 5
    assert "not the file that was added as 'mine'" in capsys.readouterr().err


def test_verifying_all_names_each_file_that_is_wrong(
    checkpoint: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever mends the first that is told would think that the others are right."""
    for name in ("first", "second", "third"):
        assert superres("add", str(checkpoint), "--as", name) == 0
    for name in ("first", "third"):
        (cache / "models" / f"{name}.safetensors").write_bytes(b"x")
    capsys.readouterr()
    assert superres("verify") == 5
    told = capsys.readouterr()
    assert "'first'" in told.err
    assert "'third'" in told.err
    assert "second.safetensors: right" in told.out


def test_accepting_is_recorded_only_where_it_is_asked_for(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else free models would look restricted."""
    assert superres("accept", NAME) == 0
    assert "asks for no acceptance" in capsys.readouterr().err
    assert not (cache / "licences.json").exists()
    restricted = [name for name, spec in MODELS.items() if spec.consent]
    for name in restricted:
        assert superres("accept", name) == 0
    assert set(json.loads((cache / "licences.json").read_text()) if restricted else {}) == set(
        restricted
    )
