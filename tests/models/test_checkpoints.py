"""Files of weights are read without running what they carry, and refused with a reason."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_superres.errors import ResourceError, WeightsError
from napari_superres.models.checkpoints import read_tensors

if TYPE_CHECKING:
    from pathlib import Path

RAN: list[str] = []


def run_something(word: str) -> str:
    """Do what a malicious file would do: anything."""
    RAN.append(word)
    return word


class Bomb:
    """An object whose unpickling runs a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Ask the loader to call `run_something`."""
        return run_something, ("boom",)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """Return two tensors, as a network would have them."""
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "conv.bias": torch.randn(4, generator=generator),
    }


def same(found: dict[str, np.ndarray], expected: dict[str, torch.Tensor]) -> bool:
    """Return whether the names, their order, and all numbers are equal."""
    return list(found) == list(expected) and all(
        np.array_equal(found[name], tensor.numpy()) for name, tensor in expected.items()
    )


@pytest.mark.parametrize("wrapper", [None, "params_ema", "params", "state_dict", "model"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_are_unwrapped(
    tmp_path: Path, tensors: dict[str, torch.Tensor], wrapper: str | None, zipped: bool
) -> None:
    """Else files of one training program would work and those of another would not."""
    path = tmp_path / "net.pth"
    content = tensors if wrapper is None else {wrapper: tensors, "iter": 400}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert same(read_tensors(path), tensors)


def test_averaged_weights_are_preferred(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Else a model would be run with weights that its authors do not use."""
    path = tmp_path / "net.pth"
    other = {name: tensor + 1 for name, tensor in tensors.items()}
    torch.save({"params": other, "params_ema": tensors}, path)
    assert same(read_tensors(path), tensors)


def test_prefix_of_training_on_several_devices_is_dropped(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    """Else a checkpoint from a training on two GPUs would not be recognised."""
    path = tmp_path / "net.pth"
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, path)
    assert same(read_tensors(path), tensors)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".weights"])
def test_safetensors_are_told_by_their_content(
    tmp_path: Path, tensors: dict[str, torch.Tensor], suffix: str
) -> None:
    """Else a file with the wrong ending would be called broken."""
    path = tmp_path / f"net{suffix}"
    save_file(tensors, path)
    found = read_tensors(path)
    assert {name: found[name].tolist() for name in found} == {
        name: tensor.tolist() for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_mixed_precision_becomes_float32(
    tmp_path: Path, tensors: dict[str, torch.Tensor], dtype: torch.dtype, suffix: str
) -> None:
    """Else a network with half its weights in float16 would fail, or compute in float16."""
    path = tmp_path / f"net{suffix}"
    mixed = {"conv.bias": tensors["conv.bias"], "conv.weight": tensors["conv.weight"].to(dtype)}
    torch.save(mixed, path) if suffix == ".pth" else save_file(mixed, path)
    found = read_tensors(path)
    assert {tensor.dtype for tensor in found.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(found["conv.weight"], mixed["conv.weight"].float().numpy())


def test_tensors_saved_on_a_gpu_load_without_one(shared: Path) -> None:
    """Else the official animevideov3 file, whose storages say cuda:0, would not load here."""
    assert len(read_tensors(shared / "weights" / "realesr-animevideov3.pth")) == 53


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_and_not_run(
    tmp_path: Path, tensors: dict[str, torch.Tensor], zipped: bool
) -> None:
    """Else a file from the internet could do anything to the user's computer."""
    path = tmp_path / "bomb.pth"
    torch.save({"params": tensors, "x": Bomb()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"bomb\.pth.*carries code.*run_something.*not run"):
        read_tensors(path)
    assert RAN == []


@pytest.mark.parametrize("protocol", [2, 4])
def test_plain_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    """Else a pickle that was merely renamed could do anything, too."""
    path = tmp_path / "bomb.pth"
    path.write_bytes(pickle.dumps(Bomb(), protocol))
    with pytest.raises(WeightsError, match="code"):
        read_tensors(path)
    assert RAN == []
    pickle.loads(path.read_bytes())
    assert RAN.pop() == "boom", "the bomb must be a real one"


def test_whole_module_is_refused(tmp_path: Path) -> None:
    """Else loading would need, and run, the classes of the program that saved it."""
    path = tmp_path / "module.pth"
    torch.save(torch.nn.Conv2d(1, 1, 3), path)
    with pytest.raises(WeightsError, match=r"carries code .*Conv2d"):
        read_tensors(path)


def archive(path: Path, members: dict[str, str]) -> None:
    """Write a ZIP archive."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    """Else a program compiled into a file would be run."""
    path = tmp_path / "script.pth"
    archive(path, {"net/constants.pkl": "", "net/data.pkl": "", "net/code/net.py": "x"})
    with pytest.raises(WeightsError, match="carries code"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Not found</html>", "is a web page"),
        (b"\n  <html lang='en'>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "Git LFS pointer"),
        (b"some text, and more of it", "not a file of weights"),
        (bytes(range(256)), "not a file of weights"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "holds no tensors"),
    ],
)
def test_what_is_no_weights_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, words: str
) -> None:
    """Else a failed download would look like a broken program."""
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words) as caught:
        read_tensors(path)
    assert "net.pth" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("suffix", [".pth", ".old.pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_truncated_file_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], suffix: str, share: float
) -> None:
    """Else a transfer that was cut off would give a network with missing layers."""
    path = tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=suffix == ".pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"net.*(truncated|damaged|not a file)"):
        read_tensors(path)


@pytest.mark.parametrize("modern", [True, False])
def test_spoilt_file_is_refused_in_words_wherever_it_is_spoilt(
    tmp_path: Path, tensors: dict[str, torch.Tensor], modern: bool
) -> None:
    """Else a bad disk would look like a bug of the program."""
    path = tmp_path / "net.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=modern)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(1, len(content), 150):
        spoilt = bytearray(content)
        spoilt[place] = int(rng.integers(256))
        for bad in (content[:place], bytes(spoilt)):
            path.write_bytes(bad)
            with contextlib.suppress(WeightsError):
                read_tensors(path)


def test_flipped_bit_in_a_torch_file_is_noticed(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    """Else a bad disk would change a model's numbers, and torch would not say so."""
    path = tmp_path / "net.pth"
    torch.save(tensors, path)
    content = bytearray(path.read_bytes())
    place = content.find(tensors["conv.weight"].numpy().tobytes()[:16])
    content[place] ^= 1
    path.write_bytes(content)
    assert not same_bits(torch.load(path, weights_only=True), tensors), "torch itself accepts it"
    with pytest.raises(WeightsError, match="checksum"):
        read_tensors(path)


def same_bits(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    """Return whether all tensors are equal."""
    return all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensor_that_is_not_finite_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], value: float
) -> None:
    """Else every pixel of a result would be NaN."""
    path = tmp_path / "net.pth"
    tensors["conv.bias"][2] = value
    torch.save(tensors, path)
    with pytest.raises(WeightsError, match=r"'conv\.bias' holds NaN or infinity"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_quantised_weights_are_refused_unless_integers_are_expected(
    tmp_path: Path, suffix: str, dtype: torch.dtype
) -> None:
    """Else integers would be taken for weights; attention's index tables are integers, though."""
    path = tmp_path / f"net{suffix}"
    content = {"a": torch.ones(3), "table": torch.tensor([1, 0]).to(dtype)}
    torch.save(content, path) if suffix == ".pth" else save_file(content, path)
    with pytest.raises(WeightsError, match="'table' as "):
        read_tensors(path)
    found = read_tensors(path, integers=True)
    assert found["table"].tolist() == [1, 0]
    assert found["table"].dtype == torch.tensor([]).to(dtype).numpy().dtype


@pytest.mark.parametrize("content", [[1, 2], {"a": 3.0}, {1: torch.ones(2)}, "text"])
def test_other_content_of_a_torch_file_is_refused(tmp_path: Path, content: Any) -> None:
    """Else settings or a list would be taken for a network."""
    path = tmp_path / "net.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"net\.pth.*holds a"):
        read_tensors(path)


def test_dictionary_that_holds_itself_is_refused(tmp_path: Path) -> None:
    """Else looking for the network inside would never end."""
    content: dict[str, Any] = {}
    content["params"] = content
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"net\.pth.*holds a dict \('params'\)"):
        read_tensors(tmp_path / "net.pth")


def test_tensor_without_numbers_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    """Else a file that was saved from an empty network would end in an error of torch's."""
    path = tmp_path / "net.pth"
    torch.save({**tensors, "empty": torch.empty(3, device="meta")}, path)
    with pytest.raises(WeightsError, match=r"net\.pth.*'empty' without numbers"):
        read_tensors(path)


def test_small_file_that_asks_for_terabytes_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    """Else a few bytes could bring down a computer."""
    path = tmp_path / "net.pth"
    torch.save({**tensors, "wide": torch.ones(1).expand(10**13)}, path)
    with pytest.raises(ResourceError, match=r"Reading .*net\.pth' needs about 40 TB"):
        read_tensors(path)


def test_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    """Else weights inside a ZIP file would be called damaged."""
    path = tmp_path / "net.zip"
    archive(path, {"readme.txt": "unpack me"})
    with pytest.raises(WeightsError, match="archive without weights"):
        read_tensors(path)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    """Else a typing error in a path would not be seen."""
    with pytest.raises(WeightsError, match=r"nowhere\.pth.*does not exist"):
        read_tensors(tmp_path / "nowhere.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_tensors(tmp_path)


def test_arrays_belong_to_the_caller(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Else writing to a tensor could change, or fail on, the file's mapped memory."""
    for path in (tmp_path / "a.pth", tmp_path / "b.safetensors"):
        torch.save(tensors, path) if path.suffix == ".pth" else save_file(tensors, path)
        found = read_tensors(path)
        found["conv.bias"] += 1
        assert not np.array_equal(found["conv.bias"], read_tensors(path)["conv.bias"])


def test_reading_safetensors_needs_no_torch(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    """Else the ncnn engine would take seconds to start, and memory that it does not need."""
    path = tmp_path / "net.safetensors"
    save_file(tensors, path)
    code = (
        "import sys; from pathlib import Path\n"
        "from napari_superres.models.checkpoints import read_tensors\n"
        "found = read_tensors(Path(sys.argv[1]))\n"
        "sys.exit(len(found) != 2 or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0
