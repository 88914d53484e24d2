"""What several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

CAMVID_ROOT = Path(__file__).parents[1] / ".." / "shared" / "camvid"


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """Folder of the real CamVid; skips where it is absent."""
    if not CAMVID_ROOT.is_dir():
        pytest.skip(f"{CAMVID_ROOT} is absent")
    return CAMVID_ROOT
