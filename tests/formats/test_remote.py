"""Images behind URLs: patience with servers that stumble, none with those that refuse."""

from __future__ import annotations

import importlib.util
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from napari_superres.errors import InputError, MissingDependencyError, UnreadableError
from napari_superres.formats import read, remote, zarr_store
from napari_superres.formats.labels import label_names
from napari_superres.formats.ome_zarr import open_image
from napari_superres.formats.remote import is_url, open_store
from tests.formats.web import Server, serving
from tests.formats.zarr_files import make_image, ramp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIXELS = ramp((2, 100, 90))


@pytest.fixture(params=["obstore", "fsspec"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the libraries that can fetch; the other one is hidden."""
    name: str = request.param
    needed = {"fsspec": ("fsspec", "aiohttp")}.get(name, (name,))
    if not all(importlib.util.find_spec(module) for module in needed):
        pytest.skip(f"{name} is not installed")
    if name == "fsspec":
        hide(monkeypatch, "obstore")
    return name


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make packages look as if they were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in names else find(name, *a)
    )
    zarr_store._remote_store.cache_clear()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve one image."""
    make_image(tmp_path / "a.ome.zarr", [PIXELS], chunks=(1, 32, 32), shards=(1, 64, 64))
    zarr_store._remote_store.cache_clear()
    with serving(tmp_path) as state:
        yield state
    zarr_store._remote_store.cache_clear()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for milliseconds where users wait for half a minute."""
    defaults = dict(open_store.__kwdefaults__ or {})
    defaults |= {"first_wait": 0.01, "request_seconds": 0.5, "connect_seconds": 0.5}
    monkeypatch.setattr(open_store, "__kwdefaults__", defaults)


def test_an_image_opens_and_reads_by_its_url(server: Server, library: str) -> None:
    """Public archives are read without a download."""
    image = open_image(f"{server.url}/a.ome.zarr")
    assert not any("/c/" in path for path in server.asked), "no pixel is read at open"
    assert (image.axes, image.shape, image.name) == ("zyx", (2, 100, 90), "a")
    np.testing.assert_array_equal(image.data.compute(), PIXELS)
    travelled = pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(travelled.data[1].compute(), PIXELS[1])


def test_pixels_that_a_server_got_anew_are_read_anew(
    server: Server, library: str, tmp_path: Path
) -> None:
    """An image that was opened again shows the pixels of the first time."""
    root = make_image(tmp_path / "cube.ome.zarr", [PIXELS], chunks=(2, 100, 90))
    for value in (PIXELS[0, 0, 0], 5000):
        zarr.open_array(root / "0")[...] = value
        image = open_image(f"{server.url}/cube.ome.zarr")
        assert np.all(image.data[1, :9, :9].compute() == value)


@pytest.mark.parametrize("mood", [503, 429, 500, "hang", "reset", "cut"])
def test_a_server_that_stumbles_is_asked_again(server: Server, library: str, mood: Any) -> None:
    """One dropped connection must not end a weekend's run."""
    image = open_image(f"{server.url}/a.ome.zarr")
    server.mood = lambda path, before: mood if "/c/" in path and before < 2 else 200
    np.testing.assert_array_equal(image.data[0].compute(), PIXELS[0])


@pytest.mark.parametrize("mood", [403, 401, 400])
def test_a_refusal_is_final(server: Server, library: str, mood: int) -> None:
    """Asking again for what is forbidden gets users locked out, and never helps."""
    image = open_image(f"{server.url}/a.ome.zarr")
    server.asked.clear()
    server.mood = lambda path, before: mood if "/c/" in path else 200
    with pytest.raises(UnreadableError, match="refused"):
        image.data[0, :32, :32].compute(scheduler="synchronous")
    assert max(server.asked.values()) <= 2, "once, and once more to name the chunk"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_bucket_that_nobody_may_list_is_read(
    server: Server, library: str, tmp_path: Path, version: str
) -> None:
    """S3 answers 403 there for what is missing, and whole archives do not open."""
    root = make_image(tmp_path / "b.ome.zarr", [PIXELS], version=version)
    if version == "0.4":
        (root / "0" / ".zattrs").unlink(missing_ok=True)
    server.mood = lambda path, before: 200 if (tmp_path / path).exists() else 403
    image = read(f"{server.url}/b.ome.zarr")
    np.testing.assert_array_equal(image.data.compute(), PIXELS)
    assert label_names(image) == ()
    with pytest.raises(UnreadableError, match=r"c\.ome\.zarr/zarr\.json' is refused"):
        read(f"{server.url}/c.ome.zarr")


def test_patience_ends(server: Server, library: str) -> None:
    """A dead server is an error after a while, and not a run that hangs."""
    server.mood = lambda path, before: 503
    store = open_store(f"{server.url}/a.ome.zarr", attempts=3, first_wait=0.01)
    with pytest.raises(UnreadableError, match="in 3 attempts"):
        sync(store.get("zarr.json", default_buffer_prototype()))
    assert server.asked["a.ome.zarr/zarr.json"] == 3
    with pytest.raises(UnreadableError, match="in 5 attempts") as caught:
        open_image(f"{server.url}/a.ome.zarr")
    assert "permissions" not in str(caught.value), "the network is at fault"


def test_a_missing_chunk_is_the_fill_value(server: Server, library: str) -> None:
    """Zarr leaves out empty chunks, on servers as on disks."""
    (server.folder / "a.ome.zarr" / "0" / "c" / "0" / "0" / "0").unlink()
    image = open_image(f"{server.url}/a.ome.zarr")
    assert image.data[0, 0, 0].compute() == 0
    assert server.asked["a.ome.zarr/0/c/0/0/0"] == 1


def test_what_is_not_there_is_said(server: Server, library: str) -> None:
    """A wrong address is the usual slip."""
    with pytest.raises(UnreadableError, match="no Zarr"):
        open_image(f"{server.url}/b.ome.zarr")


def test_the_servers_version_of_the_file_is_noted(server: Server) -> None:
    """A job on a source that changed meanwhile must not be resumed."""
    pytest.importorskip("obstore")
    image = open_image(f"{server.url}/a.ome.zarr")
    assert image.source["version"]["etag"] == '"1"'


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user learns what to install."""
    hide(monkeypatch, "obstore", "fsspec")
    with pytest.raises(MissingDependencyError, match=r"napari-superres\[remote\]"):
        open_image("https://example.org/a.ome.zarr")


def test_other_schemes_are_refused() -> None:
    """Ftp and file are not read by accident."""
    with pytest.raises(InputError, match="http, https, s3"):
        open_image("ftp://example.org/a.ome.zarr")
    assert is_url("s3://bucket/a")
    assert not is_url("C:\\data\\a.zarr")
    assert not is_url("/data/a.zarr")


def test_a_bucket_is_read_from_a_local_server(
    server: Server, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buckets are asked by the rules of S3: path, range, no signature without credentials."""
    if library == "fsspec" and importlib.util.find_spec("s3fs") is None:
        pytest.skip("s3fs is not installed")
    for name in remote._CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT", server.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    (server.folder / "bucket").mkdir()
    make_image(server.folder / "bucket" / "a.zarr", [PIXELS])
    image = open_image("s3://bucket/a.zarr")
    np.testing.assert_array_equal(image.data.compute(), PIXELS)
