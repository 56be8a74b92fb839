"""Results in buckets: the same bytes as on a disk, whatever the network does."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import napari_superres as sr
from napari_superres.cli import _run
from napari_superres.errors import OutputError, SettingError, UnreadableError
from napari_superres.formats import remote_path, zarr_store
from napari_superres.formats.patience import Patience
from napari_superres.formats.remote import open_store
from napari_superres.formats.remote_path import RemotePath
from napari_superres.job import bucket as bucket_module
from napari_superres.job import run, status, write
from napari_superres.job.lock import STALE_SECONDS
from napari_superres.labelling import finer_labels
from tests.buckets import Bucket, bucket_behind_a_relay
from tests.job.conftest import stack
from tests.job.test_labels import labelled  # noqa: F401, a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_superres.image import Image

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Bucket, str]]:
    """Serve one bucket for all tests here."""
    pytest.importorskip("obstore")
    with bucket_behind_a_relay() as found:
        yield found


@pytest.fixture
def bucket(served: tuple[Bucket, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Point everything at the bucket, and wait for milliseconds where users wait for seconds."""
    state, relay = served
    for name, value in {
        "AWS_ENDPOINT": relay,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote_path, "READING", Patience(4, 0.01))
    monkeypatch.setattr(remote_path, "WRITING", Patience(4, 0.01, writing=True))
    monkeypatch.setattr(remote_path, "REQUEST_SECONDS", 5)
    defaults = {**(open_store.__kwdefaults__ or {}), "first_wait": 0.01, "request_seconds": 5}
    monkeypatch.setattr(open_store, "__kwdefaults__", defaults)
    remote_path._bucket.cache_clear()
    zarr_store._remote_store.cache_clear()
    state.mood = lambda method, key, before: 200
    state.asked.clear()
    RemotePath(f"{state.url}/results").remove_all()
    yield state
    remote_path._bucket.cache_clear()
    zarr_store._remote_store.cache_clear()


def small(**options: Any) -> Image:
    """Return an image of five blocks: each of their files is a request or three."""
    return stack((1, 90, 100), **options)


def on_disk(root: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, but for the group's, which has the time."""
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {name: data for name, data in files.items() if "/" in name}


def in_bucket(bucket: Bucket, name: str) -> dict[str, bytes]:
    """Return the same of a result in the bucket."""
    return {key: data for key, data in bucket.objects(f"results/{name}").items() if "/" in key}


def stopped(url: str, blocks: int, **options: Any) -> None:
    """Run a job until so many blocks are done, and stop it."""
    steps = run(small(), url, workers=1, **options)
    while next(steps).done < blocks:
        pass
    steps.close()


def test_a_bucket_holds_the_bytes_of_a_disk(bucket: Bucket, tmp_path: Path) -> None:
    """A facility's archive is as good as its disks."""
    url = f"{bucket.url}/results/a.ome.zarr"
    place = write(small(), url, workers=2)
    assert str(place) == url
    assert in_bucket(bucket, "a.ome.zarr") == on_disk(write(small(), tmp_path / "a.ome.zarr"))
    found = sr.read(place)
    np.testing.assert_array_equal(found.data.compute(), small().data.compute())
    assert len(found.levels) == 4
    assert not bucket.objects("results/a.ome.zarr.part")
    with pytest.raises(OutputError, match="exists already"):
        write(small(), url)


def test_it_is_no_image_before_it_is_complete(bucket: Bucket, tmp_path: Path) -> None:
    """Whoever looks on Sunday must not take half a volume for a whole one."""
    url = f"{bucket.url}/results/a.ome.zarr"
    orders: list[str] = []
    bucket.mood = lambda method, key, before: orders.append(key) or 200  # type: ignore[func-returns-value]
    stopped(url, 3)
    assert bucket.objects("results/a.ome.zarr"), "blocks go to their place at once"
    with pytest.raises(UnreadableError, match="without OME-Zarr metadata"):
        sr.read(url)
    orders.clear()
    (last,) = list(run(small(), url))[-1:]
    assert last.kept == 3
    written = [key for key in orders if key.startswith("results/a.ome.zarr/")]
    assert written[-1] == "results/a.ome.zarr/zarr.json"
    assert in_bucket(bucket, "a.ome.zarr") == on_disk(write(small(), tmp_path / "a.ome.zarr"))


def test_another_machine_goes_on_where_one_vanished(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines in the cloud are taken away for good, with their disks."""
    url = f"{bucket.url}/results/a.ome.zarr"
    stopped(url, 3)
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(OutputError, match="being written already"):
        write(small(), url)
    monkeypatch.setattr(bucket_module, "STALE_SECONDS", -1.0)  # a minute later
    (last,) = list(run(small(), url))[-1:]
    assert last.kept == 3
    assert in_bucket(bucket, "a.ome.zarr") == on_disk(write(small(), tmp_path / "a.ome.zarr"))
    assert not bucket.objects("results/a.ome.zarr.part")
    assert STALE_SECONDS >= 30


def test_status_tells_of_a_job_on_another_machine(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the desk the cluster's job seems not to exist: 'nobody has begun it'."""
    url = f"{bucket.url}/results/a.ome.zarr"
    stopped(url, 3)
    ours = status(url)
    assert (ours.state, ours.done, ours.total) == ("stopped", 3, 5)
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(tmp_path / "another machine"))
    found = status(url)
    assert (found.state, found.done, found.total) == ("running", 3, 5)
    (own,) = found.holders
    assert (own.host, own.process) == (socket.gethostname(), os.getpid())
    assert not (tmp_path / "another machine").exists(), "nothing is written"
    monkeypatch.setattr(bucket_module, "STALE_SECONDS", -1.0)  # a minute later
    found = status(url)
    assert (found.state, found.done, found.holders) == ("stopped", 3, ())
    write(small(), url)
    assert status(url).state == "finished"


def test_a_job_that_was_taken_over_stops(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was cut off comes back, and another one has gone on meanwhile."""
    monkeypatch.setattr(bucket_module, "BEAT_SECONDS", 0.05)
    url = f"{bucket.url}/results/a.ome.zarr"
    steps = run(small(seconds=0.2), url, workers=1)
    while next(steps).done < 2:
        pass
    lock = RemotePath(f"{url}.part/lock")
    lock.write_bytes(json.dumps({"owner": "somebody else"}).encode())
    with pytest.raises(OutputError, match="taken over"):
        list(steps)
    assert json.loads(lock.read_bytes()) == {"owner": "somebody else"}


def test_what_was_taken_over_before_the_first_block_is_left_alone(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop wakes up and clears away what it has not begun: the other machine's blocks."""
    url = f"{bucket.url}/results/a.ome.zarr"
    steps = run(small(seconds=0.3), url, workers=1)
    while next(steps).step != "computing":
        pass
    RemotePath(f"{url}.part/lock").write_bytes(json.dumps({"owner": "somebody else"}).encode())
    theirs = RemotePath(f"{url}/0/c/0/0/0")
    theirs.write_bytes(b"of somebody else")
    steps.close()
    assert theirs.read_bytes() == b"of somebody else"
    assert RemotePath(f"{url}.part/lock").is_file()


def test_a_job_can_be_interrupted_any_number_of_times(bucket: Bucket, tmp_path: Path) -> None:
    """Preempted nodes start the same command twenty times a night."""
    url = f"{bucket.url}/results/a.ome.zarr"
    for _ in range(3):
        stopped(url, 2)
    lists = bucket.objects("results/a.ome.zarr.part")
    assert set(lists) == {"lock", "manifest.jsonl"}, "as many as after the first time"
    (last,) = list(run(small(), url))[-1:]
    assert last.kept >= 2
    assert in_bucket(bucket, "a.ome.zarr") == on_disk(write(small(), tmp_path / "a.ome.zarr"))


def test_parts_of_a_job_write_to_a_bucket(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job array on a shared home; then it vanishes, and another cluster does the rest."""
    url = f"{bucket.url}/results/a.ome.zarr"
    first = list(run(small(), url, part="1/3"))[-1]
    assert (first.elsewhere, first.done) == (2, first.total)
    steps = run(small(), url, part="2/3", workers=1)
    assert next(steps).total > 0
    steps.close()
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(tmp_path / "another cluster"))
    monkeypatch.setattr(bucket_module, "STALE_SECONDS", -1.0)
    assert list(run(small(), url, part="3/3"))[-1].elsewhere == 1
    assert list(run(small(), url, part="1/3"))[-1].kept == first.total
    with pytest.raises(UnreadableError, match="without OME-Zarr metadata"):
        sr.read(url)
    assert list(run(small(), url, part="2/3"))[-1].elsewhere == 0
    assert in_bucket(bucket, "a.ome.zarr") == on_disk(write(small(), tmp_path / "a.ome.zarr"))
    assert not bucket.objects("results/a.ome.zarr.part")


def test_a_part_that_was_taken_over_stops(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the parts of two clusters would write into each other's result."""
    monkeypatch.setattr(bucket_module, "BEAT_SECONDS", 0.05)
    url = f"{bucket.url}/results/a.ome.zarr"
    steps = run(small(seconds=0.2), url, part="1/2", workers=1)
    while next(steps).step != "computing":
        pass
    lock = RemotePath(f"{url}.part/lock")
    lock.write_bytes(json.dumps({"owner": "somebody else"}).encode())
    with pytest.raises(OutputError, match="taken over"):
        list(steps)
    assert json.loads(lock.read_bytes()) == {"owner": "somebody else"}


def test_lists_of_a_job_that_was_thrown_away_are_not_taken_up(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They name other blocks, and would pass for done."""
    url = f"{bucket.url}/results/a.ome.zarr"
    list(run(stack((2, 60, 50)), url, part="1/2"))
    stopped(url, 1, overwrite=True)
    assert "manifest.1-of-2.jsonl" in bucket.objects("results/a.ome.zarr.part")
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(tmp_path / "another machine"))
    monkeypatch.setattr(bucket_module, "STALE_SECONDS", -1.0)
    step = next(run(small(), url, part="2/2"))
    (folder,) = (tmp_path / "another machine" / "jobs").iterdir()
    assert (folder / "manifest.jsonl").exists()
    assert not (folder / "manifest.1-of-2.jsonl").exists()
    assert step.failed == 0


@pytest.mark.parametrize("mood", [pytest.param(503, marks=pytest.mark.slow), "lose"])
def test_a_bucket_that_stumbles_is_asked_again(bucket: Bucket, tmp_path: Path, mood: Any) -> None:
    """A weekend has many bad seconds; an answer that is lost may have been a yes."""
    bucket.mood = lambda method, key, before: mood if before == 0 else 200
    write(stack((1, 60, 60)), f"{bucket.url}/results/a.ome.zarr", workers=2)
    expected = on_disk(write(stack((1, 60, 60)), tmp_path / "a.ome.zarr"))
    bucket.mood = lambda method, key, before: 200
    assert in_bucket(bucket, "a.ome.zarr") == expected
    assert not bucket.objects("results/a.ome.zarr.part")


def test_what_the_bucket_refuses_is_said_once_with_its_address(bucket: Bucket) -> None:
    """A key that has run out: the address, the reason, and no thousand attempts."""
    url = f"{bucket.url}/results/a.ome.zarr"
    bucket.mood = lambda method, key, before: 403 if method == "PUT" and "/c/" in key else 200
    with pytest.raises(OutputError, match=r"s3://bucket/results/a\.ome\.zarr/0/c/\S+' is refused"):
        write(small(), url, workers=1)
    refused = [n for (method, key), n in bucket.asked.items() if method == "PUT" and "/c/" in key]
    assert set(refused) == {1}, "each once"
    bucket.mood = lambda method, key, before: 200
    assert not bucket.objects("results"), "nothing worth keeping has come of it"
    bucket.mood = lambda method, key, before: 503 if method == "PUT" and "/c/0/1" in key else 200
    with pytest.raises(OutputError, match="could not be written in 4 attempts"):
        write(small(), url, workers=1)
    bucket.mood = lambda method, key, before: 200
    (last,) = list(run(small(), url))[-1:]
    assert last.kept > 0, "run again: what is done is kept"


def test_a_bucket_that_hangs_is_not_waited_for_forever(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that accepts and never answers holds up a job for as long as it likes."""
    monkeypatch.setattr(remote_path, "REQUEST_SECONDS", 0.5)
    remote_path._bucket.cache_clear()
    bucket.patience = 2.0
    bucket.mood = lambda method, key, before: "hang" if before == 0 and method == "PUT" else 200
    RemotePath(f"{bucket.url}/results/x.txt").write_bytes(b"through")
    bucket.mood = lambda method, key, before: 200
    assert bucket.objects("results") == {"x.txt": b"through"}
    assert bucket.asked["PUT", "results/x.txt"] == 2


def test_other_settings_are_refused_and_overwrite_starts_anew(bucket: Bucket) -> None:
    """As on a disk."""
    url = f"{bucket.url}/results/a.ome.zarr"
    stopped(url, 2)
    other = stack((2, 60, 50))
    with pytest.raises(OutputError, match="unfinished result with other settings"):
        write(other, url)
    write(other, url, overwrite=True)
    np.testing.assert_array_equal(sr.read(url).data.compute(), other.data.compute())
    write(stack((1, 70, 70)), url, overwrite=True)
    assert sr.read(url).shape == (1, 70, 70)
    assert not any(key.startswith("0/c/1") for key in bucket.objects("results/a.ome.zarr"))


def test_somebody_elses_objects_are_left_alone(bucket: Bucket) -> None:
    """A name that is taken by something that is no image."""
    url = f"{bucket.url}/results/a.ome.zarr"
    RemotePath(f"{url}/thesis.txt").write_bytes(b"years")
    with pytest.raises(OutputError, match="is something at"):
        write(small(), url)
    assert bucket.objects("results") == {"a.ome.zarr/thesis.txt": b"years"}


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("https://example.org/a.ome.zarr", "no address that can be written to"),
        ("s3://bucket/a.ome.tif", "only OME-Zarr can"),
        ("s3://bucket", "no address that can be written to"),
    ],
)
def test_what_cannot_be_written_at_an_address_is_refused(url: str, what: str) -> None:
    """Before hours of work."""
    with pytest.raises(SettingError, match=what):
        run(small(), url)


def test_a_bucket_that_does_not_exist_is_said(bucket: Bucket) -> None:
    """The usual slip."""
    with pytest.raises(OutputError, match="no such bucket"):
        RemotePath("s3://nowhere/a/b.txt").write_bytes(b"x")


def test_the_source_in_a_bucket_is_not_overwritten(bucket: Bucket) -> None:
    """``superres upscale X X --overwrite`` with an address."""
    url = f"{bucket.url}/results/a.ome.zarr"
    write(small(), url)
    for other in (url, f"{url}/0/b.zarr"):
        with pytest.raises(OutputError, match="source would be lost"):
            run(sr.read(url), other, overwrite=True)


def test_commands_read_and_write_buckets(
    bucket: Bucket,
    labelled: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From bucket to bucket, labels and all; then a batch, a conversion, a look and a check."""
    image = sr.read(labelled)
    source = f"{bucket.url}/results/in.ome.zarr"
    write(image, source, labels=finer_labels(image))
    target = f"{bucket.url}/results/out.ome.zarr"
    assert _run(["upscale", source, target, "-m", "nearest", "--labels", "-q"]) == 0
    cells = sr.read(f"{target}/labels/cells").data.compute()
    expected = np.asarray(sr.read(labelled / "labels" / "cells").data)
    np.testing.assert_array_equal(cells, expected.repeat(2, 1).repeat(2, 2))
    arguments = ["batch", source, f"{bucket.url}/results/many", "-m", "nearest", "-q"]
    assert _run(arguments) == 0
    assert _run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"]["kept"] == 1
    local = labelled.with_name("local.ome.tif")
    assert _run(["convert", target, str(local), "-q"]) == 0
    np.testing.assert_array_equal(sr.read(local).data, sr.read(target).data)
    assert _run(["status", target]) == 0
    assert _run(["verify", target]) == 0
    assert _run(["info", target]) == 0
