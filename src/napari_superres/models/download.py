"""Fetching weights from their releases: resumable, checked, and only when somebody asks for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import httpx
from safetensors import SafetensorError, safe_open

from napari_superres.errors import WeightsError
from napari_superres.models.cache import (
    Record,
    alone,
    not_writable,
    weights_folder,
    write_record,
)
from napari_superres.models.hub import fetch_folder
from napari_superres.models.weights import check_file, check_licence, locate

if TYPE_CHECKING:
    from pathlib import Path

    from napari_superres.models.catalog import ModelSpec, WeightFile

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes that are here and the bytes there will be."""

ATTEMPTS = 4
"""How often in a row each address is tried without a byte more than before."""

TIMEOUT = httpx.Timeout(30.0, connect=15.0)
"""Seconds without a byte, and seconds to connect, after which an attempt has failed."""


def download(
    spec: ModelSpec, progress: Progress | None = None, *, pause: float = 1.0
) -> list[Path]:
    """Fetch what is missing of a model's weights, and return where all its files are.

    A transfer that was cut off goes on where it stopped, in this call or in a later one. A file
    gets its name only when its checksum is right. Where another program fetches the same file, this
    one waits for it. Proxies are taken from the environment (``HTTPS_PROXY``).

    Parameters
    ----------
    spec : ModelSpec
        A row of the table.
    progress : callable, optional
        ``progress(name, done, total)``, in bytes.
    pause : float
        Seconds before the second attempt; doubled before each further one.

    Raises
    ------
    WeightsError
        If a file cannot be had: no network, no such file, other bytes than expected.
    LicenceError
        If the licence must be accepted first.
    OutputError
        If the cache cannot be written.
    """
    check_licence(spec)
    paths = [fetch_folder(spec.folders, spec.name)] if spec.folders else []
    for file in spec.weights:
        path = locate(spec, file)
        if path is not None:
            check_file(spec, file, path)
        elif file.urls:
            tell = progress or _silent
            target = weights_folder() / file.name
            with alone(target, partial(_waiting, file, tell)):
                path = locate(spec, file) or _fetch(spec, file, tell, pause)
        else:
            raise WeightsError(
                f"'{file.name}' of '{spec.name}' cannot be downloaded: its authors offer no link.",
                f"See {spec.homepage}, then run 'superres models add FILE --as {spec.name}'.",
            )
        paths.append(path)
    return paths


class _Failure(NamedTuple):
    """Why an address did not give the file, and whether to try it again."""

    reason: str
    again: bool
    wait: float = 0.0


def _silent(name: str, done: int, total: int) -> None:
    pass


def _waiting(file: WeightFile, progress: Progress) -> None:
    """Tell how far somebody else is with a file."""
    try:
        done = (weights_folder() / f"{file.name}.part").stat().st_size
    except OSError:  # not begun, or just finished
        done = 0
    progress(file.name, done, file.size)


def _fetch(spec: ModelSpec, file: WeightFile, progress: Progress, pause: float) -> Path:
    target = weights_folder() / file.name
    failures = []
    try:
        client = httpx.Client(timeout=TIMEOUT, follow_redirects=True)
    except (ImportError, ValueError) as error:  # such as a proxy of a kind that is not supported
        raise WeightsError(
            f"The proxy that the environment names cannot be used ({error}).",
            "Correct HTTPS_PROXY, HTTP_PROXY and ALL_PROXY.",
        ) from error
    with client:
        for url in file.urls:
            failure = _persist(client, url, file, target, progress, pause)
            if failure is None:
                return target
            failures.append(f"{urlsplit(url).netloc}: {failure.reason}")
    raise WeightsError(
        f"'{file.name}' could not be downloaded ({'; '.join(failures)}).",
        "Try again later, which goes on where it stopped; or, without a network, fetch "
        f"{file.urls[0]} elsewhere and run 'superres models add {file.name} --as {spec.name}'.",
    )


def _persist(
    client: httpx.Client,
    url: str,
    file: WeightFile,
    target: Path,
    progress: Progress,
    pause: float,
) -> _Failure | None:
    """Fetch a file from one address, however often the connection breaks while it gets on."""
    part = target.with_name(target.name + ".part")
    vain, most = 0, 0
    while True:
        failure = _attempt(client, url, file, target, progress)
        if failure is None or not failure.again:
            return failure
        have = part.stat().st_size if part.exists() else 0
        vain = 0 if have > most else vain + 1
        most = max(most, have)
        if vain == ATTEMPTS:
            return failure
        time.sleep(max(failure.wait, pause * 2 ** max(0, vain - 1)))


def _attempt(
    client: httpx.Client, url: str, file: WeightFile, target: Path, progress: Progress
) -> _Failure | None:
    """Fetch a file or the rest of it. Returns None when it is complete and in its place."""
    part = target.with_name(target.name + ".part")
    note = target.with_name(target.name + ".part.json")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        have, validator = _begun(part, note, url)
        if file.sha256 and have == file.size:  # stopped before it was checked
            failure = _finish(part, note, file, target)
            return failure and failure._replace(again=True)
        headers = {"Accept-Encoding": "identity"}
        if have:
            # If-Range: the rest if it is still the same file there, else all of it.
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        with client.stream("GET", url, headers=headers) as response:
            failure = _refused(response, have)
            if failure:
                if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    part.unlink(missing_ok=True)
                return failure
            if response.status_code != httpx.codes.PARTIAL_CONTENT:
                have = 0
            _note(note, url, response)
            total = have + int(response.headers.get("Content-Length", 0)) or file.size
            with part.open("ab" if have else "wb") as out:
                for chunk in response.iter_raw():
                    have += len(chunk)
                    out.write(chunk)
                    progress(file.name, have, total)
                    if file.size and have > file.size:
                        break  # not the file, and perhaps without an end
        return _finish(part, note, file, target)
    except httpx.TransportError as error:
        return _Failure(_in_words(error), again=True)
    except httpx.HTTPError as error:  # too many redirects, an address that is none
        return _Failure(str(error), again=False)
    except OSError as error:
        if isinstance(error, WeightsError):
            raise
        raise not_writable(part, error) from error


def _begun(part: Path, note: Path, url: str) -> tuple[int, str]:
    """Return how many bytes of an earlier transfer are here, and the mark that identifies it."""
    try:
        known = json.loads(note.read_text("utf-8"))
        if known["url"] == url and known["validator"]:
            return part.stat().st_size, str(known["validator"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass  # nothing that can be gone on with: begin again
    return 0, ""


def _note(note: Path, url: str, response: httpx.Response) -> None:
    """Remember by which mark the server will know the same file again (RFC 9110, section 13.1.5).

    Weak marks do not promise equal bytes and may not be used for that.
    """
    mark = response.headers.get("ETag", "")
    if mark.startswith("W/") or not mark:
        mark = response.headers.get("Last-Modified", "")
    note.write_text(json.dumps({"url": url, "validator": mark}), "utf-8")


def _refused(response: httpx.Response, have: int) -> _Failure | None:
    """Return why a response is not the file or its rest; None when it is."""
    status = response.status_code
    if status == httpx.codes.PARTIAL_CONTENT:
        if response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            return None
        return _Failure("the server sent another part than was asked for", again=False)
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _Failure("the server has less than is already here", again=True)
    if status == httpx.codes.OK:
        return None
    reason = f"the server answered {status} {response.reason_phrase}"
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
        after = response.headers.get("Retry-After", "")
        return _Failure(reason, again=True, wait=min(float(after), 60) if after.isdigit() else 0)
    return _Failure(reason, again=False)


def _finish(part: Path, note: Path, file: WeightFile, target: Path) -> _Failure | None:
    """Give a complete transfer its name, if it is the right file."""
    with part.open("rb") as content:
        head = content.read(64).lstrip().lower()
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    wrong = ""
    if head.startswith((b"<!doctype", b"<html")):
        wrong = "a web page came instead of the file"
    elif file.sha256 and digest != file.sha256:
        wrong = f"the file has SHA-256 {digest}, not {file.sha256}"
    elif not file.sha256 and target.suffix == ".safetensors" and not _is_safetensors(part):
        wrong = "what came is no whole safetensors file"
    if wrong:
        part.unlink()
        note.unlink(missing_ok=True)
        return _Failure(wrong, again=False)
    part.replace(target)
    note.unlink(missing_ok=True)
    status = target.stat()
    write_record(target, Record(digest, status.st_size, status.st_mtime_ns, time.time_ns()))
    return None


def _is_safetensors(path: Path) -> bool:
    """Return whether a file's header is sound and names as many bytes as there are."""
    try:
        with safe_open(path, framework="numpy"):
            return True
    except SafetensorError:
        return False


def _in_words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refused ({error})"
    if isinstance(error, httpx.ConnectError):
        return f"cannot be reached, is there a network? ({error})"
    return f"the connection broke ({error})"
