"""The whole road on one imported network of each family: engines, export, evaluation, training.

The weights follow from a rule and mean nothing, so tensors are compared, not masks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import golden

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")

from bisenetv2.cli import main  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.images import read_image, read_mask, write_image, write_mask  # noqa: E402
from bisenetv2.inference.engines import Engine, open_engine  # noqa: E402
from bisenetv2.inference.model_file import read_card  # noqa: E402
from bisenetv2.inference.segmenter import Segmenter  # noqa: E402
from bisenetv2.inference.torch_engine import TorchEngine  # noqa: E402
from bisenetv2.inference.upsample import upsample_argmax  # noqa: E402
from test_engine_contract import LEAST_AGREEMENT, OPENERS  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Frames = npt.NDArray[np.uint8]


def frames(n: int, height: int, width: int) -> Frames:
    return np.random.default_rng(n).integers(0, 256, (n, height, width, 3), np.uint8)


@dataclass(frozen=True)
class Imported:
    """One imported network, and the files that the commands made of it."""

    name: str
    checkpoint: Path
    file: Path
    reference: TorchEngine

    @property
    def stride(self) -> int:
        """Stride of the logits."""
        return 1 if self.name == "coincheung-2020-09" else 8


@pytest.fixture(scope="session")
def cityscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as Cityscapes's, of noise."""
    root = tmp_path_factory.mktemp("cityscapes")
    rng = np.random.default_rng(0)
    for index in range(2):
        stem = f"town_{index:06}_000019"
        for split in ("train", "val"):
            image = rng.integers(0, 256, (64, 128, 3), np.uint8)
            write_image(root / f"leftImg8bit/{split}/town/{stem}_leftImg8bit.png", image)
            ids = rng.integers(0, 34, (64, 128), np.uint8)
            write_mask(root / f"gtFine/{split}/town/{stem}_gtFine_labelIds.png", ids)
    return root


@pytest.fixture(scope="session")
def arrived(
    cityscapes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Imported]:
    """Brings in a family with the commands, once a session: exporting is most of the work."""

    @cache
    def bring(name: str) -> Imported:
        folder = tmp_path_factory.mktemp(name)
        foreign, checkpoint, file = (
            folder / part for part in ("foreign.pth", "city.safetensors", "city.onnx")
        )
        torch.save(golden.tensors(name), foreign)
        assert main(["import", str(foreign), "-o", str(checkpoint)]) == 0
        words = f"export {checkpoint} -o {file} --data {cityscapes} --split val"
        assert main(words.split()) == 0
        return Imported(name, checkpoint, file, TorchEngine(checkpoint, 1))

    return bring


@pytest.fixture(params=golden.NAMES)
def imported(request: pytest.FixtureRequest, arrived: Callable[[str], Imported]) -> Imported:
    name: str = request.param
    return arrived(name)


@pytest.fixture(scope="session")
def engines() -> dict[tuple[str, str], tuple[Engine, float]]:
    """Engines opened so far, by kind and family."""
    return {}


@pytest.fixture(params=OPENERS)
def opened(
    request: pytest.FixtureRequest,
    imported: Imported,
    engines: dict[tuple[str, str], tuple[Engine, float]],
) -> tuple[Engine, float]:
    """An engine, and the largest difference of its logits over their largest magnitude."""
    key = request.param, imported.name
    if key not in engines:
        engine, agreement = OPENERS[request.param](imported.checkpoint, imported.file)
        engines[key] = engine, 2e-2 if agreement < LEAST_AGREEMENT else 2e-4
    return engines[key]


# The contract of every engine


@pytest.mark.parametrize("shape", [(1, 64, 96), (3, 32, 32), (2, 96, 32)])
def test_logits_are_those_of_the_network_for_any_batch_and_size(
    opened: tuple[Engine, float], imported: Imported, shape: tuple[int, int, int]
) -> None:
    engine, most = opened
    expected = imported.reference.logits(frames(*shape))
    logits = engine.logits(frames(*shape))
    n, height, width = shape
    assert logits.shape == (n, 19, height // imported.stride, width // imported.stride)
    assert logits.dtype == np.float32
    assert np.abs(logits - expected).max() <= most * np.abs(expected).max()


def test_logits_belong_to_the_caller(opened: tuple[Engine, float]) -> None:
    engine, _ = opened
    first = engine.logits(frames(1, 32, 32))
    kept = first.copy()
    engine.logits(frames(2, 32, 32)[1:])
    assert np.array_equal(first, kept)
    first[:] = 0  # writable
    assert engine.logits(frames(1, 32, 32)).any()


def test_a_segmenter_gives_masks_of_its_frames_sizes(
    opened: tuple[Engine, float], imported: Imported
) -> None:
    card = read_card(imported.file)
    assert card.logits_stride == imported.stride
    segmenter = Segmenter.from_engine(opened[0], card)
    batch = [frames(1, *size)[0] for size in ((77, 101), (64, 64), (77, 101))]
    for frame in batch:
        mask = segmenter(frame)
        logits = imported.reference.logits(segmenter.prepare(frame))[0]
        assert mask.shape == frame.shape[:2]
        # Float noise may turn a pixel here and there, no more.
        assert np.mean(mask == upsample_argmax(logits, frame.shape[:2])) > 0.99


def test_a_card_with_another_stride_is_refused(imported: Imported) -> None:
    card = read_card(imported.file)
    wrong = replace(card, logits_stride={1: 8, 8: 1}[card.logits_stride])
    with pytest.raises(UserError, match="the model's card says stride"):
        Segmenter.from_engine(imported.reference, wrong)(frames(1, 64, 64)[0])


# The commands, as a user types them


def test_an_imported_model_evaluates_and_predicts(
    imported: Imported, cityscapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for path in (imported.checkpoint, imported.file):
        words = f"evaluate {path} --data {cityscapes} --split val --json"
        assert main(words.split()) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["data"] == "Cityscapes val (2 of 500 images)" and found[0]["images"] == 2
    assert found[0]["miou"] == pytest.approx(found[1]["miou"], abs=1e-3)

    image = next((cityscapes / "leftImg8bit/val").rglob("*_leftImg8bit.png"))
    assert main(["predict", str(image), "-m", str(imported.file), "-o", str(tmp_path)]) == 0
    mask = read_mask(tmp_path / f"{image.stem}_mask.png")
    assert mask.shape == (64, 128) and mask.max() < 19


def test_an_imported_model_is_benchmarked(
    imported: Imported, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"benchmark {imported.file} --frame 32 64 --runs 1 --warmup 0 --json"
    assert main(words.split()) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 1


def test_an_imported_model_is_exported_to_int8(
    imported: Imported, cityscapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "int8.onnx"
    words = f"export {imported.file} -o {output} --int8 --calibrate {cityscapes} --max-drop 100"
    assert main(words.split()) == 0
    assert "points of mIoU lost" in capsys.readouterr().out
    card = read_card(output)
    assert card.quantization.startswith("INT8, calibrated on 2 frames of Cityscapes train")
    assert card.origin == read_card(imported.file).origin
    frame = Segmenter(output).prepare(read_image(next(cityscapes.rglob("*_leftImg8bit.png"))))
    expected = imported.reference.logits(frame)
    for engine in ("openvino", "onnxruntime"):
        found = open_engine(output, engine).logits(frame)
        assert found.shape == expected.shape
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_training_starts_from_an_imported_model(
    imported: Imported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = f"train streets --init {imported.checkpoint} --iterations 1 --batch 2 --crop 32 64"
    words += f" --rate 1e-4 --val-split= --run {run}"
    assert main(words.split()) == 0
    said = capsys.readouterr().err
    assert f"{imported.checkpoint}: " in said and "new: head, boosters.S2" in said
    segmenter = Segmenter(run / "best.safetensors")
    assert len(segmenter.labels) == 11
    assert segmenter.card.logits_stride == imported.stride
    assert "starting from weights of Cityscapes" in segmenter.card.data
    assert "the terms of Cityscapes hold" in segmenter.card.data_licence
    assert imported.name in segmenter.card.origin
    assert segmenter(frames(1, 64, 64)[0]).shape == (64, 64)
