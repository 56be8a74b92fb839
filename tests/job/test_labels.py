"""Labels beside an image: taken along with every value kept, or named as left out."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import napari_superres as sr
from napari_superres.cli import _run
from napari_superres.errors import InputError, SettingError
from napari_superres.formats.labels import label_names
from napari_superres.job import run, write
from napari_superres.labelling import finer_labels
from tests.formats.zarr_files import make_image
from tests.job.conftest import part_of, tree

if TYPE_CHECKING:
    from pathlib import Path

CELLS = np.random.default_rng(3).integers(0, 900_000_000, (3, 40, 44), dtype=np.uint32)
COARSE = np.random.default_rng(4).integers(0, 200, (20, 22), dtype=np.uint8)
COLOURS = [{"label-value": 7, "rgba": [255, 0, 0, 255]}]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Return an image of two channels with labels on its own grid, and on one half as fine."""
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 3, 40, 44), dtype=np.uint16)
    root = make_image(
        tmp_path / "in.ome.zarr",
        [pixels],
        "czyx",
        scales=[[1, 2, 0.4, 0.4]],
        translations=[[0, 0, 3, 5]],
        chunks=(1, 1, 16, 16),
    )
    for name, values, axes, size in (
        ("cells", CELLS, "zyx", [2, 0.4, 0.4]),
        ("regions", COARSE, "yx", [0.8, 0.8]),
    ):
        make_image(
            root / "labels" / name,
            [values],
            axes,
            scales=[size],
            translations=[[*([0] if len(axes) == 3 else []), 3, 5]],
            extra={"image-label": {"colors": COLOURS, "source": {"image": "../../"}}},
        )
    group = zarr.open_group(root / "labels", mode="a", zarr_format=3)
    group.update_attributes({"ome": {"version": "0.5", "labels": ["cells", "regions"]}})
    return root


def repeated(values: np.ndarray, scale: int) -> np.ndarray:
    """Return pixels repeated along y and x."""
    return values.repeat(scale, -2).repeat(scale, -1)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_labels_go_along_with_every_value_kept(labelled: Path, version: Any) -> None:
    """Cell 3 beside cell 9 must not give a cell 6, at any level, and must lie over its cell."""
    target = labelled.with_name("out.ome.zarr")
    arguments = ["upscale", str(labelled), str(target), "-m", "lanczos", "-s", "4", "-q"]
    assert _run([*arguments, "--labels", "--ome-zarr", version]) == 0
    image = sr.read(target)
    assert label_names(image) == ("cells", "regions")
    assert image.translation == pytest.approx((0, 0, 3 - 0.15, 5 - 0.15))
    for name, values in (("cells", CELLS), ("regions", COARSE)):
        found = sr.read(target / "labels" / name)
        assert found.is_labels
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found.data.compute(), repeated(values, 4))
        levels = [level.compute() for level in found.levels]
        assert len(levels) >= 2
        assert np.isin(np.concatenate([level.ravel() for level in levels]), values).all()
        np.testing.assert_array_equal(levels[1], values), "level 2 of x4 is the source"
        assert found.name == name
        back = sr.read(target / "labels" / name, level=2)
        source = sr.read(labelled / "labels" / name)
        assert back.translation == source.translation
        assert back.pixel_size == source.pixel_size
        assert found.metadata["image-label"]["colors"] == COLOURS
        attributes: Any = dict(zarr.open_group(target / "labels" / name, mode="r").attrs)
        label = attributes.get("ome", attributes)["image-label"]
        assert label["source"] == {"image": "../../"}
    assert not part_of(target).exists()


def test_validators_accept_the_labels(labelled: Path) -> None:
    """A viewer that finds a list of labels opens each of them."""
    yaozarrs = pytest.importorskip("yaozarrs")
    models = pytest.importorskip("ome_zarr_models")
    image = sr.read(labelled)
    target = labelled.with_name("out.ome.zarr")
    finer = sr.upscale(image, "nearest", scale=2)
    write(finer, target, labels=finer_labels(image, 2))
    yaozarrs.validate_zarr_store(str(target))
    yaozarrs.validate_zarr_store(str(target / "labels"))
    for place in (target, target / "labels", target / "labels" / "cells"):
        models.open_ome_zarr(zarr.open_group(place, mode="r"))


def test_labels_left_out_are_named(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody should find out in the analysis that the segmentation stayed behind."""
    assert _run(["upscale", str(labelled), "-m", "nearest"]) == 0
    told = capsys.readouterr().err
    assert "The labels beside 'in' are left out: 'cells', 'regions'" in told
    target = labelled.with_name("in_x2.ome.zarr")
    assert not (target / "labels").exists()
    assert _run(["upscale", str(labelled), "-m", "nearest", "--overwrite", "--json"]) == 0
    assert any("left out" in w for w in json.loads(capsys.readouterr().out)["warnings"])


def test_a_part_takes_the_same_part_of_the_labels(labelled: Path) -> None:
    """A region with the labels of another region is worse than one without."""
    target = labelled.with_name("part.ome.zarr")
    chosen = ["--channels", "1", "--planes", "z=1:3", "--region", "10:30,4:24", "--labels"]
    assert _run(["upscale", str(labelled), str(target), "-m", "lanczos", "-q", *chosen]) == 0
    image, cells = sr.read(target), sr.read(target / "labels" / "cells")
    np.testing.assert_array_equal(cells.data, repeated(CELLS[1:3, 10:30, 4:24], 2))
    assert cells.translation == image.translation[1:]
    coarse = sr.read(target / "labels" / "regions")
    np.testing.assert_array_equal(coarse.data, repeated(COARSE[5:15, 2:12], 2))
    with pytest.raises(SettingError, match="inside a pixel of its labels 'regions'"):
        finer_labels(sr.read(labelled), 2, region=(slice(11, 30), slice(4, 24)))


def test_labels_of_each_channel_go_with_their_channel(labelled: Path) -> None:
    """The nuclei of one channel would lie over the membranes of another."""
    both = np.stack([CELLS, CELLS + 1])
    root = labelled / "labels" / "cells"
    shutil.rmtree(root)
    make_image(root, [both], "czyx", extra={"image-label": {"source": {"image": "../../"}}})
    target = labelled.with_name("part.ome.zarr")
    chosen = ["--channels", "1", "--labels"]
    assert _run(["upscale", str(labelled), str(target), "-m", "nearest", "-s", "2", *chosen]) == 0
    np.testing.assert_array_equal(sr.read(target / "labels" / "cells").data, repeated(both[1:], 2))
    shutil.rmtree(root)
    make_image(root, [CELLS[:2]], "zyx", extra={"image-label": {"source": {"image": "../../"}}})
    with pytest.raises(SettingError, match="2 planes along 'z'"):
        finer_labels(sr.read(labelled), 2, planes={"z": slice(1, 3)})


@pytest.mark.usefixtures("small_blocks")
def test_an_interrupted_run_goes_on_with_the_labels(labelled: Path) -> None:
    """The last hour of a weekend is as likely to be interrupted as the first."""
    image = sr.read(labelled)
    finer, labels = sr.upscale(image, "nearest", scale=2), finer_labels(image, 2)
    reference = write(finer, labelled.with_name("reference.ome.zarr"), labels=labels)
    target = labelled.with_name("out.ome.zarr")
    for stop_at in (0.01, 0.4, 0.9):
        steps = run(finer, target, labels=labels, workers=1)
        for step in steps:
            if step.step == "exporting" and step.under_way > stop_at:
                break
        steps.close()
        assert not target.exists()
    write(finer, target, labels=labels)
    assert tree(target) == tree(reference)
    # Another wish is another result.
    other = labelled.with_name("other.ome.zarr")
    steps = run(finer, other, labels=labels, workers=1)
    while next(steps).done < 2:
        pass
    steps.close()
    with pytest.raises(sr.SuperresError, match="labels"):
        write(finer, other)


def test_what_cannot_be_taken_along_is_refused(labelled: Path, tmp_path: Path) -> None:
    """Before hours of work, not after."""
    image = sr.read(labelled)
    finer = sr.upscale(image, "nearest", scale=2)
    with pytest.raises(SettingError, match="no place for label images"):
        run(finer, tmp_path / "a.ome.tif", labels=finer_labels(image, 2))
    bare = make_image(tmp_path / "bare.ome.zarr", [CELLS], "zyx")
    assert _run(["upscale", str(bare), "--labels", "-q"]) == 2
    make_image(labelled / "labels" / "cells", [np.ones((8, 8), "f4")], "yx")
    with pytest.raises(InputError, match="pixels are float32"):
        finer_labels(image, 2)
