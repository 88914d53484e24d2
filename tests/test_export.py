"""The exported file computes what the checkpoint computes, or is not written."""

from __future__ import annotations

import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from bisenetv2 import __version__  # noqa: E402
from bisenetv2.card import METADATA_KEY, ModelCard  # noqa: E402
from bisenetv2.cli import main  # noqa: E402
from bisenetv2.data import catalogue  # noqa: E402
from bisenetv2.data.streets import RenderedStreets  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.evaluation.evaluate import evaluate  # noqa: E402
from bisenetv2.evaluation.protocols import FrameProtocol  # noqa: E402
from bisenetv2.export import int8_file, onnx_file  # noqa: E402
from bisenetv2.export.onnx_file import LEAST_AGREEMENT, agreement, export_onnx  # noqa: E402
from bisenetv2.images import Image  # noqa: E402
from bisenetv2.inference.engines import open_engine  # noqa: E402
from bisenetv2.inference.model_file import read_card  # noqa: E402
from bisenetv2.inference.segmenter import Segmenter  # noqa: E402
from bisenetv2.labels import CAMVID, Mask  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.checkpoint import save_checkpoint  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork  # noqa: E402

CONFIG = BiSeNetV2Config(num_classes=11, width=0.25, head_width=8, booster_width=4)
CARD = ModelCard(CAMVID, (96, 128), data="rendered streets", network=tuple(asdict(CONFIG).items()))
STREETS = RenderedStreets(2, (96, 128))

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Exported:
    """A network, its checkpoint, and what `export_onnx` made of it."""

    model: FrameNetwork
    checkpoint: Path
    file: Path
    agreement: float
    said: str
    """What the export printed and warned of."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    model = FrameNetwork(BiSeNetV2(CONFIG))
    images = np.stack([STREETS[index].image for index in range(2)])
    with torch.no_grad():
        for _ in range(20):  # moves the running statistics to those of the frames
            model.train()(torch.from_numpy(images))
    folder = tmp_path_factory.mktemp("export")
    checkpoint, file = folder / "small.safetensors", folder / "small.onnx"
    save_checkpoint(checkpoint, model.eval(), CARD)
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        share = export_onnx(checkpoint, file, STREETS, score_on=STREETS)
    remarks = "".join(str(warning.message) for warning in seen)
    return Exported(model, checkpoint, file, share, said.getvalue() + remarks)


def test_the_file_and_the_checkpoint_agree_on_rendered_streets(exported: Exported) -> None:
    assert exported.agreement >= LEAST_AGREEMENT
    # The masks compared were not all of one class, where agreement would say nothing.
    assert len(np.unique(Segmenter(exported.file)(STREETS[0].image))) > 1


def test_the_file_passes_onnx_s_own_check(exported: Exported) -> None:
    onnx.checker.check_model(str(exported.file), full_check=True)


def test_input_and_output_have_the_promised_names_types_and_shapes(exported: Exported) -> None:
    graph = onnx.load(exported.file).graph
    (frame,), (logits,) = graph.input, graph.output
    assert (frame.name, logits.name) == ("frame", "logits")
    assert frame.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert logits.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    frame_shape, logits_shape = frame.type.tensor_type.shape.dim, logits.type.tensor_type.shape.dim
    assert [d.HasField("dim_value") for d in frame_shape] == [False, False, False, True]
    assert [d.HasField("dim_value") for d in logits_shape] == [False, True, False, False]
    assert frame_shape[3].dim_value == 3 and logits_shape[1].dim_value == 11


def test_no_tensor_of_a_booster_is_in_the_file(exported: Exported) -> None:
    graph = onnx.load(exported.file).graph
    constants = [a.t for node in graph.node for a in node.attribute if a.name == "value"]
    stored = sum(int(np.prod(t.dims)) for t in (*graph.initializer, *constants))
    needed, boosters = (
        sum(t.numel() for t in part.state_dict().values())
        for part in (exported.model.network.without_boosters(), exported.model.network.boosters)
    )
    # Folding a normalisation into its convolution drops tensors and never adds many.
    assert 0.8 * needed < stored < needed + boosters / 2
    assert not any("booster" in t.name for t in graph.initializer)
    assert not any("booster" in name for node in graph.node for name in (*node.input, node.name))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    "size", [(1, 32, 32), (1, 64, 160), (3, 96, 64)], ids=lambda size: "x".join(map(str, size))
)
def test_engines_compute_torch_s_logits_at_every_size(
    engine: str, size: tuple[int, int, int], exported: Exported
) -> None:
    pytest.importorskip(engine)
    frames: Frames = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    with torch.no_grad():
        expected = exported.model(torch.from_numpy(frames)).numpy()
    logits = open_engine(exported.file, engine, 1).logits(frames)
    assert logits.shape == (size[0], 11, size[1] // 8, size[2] // 8)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=2e-3 * np.abs(expected).max())


def test_the_card_travels_with_version_and_figure_of_merit(exported: Exported) -> None:
    merit = evaluate(FrameProtocol(Segmenter(exported.file)), STREETS).merit
    assert merit
    assert read_card(exported.file) == replace(CARD, version=__version__, merit=merit)


def test_another_input_scale_holds_for_whoever_runs_the_file(
    exported: Exported, tmp_path: Path
) -> None:
    larger, same = tmp_path / "larger.onnx", tmp_path / "same.onnx"
    export_onnx(exported.checkpoint, larger, STREETS, input_scale=2.0)
    assert read_card(larger) == replace(CARD, version=__version__, input_scale=2.0)
    found, as_told = Segmenter(larger), Segmenter(exported.file, scale=2.0)
    for sample in STREETS:
        np.testing.assert_array_equal(found(sample.image), as_told(sample.image))
    scored = tmp_path / "scored.safetensors"
    save_checkpoint(scored, exported.model, replace(CARD, merit="60 % mIoU"))
    export_onnx(scored, same, STREETS, input_scale=1.0)
    assert read_card(same).merit == "60 % mIoU"
    export_onnx(scored, same, STREETS, input_scale=0.5)
    assert read_card(same).merit == ""  # it was another scale's


@pytest.mark.parametrize("words", [[], ["--int8", "--calibrate", "streets"]])
def test_the_command_sets_the_input_scale(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    cards = []

    def quantised(fp32: Path, *_: object) -> None:
        cards.append(read_card(fp32))
        raise UserError("far enough")

    monkeypatch.setattr(int8_file, "export_int8", quantised)
    monkeypatch.setattr(catalogue, "open_dataset", lambda *_: STREETS)
    out = tmp_path / "out.onnx"
    command = ["export", str(exported.checkpoint), "-o", str(out), "--input-scale", "2", *words]
    assert main(command) == (2 if words else 0)
    card = cards[0] if words else read_card(out)
    assert card.input_scale == 2


def test_an_input_scale_goes_with_a_checkpoint(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.onnx"
    for model in (exported.file, exported.checkpoint):
        assert main(["export", str(model), "-o", str(out), "--input-scale", "9"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "small.onnx keeps its own; give the checkpoint it was exported from" in lines[0]
    assert "input scale 9.0: expected 0.01 to 8" in lines[1]
    assert list(tmp_path.iterdir()) == []


def test_the_card_is_stored_once(exported: Exported) -> None:
    assert [p.key for p in onnx.load(exported.file).metadata_props] == [METADATA_KEY]


@pytest.mark.parametrize("name", ["model.pt", "model", "model.safetensors"])
def test_another_ending_is_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model files end in \.onnx") as caught:
        export_onnx(tmp_path / "absent.safetensors", tmp_path / name, STREETS)
    assert str(tmp_path / name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, advice",
    [
        ("a.onnx", "--int8 --calibrate"),
        ("a.pth", "bisenetv2 import"),
        ("camvid-fp32", "--int8"),
        ("run", "best.safetensors"),
        ("lost.onnx", "no such file; name a .safetensors"),
    ],
)
def test_what_is_no_checkpoint_is_told_its_road(
    name: str, advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    for present in ("a.onnx", "a.pth"):
        (tmp_path / present).touch()
    model = name if name == "camvid-fp32" else str(tmp_path / name)
    assert main(["export", model, "-o", str(tmp_path / "out.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert name in line and advice in line


def test_a_missing_checkpoint_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.safetensors: no such checkpoint"):
        export_onnx(tmp_path / "absent.safetensors", tmp_path / "model.onnx", STREETS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_disagrees_is_not_written(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = onnx.load(exported.file)
    monkeypatch.setattr(onnx_file, "to_onnx", lambda *_: stored)
    # The same network that sees one class everywhere: the file computes something else.
    network = BiSeNetV2(CONFIG)
    network.load_state_dict(exported.model.network.state_dict())
    torch.nn.init.constant_(network.head.classifier.bias[4], 1e3)
    checkpoint = tmp_path / "other.safetensors"
    save_checkpoint(checkpoint, FrameNetwork(network), CARD)
    output = tmp_path / "model.onnx"
    output.write_bytes(b"older file")
    with pytest.raises(UserError, match=r"not written, it agrees with .* 99\.9 % are needed"):
        export_onnx(checkpoint, output, STREETS)
    assert output.read_bytes() == b"older file"
    assert sorted(tmp_path.iterdir()) == [output, checkpoint]


def test_a_full_disk_is_told_in_one_line(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx_file, "to_onnx", lambda *_: None)
    monkeypatch.setattr(onnx, "save", fill)
    output = tmp_path / "model.onnx"
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)") as caught:
        export_onnx(exported.checkpoint, output, STREETS)
    assert str(output) in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_exporter_keeps_silent(exported: Exported) -> None:
    assert exported.said == ""


# Agreement


def test_agreement_counts_equal_pixels_over_all_frames() -> None:
    def zeros(frame: Image) -> Mask:
        return np.zeros(frame.shape[:2], np.uint8)

    def first_row_differs(frame: Image) -> Mask:
        mask = zeros(frame)
        mask[0] = 1
        return mask

    assert agreement(zeros, first_row_differs, STREETS) == pytest.approx(95 / 96)
    assert agreement(zeros, zeros, STREETS) == 1


def test_agreement_on_no_frames_is_refused() -> None:
    class NoFrames(RenderedStreets):
        def __len__(self) -> int:
            return 0

    with pytest.raises(UserError, match="no frames to compare on"):
        agreement(lambda frame: frame[..., 0], lambda frame: frame[..., 0], NoFrames(1, (96, 128)))
