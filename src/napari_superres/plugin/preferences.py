"""What the panel remembers from one day to the next.

napari 0.9 keeps the settings of plugins itself, and shows them in its preferences; for older ones
there is a file.
"""

from __future__ import annotations

import contextlib
import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import platformdirs

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = "napari-superres"

DEFAULTS: dict[str, dict[str, Any]] = {
    "compute": {"device": "auto", "precision": "auto", "tile": 0, "memory_gb": 0.0, "kept_gb": 1.0},
    "panel": {"model": "", "output": "on demand", "compare": "swipe"},
}
"""By group and key, as the manifest declares them; a test compares the two."""


class Preferences:
    """Values by group and key; what cannot be stored is kept as long as napari runs."""

    def get(self, group: str, key: str) -> Any:
        """Return a value, or its default if none was chosen or the file is damaged."""
        store = napari_store()
        if store is not None:
            return getattr(getattr(store, group), key)
        default = DEFAULTS[group][key]
        value = stored().get(group, {}).get(key, default)
        return value if isinstance(value, type(default)) else default

    def put(self, group: str, key: str, value: Any) -> None:
        """Remember a value."""
        store = napari_store()
        if store is not None:
            setattr(getattr(store, group), key, value)
            return
        stored().setdefault(group, {})[key] = value
        path = _path()
        if path is None:
            return
        values = _read(path)  # another napari may have stored something meanwhile
        values.setdefault(group, {})[key] = value
        # A home that cannot be written is no reason to stop work.
        with contextlib.suppress(OSError):
            _write(path, values)


@cache
def napari_store() -> Any:
    """Return napari's settings of this plugin; None where napari keeps none.

    Looked for once: napari reads all manifests for it.
    """
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # before napari 0.9
        return None
    try:
        return get_plugin_settings(PLUGIN)
    except KeyError:  # the plugin is not installed, only imported
        return None


@cache
def stored() -> dict[str, dict[str, Any]]:
    """Return what our own file held when it was first read, and what was put since."""
    path = _path()
    return _read(path) if path else {}


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: begin again
        return {}
    groups = values.items() if isinstance(values, dict) else ()
    return {group: dict(part) for group, part in groups if isinstance(part, dict)}


def _write(path: Path, values: dict[str, dict[str, Any]]) -> None:
    """Write a file that is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        growing.write_text(json.dumps(values, indent=1), "utf-8")
        os.replace(growing, path)
    finally:
        growing.unlink(missing_ok=True)


def _path() -> Path | None:
    if os.environ.get("NAPARI_CONFIG") == "":  # napari's word for: keep nothing
        return None
    return platformdirs.user_config_path(PLUGIN, appauthor=False) / "preferences.json"
