"""Weights come from a real server: with broken connections, wrong bytes, and no network at all."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock
from safetensors.numpy import save

from napari_superres.errors import LicenceError, OutputError, WeightsError
from napari_superres.models.catalog import MODELS, ModelSpec, WeightFile
from napari_superres.models.download import ATTEMPTS, download
from napari_superres.models.library import add
from napari_superres.models.weights import find_weights, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = np.random.default_rng(0).bytes(700_001)
NAME = "realesr-animevideov3"


class Server(ThreadingHTTPServer):
    """A server of weights whose behaviour a test can choose.

    Attributes
    ----------
    behaviour : dict
        ``cut``: bytes after which the next connections break, one number for each; ``status``:
        answers before the right one; ``content``; ``etag``; ``ranges``: whether parts are served;
        ``headers``: further ones.
    asked : list of dict
        The headers of each request, with its path.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour: dict[str, Any] = {
            "cut": [],
            "status": [],
            "content": CONTENT,
            "etag": '"one"',
            "ranges": True,
            "headers": {},
        }
        self.asked: list[dict[str, str]] = []

    def url(self, path: str = "file.pth") -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about connections that a test broke."""


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's behaviour says."""

    server: Server

    def do_GET(self) -> None:
        """Send the file, or part of it, or something else."""
        behaviour = self.server.behaviour
        self.server.asked.append({"path": self.path, **dict(self.headers.items())})
        if self.path.startswith("/elsewhere/"):
            self.send_response(302)
            self.send_header("Location", f"/{self.path.removeprefix('/elsewhere/')}")
            self.end_headers()
            return
        if behaviour["status"]:
            self.send_error(behaviour["status"].pop(0))
            return
        content, first = behaviour["content"], 0
        wish = self.headers.get("Range", "")
        fresh = self.headers.get("If-Range", behaviour["etag"]) == behaviour["etag"]
        if wish and behaviour["ranges"] and fresh:
            first = int(wish.removeprefix("bytes=").removesuffix("-"))
            if first >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if behaviour["etag"]:
            self.send_header("ETag", behaviour["etag"])
        for key, value in behaviour["headers"].items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if behaviour["cut"]:
            self.wfile.write(content[first : first + behaviour["cut"].pop(0)])
            self.wfile.flush()
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content[first:])

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write no log."""


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a running server on this computer."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def row(*urls: str, content: bytes = CONTENT) -> ModelSpec:
    """Return a row of the table whose file is at other addresses."""
    sha256 = hashlib.sha256(content).hexdigest()
    file = WeightFile(f"{NAME}.pth", sha256, len(content), urls)
    return dataclasses.replace(MODELS[NAME], weights=(file,))


def unchecked(url: str) -> ModelSpec:
    """Return a row whose file has no published checksum, as SUPIR's."""
    file = WeightFile(f"{NAME}.safetensors", "", 0, (url,))
    return dataclasses.replace(MODELS[NAME], weights=(file,))


def parts(cache: Path) -> list[str]:
    """Return the names of unfinished files in the cache."""
    return sorted(path.name for path in cache.rglob("*.part*"))


def test_download_arrives_checked_and_ready(server: Server, cache: Path) -> None:
    """Else the first thing that a new user does would fail."""
    spec, seen = row(server.url()), []
    assert state(spec) == "to download"
    (path,) = download(spec, lambda name, done, total: seen.append((name, done, total)))
    assert path == cache / "weights" / f"{NAME}.pth"
    assert path.read_bytes() == CONTENT
    assert find_weights(spec) == {path.name: path}
    assert state(spec) == "ready"
    assert parts(cache) == []
    assert seen[-1] == (path.name, len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})


def test_what_is_here_is_not_fetched_again(server: Server) -> None:
    """Else each start would cost 67 MB."""
    download(row(server.url()))
    download(row(server.url()))
    assert len(server.asked) == 1


def test_broken_connection_goes_on_where_it_stopped(server: Server, cache: Path) -> None:
    """Else a bad line would never get a large file."""
    server.behaviour["cut"] = [100_000] * 6
    (path,) = download(row(server.url()), pause=0.01)
    assert path.read_bytes() == CONTENT
    starts = [int(request.get("Range", "bytes=0-")[6:-1]) for request in server.asked]
    assert starts == sorted(set(starts))
    assert len(starts) == 7 > ATTEMPTS
    assert {request.get("If-Range") for request in server.asked[1:]} == {'"one"'}
    assert parts(cache) == []


def test_later_call_goes_on_where_an_earlier_one_stopped(server: Server, cache: Path) -> None:
    """Else closing the laptop would lose what was already here."""
    server.behaviour["cut"] = [400_000] + [0] * ATTEMPTS
    with pytest.raises(WeightsError, match="connection broke"):
        download(row(server.url()), pause=0.01)
    assert parts(cache) == [f"{NAME}.pth.part", f"{NAME}.pth.part.json"]
    have = (cache / "weights" / f"{NAME}.pth.part").stat().st_size
    assert 0 < have <= 400_000
    (path,) = download(row(server.url()), pause=0.01)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1]["Range"] == f"bytes={have}-"


def test_stop_by_the_user_keeps_what_is_here(server: Server, cache: Path) -> None:
    """Else cancelling would lose the transfer; or leave a file that looks complete."""

    def stop(name: str, done: int, total: int) -> None:
        if done > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(row(server.url()), stop)
    assert f"{NAME}.pth.part" in parts(cache)
    assert state(row(server.url())) == "to download"
    (path,) = download(row(server.url()))
    assert path.read_bytes() == CONTENT
    assert "Range" in server.asked[-1]


def test_file_that_changed_in_between_is_fetched_from_the_start(server: Server) -> None:
    """Else the halves of two files would be put together."""
    old = b"x" * len(CONTENT)
    server.behaviour.update(content=old, etag='"old"', cut=[400_000] + [0] * ATTEMPTS)
    with pytest.raises(WeightsError):
        download(row(server.url()), pause=0.01)
    server.behaviour.update(content=CONTENT, etag='"new"')
    (path,) = download(row(server.url()), pause=0.01)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['W/"weak"', ""])
def test_server_without_a_mark_starts_again(server: Server, etag: str) -> None:
    """Else parts would be put together that may not belong to each other."""
    server.behaviour.update(etag=etag, cut=[400_000])
    (path,) = download(row(server.url()), pause=0.01)
    assert path.read_bytes() == CONTENT
    assert all("Range" not in request for request in server.asked)


def test_time_of_change_serves_as_a_mark(server: Server) -> None:
    """Else servers without entity tags would never go on."""
    when = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.behaviour.update(etag="", headers={"Last-Modified": when}, cut=[400_000])
    server.behaviour["ranges"] = False
    (path,) = download(row(server.url()), pause=0.01)
    assert path.read_bytes() == CONTENT
    assert server.asked[1]["If-Range"] == when


def test_server_that_serves_no_parts_works(server: Server) -> None:
    """Else the whole file would be appended to its beginning."""
    server.behaviour.update(cut=[400_000], ranges=False)
    (path,) = download(row(server.url()), pause=0.01)
    assert path.read_bytes() == CONTENT


def test_part_longer_than_the_file_is_dropped(server: Server, cache: Path) -> None:
    """Else a spoilt beginning would block the download for ever."""
    folder = cache / "weights"
    folder.mkdir(parents=True)
    part = folder / f"{NAME}.pth.part"
    part.write_bytes(b"x" * (len(CONTENT) + 5))
    note = {"url": server.url(), "validator": '"one"'}
    part.with_name(part.name + ".json").write_text(json.dumps(note))
    (path,) = download(row(server.url()), pause=0.01)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 3}'])
def test_damaged_note_about_a_part_is_no_harm(server: Server, cache: Path, note: str) -> None:
    """Else a crash at the wrong moment would block the download for ever."""
    folder = cache / "weights"
    folder.mkdir(parents=True)
    (folder / f"{NAME}.pth.part").write_bytes(b"x" * 1000)
    (folder / f"{NAME}.pth.part.json").write_text(note)
    (path,) = download(row(server.url()))
    assert path.read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_not_kept(server: Server, cache: Path) -> None:
    """Else a manipulated or mixed-up file would be run."""
    wrong = bytearray(CONTENT)
    wrong[5] ^= 1
    server.behaviour["content"] = bytes(wrong)
    with pytest.raises(WeightsError, match=r"the file has SHA-256 \w{64}, not \w{64}"):
        download(row(server.url()), pause=0.01)
    assert not list(cache.rglob(f"{NAME}*"))
    assert len(server.asked) == 1, "the same wrong bytes would come again"


def test_page_of_a_captive_network_is_named(server: Server) -> None:
    """Else a user in a hotel would be told about checksums."""
    server.behaviour["content"] = b"<!DOCTYPE html><html>Please log in</html>"
    with pytest.raises(WeightsError, match="a web page came instead of the file"):
        download(row(server.url()), pause=0.01)


def test_page_is_no_file_where_no_checksum_is_published(server: Server) -> None:
    """Else a login page would count as the model, and be ready for ever."""
    spec = unchecked(server.url())
    server.behaviour["content"] = b"<!DOCTYPE html><html>Please log in</html>"
    with pytest.raises(WeightsError, match="a web page came instead of the file"):
        download(spec, pause=0.01)
    assert state(spec) == "to download"


@pytest.mark.parametrize("spoilt", [slice(0, -5), slice(3, None)])
def test_file_without_a_checksum_is_at_least_a_whole_one(server: Server, spoilt: slice) -> None:
    """Else half of a model would be found out when it is loaded, weeks later."""
    whole = save({"weight": np.arange(1000, dtype=np.float32)})
    server.behaviour["content"] = whole[spoilt]
    with pytest.raises(WeightsError, match="no whole safetensors file"):
        download(unchecked(server.url()), pause=0.01)
    server.behaviour["content"] = whole
    (path,) = download(unchecked(server.url()), pause=0.01)
    assert path.read_bytes() == whole


def test_two_at_once_fetch_it_once(server: Server) -> None:
    """Else each would write into the other's file: the panel, a terminal, jobs of a cluster."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: download(row(server.url()), pause=0.01), range(4)))
    assert [path.read_bytes() for (path,) in found] == [CONTENT] * 4
    assert len(server.asked) == 1


def test_waiting_for_another_can_be_stopped(server: Server, cache: Path) -> None:
    """Else Cancel would do nothing until somebody else's transfer has ended."""

    def stop(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    (cache / "weights").mkdir(parents=True)
    with FileLock(cache / "weights" / f".{NAME}.lock"), pytest.raises(KeyboardInterrupt):
        download(row(server.url()), stop)
    assert not server.asked


def test_whole_part_is_checked_before_anything_is_fetched(server: Server, cache: Path) -> None:
    """Else closing the program while it checks would cost the whole transfer again."""
    folder = cache / "weights"
    folder.mkdir(parents=True)
    part = folder / f"{NAME}.pth.part"
    part.write_bytes(CONTENT)
    note = {"url": server.url(), "validator": '"one"'}
    part.with_name(part.name + ".json").write_text(json.dumps(note))
    (path,) = download(row(server.url()))
    assert path.read_bytes() == CONTENT
    assert not server.asked


def test_endless_file_is_cut_off(server: Server) -> None:
    """Else a wrong address could fill the disk."""
    server.behaviour["content"] = CONTENT * 30
    received = []
    with pytest.raises(WeightsError, match="SHA-256"):
        download(row(server.url()), lambda name, done, total: received.append(done))
    assert received[-1] < 2 * len(CONTENT)


def test_other_addresses_are_tried(server: Server) -> None:
    """Else one server that is gone would make a model unavailable."""
    server.behaviour["status"] = [404]
    spec = row(server.url("gone.pth"), server.url("elsewhere/file.pth"))
    (path,) = download(spec, pause=0.01)
    assert path.read_bytes() == CONTENT
    assert [r["path"] for r in server.asked] == ["/gone.pth", "/elsewhere/file.pth", "/file.pth"]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_answer_that_will_not_change_is_not_repeated(server: Server, status: int) -> None:
    """Else a user would wait for nothing."""
    server.behaviour["status"] = [status] * 9
    with pytest.raises(WeightsError, match=f"answered {status}.*models add {NAME}"):
        download(row(server.url()), pause=0.01)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_trouble_is_waited_for(server: Server, status: int) -> None:
    """Else a busy server would look like a missing file."""
    server.behaviour["status"] = [status, status]
    (path,) = download(row(server.url()), pause=0.01)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_no_server_says_so(cache: Path) -> None:
    """Else a user without a network would get a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file.pth"
        with pytest.raises(WeightsError) as caught:
            download(row(url), pause=0.01)
    for words in ("is there a network?", url, "without a network", "superres models add"):
        assert words in str(caught.value)
    assert parts(cache) == []


def test_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nothing could be fetched from inside an institute."""
    monkeypatch.setenv("HTTP_PROXY", server.url("").rstrip("/"))
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.delenv("no_proxy", raising=False)
    (path,) = download(row("http://weights.invalid/file.pth"), pause=0.01)
    assert path.read_bytes() == CONTENT
    assert server.asked[0]["path"] == "http://weights.invalid/file.pth"


def test_proxy_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a typing error in the environment would be a traceback."""
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    monkeypatch.setenv("ALL_PROXY", "nonsense://x")
    with pytest.raises(WeightsError, match="proxy that the environment names"):
        download(row("http://weights.invalid/file.pth"), pause=0.01)


def test_file_without_addresses_says_where_to_read(cache: Path) -> None:
    """Else a model whose authors want a form filled in would only say 'failed'."""
    with pytest.raises(WeightsError, match=r"offer no link.*github\.com.*models add FILE"):
        download(row())


def test_licence_comes_first(server: Server) -> None:
    """Else restricted weights would be fetched before anyone agreed."""
    spec = dataclasses.replace(row(server.url()), consent=True)
    with pytest.raises(LicenceError):
        download(spec)
    assert server.asked == []


def test_disk_that_is_full_says_so(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a full disk would look like a bad network."""
    blocked = cache / "a file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("NAPARI_SUPERRES_CACHE", str(blocked))
    with pytest.raises(OutputError, match="cannot be written"):
        download(row(server.url()), pause=0.01)


def test_nothing_is_fetched_unasked(server: Server) -> None:
    """Else a program in a clinic would open connections that nobody expects."""
    with pytest.raises(WeightsError):
        find_weights(row(server.url()))
    assert server.asked == []


def test_file_that_the_user_added_stays(server: Server, shared: Path) -> None:
    """Else a download of all models would replace what the user chose."""
    added = add(shared / "weights" / f"{NAME}.pth")
    spec = dataclasses.replace(
        MODELS[NAME],
        weights=(dataclasses.replace(MODELS[NAME].weights[0], urls=(server.url(),)),),
    )
    assert download(spec) == [added.path]
    assert server.asked == []
