"""Names and files become models; weights are found, checked, added and removed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import napari_superres as sr
from napari_superres.arrays import as_image
from napari_superres.errors import (
    LicenceError,
    MissingDependencyError,
    OutputError,
    ResourceError,
    SettingError,
    UnknownModelError,
    WeightsError,
)
from napari_superres.models import cache as cache_module
from napari_superres.models import custom, library, weights
from napari_superres.models.catalog import MODELS, ModelSpec, WeightFile
from napari_superres.models.engine import Address, Halo, Setting, load_engine
from napari_superres.provenance import methods_text
from tests.models.conftest import COMPACT, RRDB, RRDB_X2, image, random_tensors

if TYPE_CHECKING:
    from pathlib import Path

GENERAL = "realesr-general-x4v3"
WHOLE = Halo(0, 0, 0, 0)
HERE = [Address(0, 0, 0, 0, 0)]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a small network of the user's own."""
    path = tmp_path / "my net.safetensors"
    save_file(random_tensors(COMPACT), path)
    return path


def published(shared: Path, name: str) -> Path:
    """Return the file of a published model."""
    return shared / "weights" / name


def test_name_of_the_table_is_its_row() -> None:
    """Else `--model` would not find what the list shows."""
    assert all(weights.find_model(name).name == name for name in MODELS)
    assert weights.find_model().name == weights.find_model(None, 2).name


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("realesrgan-x4", "realesrgan-x4plus"),
        ("RealESRGAN_x4plus", "realesrgan-x4plus"),
        ("bicubik", "bicubic"),
    ],
)
def test_misspelt_name_gets_a_suggestion(typed: str, near: str) -> None:
    """Else a user would have to search the list for a missing letter."""
    with pytest.raises(UnknownModelError, match=f"Did you mean .*{near}"):
        weights.find_model(typed)


def test_unknown_name_gets_the_list() -> None:
    """Else a user would not know what there is."""
    with pytest.raises(UnknownModelError, match=r"Known are: .*nearest, bicubic"):
        weights.find_model("zzzzzz")
    with pytest.raises(LookupError):
        weights.find_model("zzzzzz")


def test_file_is_a_model(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a user's own network could not be used without adding it first."""
    monkeypatch.chdir(checkpoint.parent)
    for typed in (str(checkpoint), checkpoint.name, f"./{checkpoint.name}"):
        spec = weights.find_model(typed)
        assert (spec.family, spec.scale, spec.samples) == ("realesrgan", 4, 3)
        assert (spec.radius, spec.halo, spec.multiple) == (5, 5, 1)
        assert spec.parameters == COMPACT.parameters
        assert weights.find_weights(spec) == {checkpoint.name: checkpoint}


def test_file_of_a_deep_network_gets_the_halo_that_such_networks_need(tmp_path: Path) -> None:
    """Else tiles of the user's own ESRGAN models would show seams."""
    for architecture, halo, multiple in ((RRDB, 34, 1), (RRDB_X2, 38, 2)):
        path = tmp_path / "deep.safetensors"
        save_file(random_tensors(architecture), path)
        spec = weights.find_model(str(path))
        assert (spec.radius, spec.halo, spec.multiple) == (architecture.radius, halo, multiple)
    deep = dataclasses.replace(RRDB, blocks=23)
    save_file(random_tensors(deep), path)
    assert weights.find_model(str(path)).halo == custom.REACH


@pytest.mark.parametrize("name", ["microscopy-x2", "linear-x4"])
def test_file_of_our_own_training_is_a_model(tmp_path: Path, name: str) -> None:
    """Else what a user trained on their own images could not be used."""
    path = tmp_path / "tuned.safetensors"
    embedded = MODELS[name]
    shutil.copyfile(weights.EMBEDDED / embedded.weights[0].name, path)
    for typed in (str(path), library.add(path, "tuned").model):
        spec = weights.find_model(typed)
        same = ("family", "scale", "samples", "radius", "halo", "noise_input", "denoise", "bound")
        assert [getattr(spec, key) for key in same] == [getattr(embedded, key) for key in same]
        assert spec.consistency == embedded.consistency
        assert spec.parameters == embedded.parameters
        tile = image(2 if spec.noise_input else 1, 12, 14)
        ours, theirs = (
            load_engine(each, weights.find_weights(each), Setting())(tile, WHOLE, HERE)
            for each in (spec, embedded)
        )
        np.testing.assert_array_equal(ours, theirs)


def test_a_methods_paragraph_names_a_file_without_its_folder(tmp_path: Path) -> None:
    """It goes into a paper: where the file lies is nobody's business."""
    path = tmp_path / "tuned.safetensors"
    shutil.copyfile(weights.EMBEDDED / MODELS["linear-x2"].weights[0].name, path)
    finer = sr.upscale(as_image(np.ones((32, 32), np.float32)), str(path))
    said = methods_text(finer.history)
    assert "the model 'tuned.safetensors' (trained on" in said
    assert str(tmp_path) not in said


def test_a_methods_paragraph_names_all_weights() -> None:
    """A blend of two files is another model than either."""
    (record,) = sr.upscale(as_image(np.ones((32, 32), np.float32)), "linear-x2").history
    blend = {**record, "weights": {"one": "12ab", "other": "34cd"}}
    assert "The weights have SHA-256 12ab and 34cd." in methods_text([blend])


def test_missing_file_is_named() -> None:
    """Else a typing error in a path would be taken for an unknown model's name."""
    with pytest.raises(UnknownModelError, match=r"no file of weights.*absent\.pth"):
        weights.find_model("absent.pth")
    with pytest.raises(UnknownModelError, match="no file of weights"):
        weights.find_model("folder\\absent")


def test_other_network_needs_the_community_extra(tmp_path: Path) -> None:
    """Else a SwinIR checkpoint would fail without a word about the way to use it."""
    path = tmp_path / "swin.safetensors"
    save_file({"layers.0.attn.weight": np.ones((4, 4), np.float32)}, path)
    try:
        import spandrel  # noqa: F401
    except (ImportError, RuntimeError):
        with pytest.raises(MissingDependencyError, match=r"spandrel"):
            weights.find_model(str(path))
    else:
        with pytest.raises(WeightsError, match="spandrel"):
            weights.find_model(str(path))


def test_missing_weights_name_three_ways_out(cache: Path) -> None:
    """Else a user without a network, or with the file at hand, would not know what to do."""
    with pytest.raises(WeightsError) as caught:
        weights.find_weights(weights.find_model("realesrgan-x4plus"))
    file = MODELS["realesrgan-x4plus"].weights[0]
    for words in (
        "superres models download realesrgan-x4plus",
        f"superres models add {file.name} --as realesrgan-x4plus",
        file.sha256,
        file.urls[0],
        "NAPARI_SUPERRES_CACHE",
        str(cache),
        "67 MB",
    ):
        assert words in str(caught.value)
    assert not list(cache.iterdir()), "nothing may be fetched or written"


def test_missing_weights_without_a_link_are_not_said_to_be_downloadable() -> None:
    """Else a user would be sent to a command that refuses."""
    with pytest.raises(WeightsError) as caught:
        weights.find_weights(weights.find_model("pisa-sr-x4"))
    for words in ("no link", MODELS["pisa-sr-x4"].homepage, "add pisa_sr.pkl --as pisa-sr-x4"):
        assert words in str(caught.value)
    for words in ("models download", "0 MB"):
        assert words not in str(caught.value)


def test_second_file_is_needed_only_when_it_has_influence(shared: Path) -> None:
    """Else the default would ask for a file that it does not use; or blend with nothing."""
    library.add(published(shared, "realesr-general-x4v3.safetensors"), GENERAL)
    spec = weights.find_model(GENERAL)
    main = spec.weights[0].name
    for denoise in (None, 1.0):
        assert list(weights.find_weights(spec, denoise)) == [main]
    with pytest.raises(WeightsError, match=r"wdn.*--as realesr-general-x4v3:wdn"):
        weights.find_weights(spec, 0.5)
    assert weights.state(spec) == "ready"
    with pytest.raises(WeightsError, match="wdn"):
        load_engine(spec, weights.find_weights(spec), Setting(denoise=0.5))


@pytest.mark.parametrize("named", [True, False])
def test_added_files_of_a_model_with_two_are_told_apart(shared: Path, named: bool) -> None:
    """Else the denoising and the noisy network could be swapped without anyone noticing."""
    library.add(published(shared, "realesr-general-x4v3.safetensors"))
    wdn = published(shared, "realesr-general-wdn-x4v3.safetensors")
    added = library.add(wdn, f"{GENERAL}:wdn" if named else GENERAL)
    assert added.model == GENERAL
    assert added.path.name == wdn.name
    assert not added.is_official
    found = weights.find_weights(weights.find_model(GENERAL), 0.5)
    assert [path.name for path in found.values()] == [
        "realesr-general-x4v3.safetensors",
        "realesr-general-wdn-x4v3.safetensors",
    ]


def test_denoise_strength_blends_the_two_networks(shared: Path, membranes: np.ndarray) -> None:
    """Else the strength would not be the official program's, or would be turned around."""
    for name in ("realesr-general-x4v3", "realesr-general-wdn-x4v3"):
        library.add(published(shared, f"{name}.safetensors"), GENERAL)
    spec = weights.find_model(GENERAL)
    tile = membranes[:, :, 200:224, 250:280]
    results = {}
    for denoise in (None, 1.0, 0.5, 0.0):
        engine = load_engine(spec, weights.find_weights(spec, denoise), Setting(denoise=denoise))
        results[denoise] = engine(tile, WHOLE, HERE)
    np.testing.assert_array_equal(results[None], results[1.0])
    noisy = weights.find_model(str(published(shared, "realesr-general-wdn-x4v3.safetensors")))
    alone = load_engine(noisy, weights.find_weights(noisy), Setting())(tile, WHOLE, HERE)
    np.testing.assert_array_equal(results[0.0], alone)
    for end in (1.0, 0.0):
        assert 1e-3 < np.abs(results[0.5] - results[end]).max() < 0.5


def test_official_file_is_known_as_such(shared: Path) -> None:
    """Else a user would be told that the official file is another one."""
    added = library.add(published(shared, "realesr-animevideov3.pth"))
    assert added.is_official
    spec = weights.find_model("realesr-animevideov3")
    assert spec == MODELS["realesr-animevideov3"]
    assert weights.find_weights(spec) == {"realesr-animevideov3.pth": added.path}


def test_history_names_the_file_that_was_used(shared: Path) -> None:
    """Else a result would claim official weights although the user had given others."""
    added = library.add(
        published(shared, "RealESRGAN_x4plus_anime_6B.pth"), "realesrgan-x4plus-anime-6b"
    )
    assert not added.is_official
    spec = weights.find_model("realesrgan-x4plus-anime-6b")
    assert spec.weights[0].sha256 == added.sha256
    assert spec.weights[0].sha256 != MODELS[spec.name].weights[0].sha256
    assert list(weights.find_weights(spec).values()) == [added.path]


def test_file_of_another_network_is_refused_for_a_model(shared: Path, checkpoint: Path) -> None:
    """Else a model of the table would silently be another network."""
    for file in (published(shared, "RealESRGAN_x4plus_anime_6B.pth"), checkpoint):
        with pytest.raises(WeightsError, match="is not the network of 'realesrgan-x4plus'"):
            library.add(file, "realesrgan-x4plus")


def test_own_name_makes_a_model(checkpoint: Path) -> None:
    """Else a user would have to type the path of a network each time."""
    added = library.add(checkpoint, "my-net")
    checkpoint.unlink()
    spec = weights.find_model("my-net")
    assert (spec.name, spec.parameters) == ("my-net", COMPACT.parameters)
    assert weights.state(spec) == "ready"
    assert weights.find_weights(spec) == {"my-net.safetensors": added.path}
    assert library.verify("my-net") == [added.path]
    with pytest.raises(UnknownModelError, match="Did you mean my-net"):
        weights.find_model("my-nett")
    assert library.remove("my-net") == [added.path]
    with pytest.raises(UnknownModelError):
        weights.find_model("my-net")


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "x.pth", "../up", "-x", ".hidden", "a b"])
def test_names_that_are_paths_or_options_are_refused(checkpoint: Path, name: str) -> None:
    """Else a model could be written outside the cache, or could never be named again."""
    with pytest.raises(SettingError, match="cannot be the name of a model"):
        library.add(checkpoint, name)


def test_file_without_a_name_must_be_called_as_in_the_table(checkpoint: Path) -> None:
    """Else its model would be a guess."""
    with pytest.raises(SettingError, match="--as NAME"):
        library.add(checkpoint)


def test_parts_that_a_model_does_not_have_are_refused(checkpoint: Path) -> None:
    """Else a typing error would replace the main file."""
    with pytest.raises(SettingError, match=r"has no file 'foo'.*wdn"):
        library.add(checkpoint, f"{GENERAL}:foo")
    with pytest.raises(SettingError, match="has no weights"):
        library.add(checkpoint, "bicubic")


def test_last_added_file_wins(shared: Path, tmp_path: Path) -> None:
    """Else an older file with another ending would go on being used."""
    name = "realesr-animevideov3"
    official = library.add(published(shared, f"{name}.pth"))
    tensors = torch.load(official.path, weights_only=True, map_location="cpu")["params"]
    converted = tmp_path / f"{name}.safetensors"
    save_file({key: tensor.numpy() for key, tensor in tensors.items()}, converted)
    second = library.add(converted)
    assert not official.path.exists()
    assert list(weights.find_weights(weights.find_model(name)).values()) == [second.path]
    library.add(published(shared, f"{name}.pth"))
    assert not second.path.exists()


def test_changed_file_is_noticed(shared: Path) -> None:
    """Else a bad disk or a stranger could change a model's numbers."""
    path = library.add(published(shared, "realesr-animevideov3.pth")).path
    spec = weights.find_model("realesr-animevideov3")
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is not the file that 'realesr-animevideov3' needs"):
        weights.find_weights(spec)


def test_damaged_embedded_weights_are_not_to_be_downloaded(tmp_path: Path) -> None:
    """Nobody publishes them: the download that was advised could only fail."""
    spec = MODELS["microscopy-x2"]
    path = tmp_path / spec.weights[0].name
    path.write_bytes(b"cut short")
    with pytest.raises(WeightsError, match="Reinstall napari-superres") as caught:
        weights.check_file(spec, spec.weights[0], path)
    assert "download" not in str(caught.value)


def test_changed_file_of_an_own_model_is_noticed(checkpoint: Path) -> None:
    """Else the same name could stand for other weights tomorrow."""
    path = library.add(checkpoint, "my-net").path
    save_file(random_tensors(COMPACT, seed=1), path)
    with pytest.raises(WeightsError, match="is not the file that was added as 'my-net'"):
        weights.find_weights(weights.find_model("my-net"))
    with pytest.raises(WeightsError, match="it has changed"):
        library.verify("my-net")


def test_same_time_and_size_hide_a_change_from_all_but_verify(shared: Path) -> None:
    """Else checking would read gigabytes each time; or `verify` would trust its memory."""
    path = library.add(published(shared, "realesr-animevideov3.pth")).path
    spec = weights.find_model("realesr-animevideov3")
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    weights.find_weights(spec)
    with pytest.raises(WeightsError, match="SHA-256"):
        library.verify(spec.name)


def test_checksum_is_computed_once(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every tile would wait for 67 MB to be read."""
    library.add(published(shared, "realesr-animevideov3.pth"))
    spec = weights.find_model("realesr-animevideov3")
    monkeypatch.setattr(cache_module, "_seen", {})  # as in a new process

    def read_again(*arguments: object) -> None:
        raise AssertionError("the file was read again")

    monkeypatch.setattr(cache_module.hashlib, "file_digest", read_again)
    for _ in range(3):
        assert weights.find_weights(spec)


def test_foreign_file_with_the_right_name_is_refused(shared: Path, cache: Path) -> None:
    """Else anything that lies in the cache under an official name would be run."""
    target = cache / "weights" / "realesr-animevideov3.pth"
    target.parent.mkdir(parents=True)
    torch.save({"params": {}}, target)
    with pytest.raises(WeightsError, match="official one is b8a83768"):
        weights.find_weights(MODELS["realesr-animevideov3"])
    shutil.copyfile(published(shared, "realesr-animevideov3.pth"), target)
    assert weights.find_weights(MODELS["realesr-animevideov3"])


def test_file_in_the_cache_can_be_declared_as_wanted(shared: Path, cache: Path) -> None:
    """Else what the message says to do, to add the file, would not work."""
    target = cache / "weights" / "RealESRGAN_x4plus_anime_6B.pth"
    target.parent.mkdir(parents=True)
    shutil.copyfile(published(shared, "RealESRGAN_x4plus_anime_6B.pth"), target)
    name = "realesrgan-x4plus-anime-6b"
    with pytest.raises(WeightsError, match=f"models add FILE --as {name}"):
        weights.find_weights(weights.find_model(name))
    assert library.add(target, name).path == target
    assert list(weights.find_weights(weights.find_model(name)).values()) == [target]


def test_damaged_memory_of_a_file_is_no_harm(shared: Path) -> None:
    """Else a record that was cut off would make a good file unusable."""
    path = library.add(published(shared, "realesr-animevideov3.pth")).path
    for text in ("", "{", "[]", json.dumps({"sha256": "x"})):
        path.with_name(path.name + ".json").write_text(text)
        assert weights.find_weights(weights.find_model("realesr-animevideov3"))


def test_file_that_changed_since_it_was_chosen_is_refused(checkpoint: Path) -> None:
    """Else a job would go on with other weights than those that its plan names."""
    spec = weights.find_model(str(checkpoint))
    save_file(random_tensors(COMPACT, seed=1), checkpoint)
    with pytest.raises(WeightsError, match="has changed since"):
        weights.find_weights(spec)


def test_cache_that_cannot_be_written_says_so(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a full or protected disk would end in a traceback, with half a file left."""
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(blocked))
    with pytest.raises(OutputError, match="cannot be written"):
        library.add(checkpoint, "my-net")


def test_copy_that_fails_leaves_nothing(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else half a file could be taken for a model."""

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(library.shutil, "copyfileobj", full)
    with pytest.raises(ResourceError, match=r"disk is full.*No space left"):
        library.add(checkpoint, "my-net")
    left = {path.name for path in cache.rglob("*") if path.is_file()}
    assert left == {".my-net.lock"}


def test_files_added_at_the_same_time_do_not_delete_one_another(
    checkpoint: Path, tmp_path: Path
) -> None:
    """Else two people who add a model by one name could both hear that it is there, and none is."""
    other = tmp_path / "other.pth"
    torch.save({k: torch.tensor(v) for k, v in random_tensors(COMPACT).items()}, other)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            added = list(
                pool.map(lambda file: library.add(file, "my-net").path, (checkpoint, other))
            )
            assert sum(path.exists() for path in added) == 1
            assert library.verify("my-net")


def test_model_that_another_program_replaced_is_the_users_too(
    checkpoint: Path, tmp_path: Path
) -> None:
    """A viewer that had used the old one broke the new one for every program."""
    library.add(checkpoint, "my-net")
    other = tmp_path / "other.safetensors"
    save_file(random_tensors(COMPACT, seed=1), other)
    code = "from napari_superres.cli import main; main()"
    command = [sys.executable, "-c", code, "models", "add", str(other), "--as", "my-net"]
    subprocess.run(command, check=True)
    [path] = weights.find_weights(weights.find_model("my-net")).values()
    assert path.read_bytes() == other.read_bytes()
    assert library.verify("my-net") == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_locks_are_for_all_who_share_the_cache(cache: Path, checkpoint: Path) -> None:
    """A lock stays behind, and shut out the colleagues of whoever had come first."""
    library.add(checkpoint, "my-net")
    cache_module.accept_licence("restricted")
    locks = list(cache.rglob("*.lock"))
    assert len(locks) == 2
    assert all(stat.S_IMODE(lock.stat().st_mode) == 0o666 for lock in locks)


def test_licence_must_be_accepted_once() -> None:
    """Else a model for non-commercial use could be run by accident."""
    spec = ModelSpec(
        name="restricted",
        family="realesrgan",
        scale=4,
        title="",
        domain="",
        licence="CC-BY-NC-4.0",
        citation="",
        proven="layout only",
        homepage="somewhere",
        consent=True,
    )
    assert weights.state(spec) == "to accept"
    with pytest.raises(LicenceError, match="superres models accept restricted"):
        weights.find_weights(spec)
    cache_module.accept_licence("restricted")
    assert weights.find_weights(spec) == {}
    assert set(cache_module.accepted_licences()) == {"restricted"}


def test_licences_accepted_at_the_same_time_are_all_remembered() -> None:
    """Else jobs that start together could take back one another's acceptance."""
    names = [f"restricted-{number}" for number in range(12)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(cache_module.accept_licence, names))
    assert set(cache_module.accepted_licences()) == set(names)


@pytest.mark.parametrize("content", ["{", "[]", "3", "null", '["supir-v0f"]'])
def test_broken_record_of_licences_is_not_taken_for_none(cache: Path, content: str) -> None:
    """Else accepting one licence could forget the others."""
    (cache / "licences.json").write_text(content)
    with pytest.raises(WeightsError, match=r"licences\.json"):
        cache_module.accept_licence("restricted")


def test_removing_what_is_not_there_says_so(checkpoint: Path) -> None:
    """Else a typing error would look like success; or a user's own file would be deleted."""
    with pytest.raises(WeightsError, match="no weights of"):
        library.remove("realesrgan-x4plus")
    with pytest.raises(WeightsError, match="Delete the file yourself"):
        library.remove(str(checkpoint))
    with pytest.raises(WeightsError, match="to verify"):
        library.verify("realesrgan-x4plus")
    assert checkpoint.is_file()


def test_official_weights_run_from_the_cache(shared: Path) -> None:
    """Else all of the above would not lead to a picture."""
    library.add(published(shared, "realesr-animevideov3.pth"))
    spec = weights.find_model("realesr-animevideov3")
    engine = load_engine(spec, weights.find_weights(spec), Setting())
    assert engine(image(3, 5, 6), WHOLE, HERE).shape == (1, 3, 20, 24)


def test_row_with_another_scale_refuses_the_file(checkpoint: Path) -> None:
    """Else a result would have the wrong size, or a crash would come late."""
    spec = dataclasses.replace(
        weights.find_model(str(checkpoint)), scale=2, weights=(WeightFile("x", "", 0),)
    )
    with pytest.raises(WeightsError, match=r"makes x4 of 3 samples, but .* is x2 of 3"):
        load_engine(spec, {"x": checkpoint}, Setting())
