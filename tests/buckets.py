"""A bucket on this computer, and a relay in front of it that stumbles on request."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import logging
import threading
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "bucket"


class Bucket:
    """What the tests see of a bucket.

    `mood` gets a method, a key and how often that pair was asked before, and says how to answer: a
    status, "hang", "reset" (the request is not handed on) or "lose" (it is, the answer is not).

    Parameters
    ----------
    address : str
        Host and port of the server behind the relay.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: Counter[tuple[str, str]] = Counter()
        self.mood: Callable[[str, str, int], int | str] = lambda method, key, before: 200
        self.patience = 1.0
        self.url = f"s3://{NAME}"

    def objects(self, below: str = "") -> dict[str, bytes]:
        """Return all objects below a key, by the rest of their keys; not through the relay."""
        import obstore
        from obstore.store import S3Store

        store = S3Store(
            NAME, endpoint=f"http://{self.address}", access_key_id="a", secret_access_key="b",
            region="us-east-1", client_options={"allow_http": True},
        )  # fmt: skip
        keys = [entry["path"] for page in obstore.list(store, below or None) for entry in page]
        return {
            key.removeprefix(below).lstrip("/"): bytes(obstore.get(store, key).bytes())
            for key in keys
        }


@contextmanager
def bucket_behind_a_relay() -> Iterator[tuple[Bucket, str]]:
    """Serve an empty bucket as long as the context lasts; yield it and the relay's address."""
    server = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    address = f"{host}:{port}"
    request = urllib.request.Request(f"http://{address}/{NAME}", method="PUT")
    urllib.request.urlopen(request, timeout=60).close()
    state = Bucket(address)
    try:
        with _relay(state) as relay:
            yield state, relay
    finally:
        urllib.request.urlopen(
            urllib.request.Request(f"http://{address}/moto-api/reset", method="POST"), timeout=60
        ).close()
        moto.stop()


@contextmanager
def _relay(state: Bucket) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            key = self.path.partition("?")[0].removeprefix(f"/{NAME}").lstrip("/")
            before = state.asked[self.command, key]
            state.asked[self.command, key] += 1
            mood = state.mood(self.command, key, before)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if mood == "hang":
                time.sleep(state.patience)
                mood = 503
            if mood == "reset":
                self.close_connection = True
            elif mood in (200, "lose"):
                self._hand_on(body, answer=mood == 200)
            else:
                assert isinstance(mood, int)
                with contextlib.suppress(ConnectionError):  # it may have gone while we hung
                    self._answer(mood, [], b"")

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _any  # noqa: N815

        def _hand_on(self, body: bytes, *, answer: bool) -> None:
            connection = http.client.HTTPConnection(state.address, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
            connection.request(self.command, self.path, body, headers)
            reply = connection.getresponse()
            data = reply.read()
            connection.close()
            if answer:
                self._answer(reply.status, reply.getheaders(), data)
            else:
                self.close_connection = True

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            length = str(len(body))
            for name, value in headers:
                if name.lower() == "content-length":
                    length = value if self.command == "HEAD" else length
                elif name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
