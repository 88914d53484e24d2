"""Where compiled models are kept from one start to the next."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "BISENETV2_CACHE"
"""Environment variable that names another folder; empty, it turns the cache off."""


def cache_folder(name: str) -> Path | None:
    """Returns a folder of the user's cache, made if need be, or `None` where there can be none.

    Args:
        name: Whose folder.
    """
    root = os.environ.get(VARIABLE)
    if root == "":
        return None
    try:
        folder = (Path(root) if root else _user_cache() / "bisenetv2") / name
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a read-only home, or none, as in containers: do without
        return None
    return folder if os.access(folder, os.W_OK) else None


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
