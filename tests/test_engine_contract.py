"""One suite over every engine: the same network, the same masks, nothing lost on the way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from ctypes import CDLL
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from bisenetv2.card import ModelCard
from bisenetv2.data.catalogue import open_dataset
from bisenetv2.data.streets import render_street
from bisenetv2.inference.engines import DeviceDecoder, Engine, EngineName, open_engine
from bisenetv2.inference.model_file import read_card
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.labels import Labels, Mask

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from bisenetv2.export.onnx_file import to_onnx  # noqa: E402
from bisenetv2.inference.torch_engine import CudaEngine, TorchEngine  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.checkpoint import save_checkpoint  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork  # noqa: E402

SIZES = [(1, 1), (97, 131), (360, 480), (45, 300)]
LABELS = Labels(
    names=tuple(f"class {k}" for k in range(7)), palette=tuple((k, k, k) for k in range(7))
)
CARD = ModelCard(labels=LABELS, frame_size=(360, 480))
LEAST_AGREEMENT = 0.999
"""Share of pixels on which an engine must agree with PyTorch in FP32."""

MEMORY_LIMIT = 16 * 2**20
"""Bytes by which a process may grow while it segments."""

HALF_AGREEMENT = 0.99
"""The same where the engine computes in half precision."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """PyTorch's threads wait for one another at every layer, and layers are small here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose statistics fit its weights, so that its masks have many classes."""
    torch.manual_seed(5)
    model = FrameNetwork(BiSeNetV2(BiSeNetV2Config(num_classes=len(LABELS)))).train()
    frames = np.stack([render_street(1, k, (192, 256)).image for k in range(4)])
    with torch.no_grad():
        for _ in range(20):
            model(torch.from_numpy(frames))
    path = tmp_path_factory.mktemp("contract") / "network.safetensors"
    save_checkpoint(path, model, CARD)
    return path


@pytest.fixture(scope="module")
def model_file(checkpoint: Path) -> Path:
    return _export(checkpoint)


def _export(checkpoint: Path) -> Path:
    import onnx

    from bisenetv2.network.checkpoint import load_checkpoint

    model, card = load_checkpoint(checkpoint)
    inference = FrameNetwork(model.network.without_boosters(), model.normalization).eval()
    path = checkpoint.with_suffix(".onnx")
    onnx.save(to_onnx(inference, card), path)
    return path


@pytest.fixture(scope="module")
def of_large_logits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoint and file of a network that computes little and returns much."""
    config = BiSeNetV2Config(
        num_classes=255, width=0.125, head_width=8, booster_width=8, expansion=2
    )
    labels = Labels(tuple(f"class {k}" for k in range(255)), ((0, 0, 0),) * 255)
    path = tmp_path_factory.mktemp("contract") / "large_logits.safetensors"
    save_checkpoint(path, FrameNetwork(BiSeNetV2(config)), ModelCard(labels, frame_size=(64, 192)))
    return path, _export(path)


Opener = Callable[[Path, Path], tuple[Engine, float]]


def _cuda(checkpoint: Path, _: Path) -> tuple[Engine, float]:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    return CudaEngine(checkpoint), HALF_AGREEMENT


def _mps(checkpoint: Path, _: Path) -> tuple[Engine, float]:
    if not torch.backends.mps.is_available():
        pytest.skip("no Apple GPU here")
    return TorchEngine(checkpoint, device="mps"), LEAST_AGREEMENT


def _openvino(_: Path, file: Path, threads: int | None = None) -> tuple[Engine, float]:
    pytest.importorskip("openvino")
    return open_engine(file, "openvino", threads), LEAST_AGREEMENT


def _onnxruntime(_: Path, file: Path) -> tuple[Engine, float]:
    pytest.importorskip("onnxruntime")
    return open_engine(file, "onnxruntime"), LEAST_AGREEMENT


OPENERS: dict[str, Opener] = {
    "openvino": _openvino,
    "openvino, one thread": partial(_openvino, threads=1),
    "onnxruntime": _onnxruntime,
    "torch": lambda checkpoint, _: (TorchEngine(checkpoint, device="cpu"), LEAST_AGREEMENT),
    "torch, decoding": lambda checkpoint, _: (CudaEngine(checkpoint, "cpu"), LEAST_AGREEMENT),
    "cuda": _cuda,
    "mps": _mps,
}


@pytest.fixture(scope="module", params=OPENERS)
def opened(
    request: pytest.FixtureRequest, checkpoint: Path, model_file: Path
) -> tuple[Engine, float]:
    return OPENERS[request.param](checkpoint, model_file)


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Segmenter:
    return Segmenter.from_engine(TorchEngine(checkpoint, device="cpu"), CARD)


def _agreement(a: Mask, b: Mask) -> float:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    return float(np.mean(a == b))


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_those_of_pytorch_in_fp32(
    opened: tuple[Engine, float], reference: Segmenter, size: tuple[int, int]
) -> None:
    engine, least = opened
    frame = np.ascontiguousarray(render_street(2, 0, (360, 480)).image[: size[0], : size[1]])
    expected = reference(frame)
    if size == (360, 480):
        assert len(np.unique(expected)) > 3  # an agreement on one class would say little
    assert _agreement(Segmenter.from_engine(engine, CARD)(frame), expected) >= least


def test_threads_may_share_a_segmenter(opened: tuple[Engine, float]) -> None:
    segmenter = Segmenter.from_engine(opened[0], CARD)
    frames = [render_street(4, k, (96, 128)).image for k in range(4)]
    alone = [segmenter(frame) for frame in frames]
    together: dict[int, list[Mask]] = {}

    def work(index: int) -> None:
        together[index] = [segmenter(frames[index]) for _ in range(5)]

    workers = [threading.Thread(target=work, args=(index,)) for index in range(len(frames))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for index, expected in enumerate(alone):
        assert all(np.array_equal(mask, expected) for mask in together[index])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
@pytest.mark.parametrize("name", OPENERS)
def test_500_frames_leave_no_memory_behind(name: str, of_large_logits: tuple[Path, Path]) -> None:
    engine, _ = OPENERS[name](*of_large_logits)
    segmenter = Segmenter.from_engine(engine, read_card(of_large_logits[1]))
    # Enlarged for the network: most of the time would go into masks of so many classes.
    sizes = [(64, 64 + 64 * k) for k in range(3)]
    frames = [render_street(5, k, (h // 8, w // 8)).image for k, (h, w) in enumerate(sizes)]
    assert 500 * engine.logits(np.zeros((1, *sizes[1], 3), np.uint8)).nbytes > 3 * MEMORY_LIMIT

    def segment(count: int) -> int:
        """Returns what the process holds after so many frames, in bytes."""
        for index in range(count):
            segmenter(frames[index % 3], size=sizes[index % 3])
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    # What was freed before goes back to the system: a leak could hide in it.
    getattr(CDLL(None), "malloc_trim", abs)(0)
    before = segment(60)
    assert segment(500) - before < MEMORY_LIMIT


def test_only_engines_on_a_device_decode_there(opened: tuple[Engine, float]) -> None:
    assert isinstance(opened[0], DeviceDecoder) == isinstance(opened[0], CudaEngine)


def test_what_openvino_compiled_is_found_again(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("BISENETV2_CACHE", str(tmp_path / "cache"))
    frame = np.zeros((1, 64, 96, 3), np.uint8)
    first = open_engine(model_file, "openvino").logits(frame)
    kept = sorted((tmp_path / "cache" / "openvino").iterdir())
    assert kept
    assert np.array_equal(open_engine(model_file, "openvino").logits(frame), first)
    assert sorted((tmp_path / "cache" / "openvino").iterdir()) == kept


@pytest.mark.parametrize("where", ["off", "a file in the way", "no home"])
def test_without_a_cache_it_works_as_well(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    pytest.importorskip("openvino")
    (tmp_path / "file").touch()
    monkeypatch.setenv("BISENETV2_CACHE", "" if where == "off" else str(tmp_path / "file"))
    if where == "no home":  # a user without an entry, as in some containers
        for variable in ("BISENETV2_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("no home directory")))
    engine = open_engine(model_file, "openvino")
    assert engine.logits(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 7, 4, 4)


WEIGHTS = Path(__file__).parents[1] / "weights" / "bisenetv2_camvid.safetensors"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("model", "least"), [("camvid-fp32", LEAST_AGREEMENT), ("camvid", 0.98)])
def test_embedded_models_give_the_checkpoints_masks_on_real_frames(
    camvid_root: Path, engine: EngineName, model: str, least: float
) -> None:
    if not WEIGHTS.is_file():
        pytest.skip(f"{WEIGHTS} is absent: it comes with a checkout, not with the sdist")
    pytest.importorskip(engine)
    exact, fast = Segmenter(WEIGHTS), Segmenter(model, engine)
    frames = open_dataset(camvid_root, "val")
    for index in (0, 50, 100):
        frame = frames[index].image
        assert _agreement(fast(frame), exact(frame)) >= least
