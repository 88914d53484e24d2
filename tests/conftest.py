"""What several test files share."""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no fault of the code: nothing here is held to a time.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")

CAMVID_ROOT = Path(__file__).parents[1] / ".." / "shared" / "camvid"


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """Folder of the real CamVid; skips where it is absent."""
    if not CAMVID_ROOT.is_dir():
        pytest.skip(f"{CAMVID_ROOT} is absent")
    return CAMVID_ROOT


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what the tests compile out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BISENETV2_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def network_camera() -> Iterator[socketserver.ThreadingTCPServer]:
    """A server on this machine that sends a few pictures and hangs up, time and again."""
    pytest.importorskip("av")
    from clips import Mjpeg

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mjpeg) as server:
        server.daemon_threads, server.visits, server.pictures = True, 0, 12
        server.most_visits = sys.maxsize
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Lets PyTorch compute with one thread: at small sizes more only get in each other's way."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
