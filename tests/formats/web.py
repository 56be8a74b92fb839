"""A web server on this computer that serves a folder, and misbehaves on request."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Server:
    """What the tests see of the server.

    `mood` gets a path and how often it was asked for before, and says how to answer: a status,
    "hang", "reset" (no answer at all), "cut" (half of one), "short" or "long" (one that announces
    fewer or more bytes than it is, and ends).

    Parameters
    ----------
    folder : Path
        What is served.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: Counter[str] = Counter()
        self.mood: Callable[[str, int], int | str] = lambda path, before: 200
        self.patience = 1.0
        self.url = ""
        self.etag = '"1"'


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder as long as the context lasts."""
    state = Server(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.lstrip("/").partition("?")[0]
            before = state.asked[path]
            state.asked[path] += 1
            mood = state.mood(path, before)
            place = state.folder / path
            if mood == "hang":
                time.sleep(state.patience)
                mood = 503
            if mood == "reset":
                self.close_connection = True
                return
            if mood == 200 and not place.is_file():
                mood = 404
            if isinstance(mood, int) and mood != 200:
                self._answer(mood, b"", 0)
                return
            data = place.read_bytes()
            wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "bytes=0-")
            assert wanted is not None
            first, last = wanted[1], wanted[2]
            size = len(data)
            start = int(first) if first else max(0, size - int(last))
            stop = min(size, int(last) + 1) if first and last else size
            part = data[start:stop]
            status = 206 if "Range" in self.headers else 200
            announced = len(part) + {"short": -5, "long": 5}.get(str(mood), 0)
            cut = mood in ("cut", "short", "long")
            body = part[: len(part) // 2] if mood == "cut" else part
            span = f"bytes {start}-{stop - 1}/{size}"
            self._answer(status, body, max(0, announced), span, cut)

        do_HEAD = do_GET  # noqa: N815

        def _answer(
            self, status: int, body: bytes, length: int, span: str = "", cut: bool = False
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", state.etag)
            self.send_header("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT")
            if status == 206:
                self.send_header("Content-Range", span)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
            self.close_connection = cut or self.close_connection

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
