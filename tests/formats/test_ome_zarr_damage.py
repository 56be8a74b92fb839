"""Files that are broken, incomplete or hostile: one clear sentence, and nothing runs."""

from __future__ import annotations

import json
import os
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_superres.errors import InputError, SuperresError, UnreadableError
from napari_superres.formats.ome_zarr import open_image
from napari_superres.formats.ome_zarr_layout import layout_for
from napari_superres.formats.ome_zarr_write import commit, create, write_block
from napari_superres.image import Image
from tests.formats.records import RECORD
from tests.formats.zarr_files import make_image, ramp


def sharded(folder: Path) -> Path:
    """Write a shard as a job does, and return the image's folder."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (260, 300)).astype(np.uint16)
    image = Image(da.from_array(pixels), "yx")
    layout = layout_for(image)
    root = folder / "a.ome.zarr"
    create(root, layout)
    write_block(root, layout, 0, (0, 0), pixels, folder)
    write_block(root, layout, 1, (0, 0), pixels[::2, ::2], folder)
    commit(root, layout, image)
    return root


def message(call: Any, kind: type[SuperresError] = UnreadableError) -> str:
    """Return the sentence that a user sees, after checking that it is one line."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_every_flipped_bit_in_a_shard_is_found(tmp_path: Path) -> None:
    """Disks and networks flip bits; without the checksum 195 of 200 went through unseen."""
    root = sharded(tmp_path)
    shard = root / "0" / "c" / "0" / "0"
    good = shard.read_bytes()
    data = open_image(str(root)).data
    whole = data.compute()
    dice = random.Random(0)
    for _ in range(200):
        bad = bytearray(good)
        bad[dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
        shard.write_bytes(bad)
        text = message(data.compute)
        assert str(shard) in text
        assert "damaged" in text
    shard.write_bytes(good)
    np.testing.assert_array_equal(data.compute(), whole)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_shard_is_named(tmp_path: Path, share: float) -> None:
    """After a full disk or a broken copy; zarr reads an empty file as zeros without a word."""
    root = sharded(tmp_path)
    shard = root / "0" / "c" / "0" / "0"
    os.truncate(shard, int(shard.stat().st_size * share))
    assert str(shard) in message(open_image(str(root)).data[5:9, 5:9].compute)


def test_only_the_damaged_chunk_is_lost(tmp_path: Path) -> None:
    """One bad chunk of a weekend's data must not take the others with it."""
    root = make_image(tmp_path / "a", [ramp((2, 64, 64))], chunks=(1, 32, 32), version="0.4")
    (root / "0" / "1" / "0" / "1").write_bytes(b"rubbish")
    image = open_image(str(root))
    np.testing.assert_array_equal(image.data[0].compute(), ramp((2, 64, 64))[0])
    assert str(Path("0", "1", "0", "1")) in message(image.data.compute)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'"a"', b'{"a": 1}', b"\xff\xfe\x00", b"null"]
)
@pytest.mark.parametrize("place", ["zarr.json", "0/zarr.json"])
def test_corrupt_metadata_is_one_sentence(tmp_path: Path, content: bytes, place: str) -> None:
    """The file that was cut off is named, whatever was left of it."""
    root = make_image(tmp_path / "a", [ramp((8, 10))], "yx")
    (root / place).write_bytes(content)
    assert str(root) in message(lambda: open_image(str(root)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("multiscales",), []),
        (("multiscales",), {}),
        (("multiscales", 0), 5),
        (("multiscales", 0, "datasets"), []),
        (("multiscales", 0, "datasets"), None),
        (("multiscales", 0, "datasets", 0), "0"),
        (("multiscales", 0, "datasets", 0, "path"), None),
        (("multiscales", 0, "datasets", 0, "path"), "7"),
        (("multiscales", 0, "axes"), None),
        (("multiscales", 0, "axes"), [{"name": "y"}]),
        (("multiscales", 0, "axes"), [{"name": "y"}, {"name": "y"}]),
        (("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "scale"), [1]),
        (("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "scale"), [0, 1]),
        (("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "scale"), ["a", 1]),
        (("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "type"), "rotation"),
        (("version",), "0.9"),
    ],
)
def test_contradictory_metadata_is_refused(tmp_path: Path, path: Any, value: Any) -> None:
    """Half-understood metadata would give a result of the wrong size or place."""
    root = make_image(tmp_path / "a", [ramp((8, 10))], "yx")
    document = json.loads((root / "zarr.json").read_text())
    at = document["attributes"]["ome"]
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    (root / "zarr.json").write_text(json.dumps(document))
    assert str(root) in message(lambda: open_image(str(root)), InputError)


@pytest.mark.parametrize("history", [0, ["x"], [{"model": "x"}], [RECORD, {"plan": {}}]])
def test_a_damaged_history_costs_nothing_else(tmp_path: Path, history: Any) -> None:
    """Half a history is told as the whole, or ends the program that tells it."""
    kept = {"metadata": {"napari_superres": {"history": history}}}
    image = open_image(str(make_image(tmp_path / "a", [ramp((8, 10))], "yx", multiscale=kept)))
    assert image.history == ()
    assert ["history" in warning for warning in image.warnings] == [True]
    np.testing.assert_array_equal(image.data, ramp((8, 10)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("codecs", 5),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [8, 0]}}),
        ("fill_value", 2**70),
    ],
)
def test_an_array_that_makes_no_sense_is_one_sentence(tmp_path: Path, key: str, value: Any) -> None:
    """A flipped bit in a number ends in a division by zero."""
    root = make_image(tmp_path / "a", [ramp((8, 10))], "yx")
    document = json.loads((root / "0" / "zarr.json").read_text())
    (root / "0" / "zarr.json").write_text(json.dumps({**document, key: value}))
    assert str(root) in message(lambda: open_image(str(root)).data.compute())


class Bomb:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickled_chunks_are_refused_and_do_not_run(tmp_path: Path) -> None:
    """Opening a stranger's file must not run a stranger's code."""
    root = tmp_path / "v2"
    root.mkdir()
    document = {
        "zarr_format": 2, "shape": [1, 1], "chunks": [1, 1], "dtype": "|O", "fill_value": None,
        "order": "C", "compressor": None, "filters": [{"id": "pickle", "protocol": 5}],
    }  # fmt: skip
    (root / ".zarray").write_text(json.dumps(document))
    (root / "0.0").write_bytes(pickle.dumps([Bomb(tmp_path / "ran"), [1, 1]]))
    assert "pickled" in message(lambda: open_image(str(root)))
    root = make_image(tmp_path / "v3", [ramp((1, 1))], "yx") / "0" / "zarr.json"
    document = json.loads(root.read_text())
    document["codecs"] = [{"name": "numcodecs.pickle", "configuration": {}}]
    root.write_text(json.dumps(document))
    assert "pickled" in message(lambda: open_image(str(tmp_path / "v3")))
    assert not (tmp_path / "ran").exists()


def test_an_unknown_codec_is_named(tmp_path: Path) -> None:
    """The user may have to install something, and must know what."""
    path = make_image(tmp_path / "a", [ramp((4, 4))], "yx") / "0" / "zarr.json"
    document = json.loads(path.read_text())
    document["codecs"].append({"name": "mystery", "configuration": {}})
    path.write_text(json.dumps(document))
    assert "mystery" in message(lambda: open_image(str(tmp_path / "a")))


@pytest.mark.parametrize(
    "leak", ["../secret", "/etc/hosts", "..\\secret", "C:/secret", "a/../../secret"]
)
def test_datasets_outside_the_folder_are_refused(tmp_path: Path, leak: str) -> None:
    """A file from elsewhere must not read, and so publish, what lies beside it."""
    zarr.create_array(tmp_path / "secret", data=ramp((8, 10)))
    root = make_image(tmp_path / "a", [ramp((8, 10))], "yx")
    document = json.loads((root / "zarr.json").read_text())
    document["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = leak
    (root / "zarr.json").write_text(json.dumps(document))
    assert "outside" in message(lambda: open_image(str(root)), InputError)


def link(place: Path, to: Path) -> None:
    """Make a symbolic link, where the system lets us."""
    try:
        place.symlink_to(to)
    except OSError as error:
        pytest.skip(f"no symbolic links here: {error}")


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    """The same by links: of a level, of a folder of chunks, of a single chunk."""
    other = make_image(tmp_path / "other", [ramp((64, 64))], "yx", chunks=(32, 32))
    for i, name in enumerate(("0", "0/c/1", "0/c/0/1")):
        root = make_image(tmp_path / f"a{i}", [ramp((64, 64))], "yx", chunks=(32, 32))
        (root / name).rename(tmp_path / f"moved{i}")
        link(root / name, other / name)
        text = message(lambda root=root: open_image(str(root)).data.compute(), InputError)
        assert "link" in text


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    """An image may be reached by a link, and may share a level with itself."""
    root = make_image(tmp_path / "a", [ramp((8, 10)), ramp((8, 10))], "yx")
    (root / "1").rename(root / "kept")
    link(root / "1", root / "kept")
    link(tmp_path / "b", root)
    np.testing.assert_array_equal(
        open_image(str(tmp_path / "b")).levels[0].compute(), ramp((8, 10))
    )


@pytest.mark.parametrize("dtype", ["c8", "c16", "S3", "M8[s]"])
def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path, dtype: str) -> None:
    """Half of a complex number would be lost without a word."""
    kind = np.dtype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's, about types outside of the specification
        zarr.create_array(tmp_path / "a", shape=(8, 10), dtype=kind, zarr_format=2)
    assert str(tmp_path) in message(lambda: open_image(str(tmp_path / "a")), InputError)


@pytest.mark.parametrize("shape", [(0, 10), (8, 0), (0, 8, 10)])
def test_no_pixels_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Nothing upscaled is nothing, and would fail in odd ways later."""
    zarr.create_array(tmp_path / "a", shape=shape, dtype="u1", chunks=(1,) * len(shape))
    text = message(lambda: open_image(str(tmp_path / "a"), axes="zyx"[-len(shape) :]), InputError)
    assert "no pixel" in text


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({}, "without OME-Zarr metadata"),
        ({"ome": {"plate": {"wells": [{"path": "B/03"}]}}}, "B/03/0"),
        ({"ome": {"well": {"images": [{"path": "0"}]}}}, "is a well"),
        ({"ome": {"plate": {"wells": 7}}}, "is a plate"),
        ({"ome": {"well": []}}, "is a well"),
    ],
)
def test_groups_that_are_no_image_say_what_they_are(
    tmp_path: Path, attributes: dict[str, Any], word: str
) -> None:
    """A plate is opened by one of its images, and the user is told which."""
    zarr.open_group(tmp_path / "g", mode="w", zarr_format=3).update_attributes(attributes)
    assert word in message(lambda: open_image(str(tmp_path / "g")))


def test_a_folder_that_is_no_zarr_is_refused(tmp_path: Path) -> None:
    """A wrong folder is the most common slip of all."""
    assert "no Zarr" in message(lambda: open_image(str(tmp_path)))


def test_absurd_sizes_open_and_cost_nothing(tmp_path: Path) -> None:
    """A header may claim anything; planning refuses it, opening must not fill the memory."""
    array = zarr.create_array(tmp_path / "a", shape=(4, 8, 8), dtype="u2", chunks=(1, 8, 8))
    assert array.shape == (4, 8, 8)
    path = tmp_path / "a" / "zarr.json"
    path.write_text(
        path.read_text().replace("    8,\n    8\n", "    1000000000,\n    1000000000\n")
    )
    document = json.loads(path.read_text())
    document["shape"] = [4, 10**9, 10**9]
    document["chunk_grid"]["configuration"]["chunk_shape"] = [1, 2048, 2048]
    path.write_text(json.dumps(document))
    image = open_image(str(tmp_path / "a"), axes="zyx")
    assert image.shape == (4, 10**9, 10**9)
    assert image.data[0, -2:, -2:].compute().tolist() == [[0, 0], [0, 0]]
