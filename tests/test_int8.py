"""INT8 export: what every engine takes, what it may lose, and what is said where it cannot be."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

from onnx import numpy_helper  # noqa: E402

from bisenetv2 import __version__  # noqa: E402
from bisenetv2.card import ModelCard  # noqa: E402
from bisenetv2.cli import main  # noqa: E402
from bisenetv2.data.catalogue import open_dataset  # noqa: E402
from bisenetv2.data.dataset import SpreadSamples  # noqa: E402
from bisenetv2.data.streets import RenderedStreets  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.evaluation.evaluate import Evaluation, evaluate  # noqa: E402
from bisenetv2.evaluation.protocols import FrameProtocol  # noqa: E402
from bisenetv2.export import int8_file  # noqa: E402
from bisenetv2.export.depthwise import is_depthwise, repeat_inputs  # noqa: E402
from bisenetv2.export.int8_file import export_int8  # noqa: E402
from bisenetv2.export.onnx_file import to_onnx  # noqa: E402
from bisenetv2.export.quantize import (  # noqa: E402
    by_sensitivity,
    correct_biases,
    layer_names,
    quantize,
    release,
    tighten,
)
from bisenetv2.inference.engines import open_engine  # noqa: E402
from bisenetv2.inference.model_file import find_model, read_card  # noqa: E402
from bisenetv2.inference.segmenter import Segmenter  # noqa: E402
from bisenetv2.labels import CAMVID  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork  # noqa: E402

CONFIG = BiSeNetV2Config(num_classes=11, width=0.25, head_width=8, boosters=())
CARD = ModelCard(CAMVID, (64, 96), data="noise", network=tuple(asdict(CONFIG).items()))
STREETS = RenderedStreets(4, (64, 96))

FOR_TENSORRT = {
    *("QuantizeLinear", "DequantizeLinear", "Conv", "Relu", "Add", "Mul", "Sigmoid", "Resize"),
    *("MaxPool", "AveragePool", "ReduceMean", "Concat", "Cast", "Sub", "Div", "Transpose"),
    "BatchNormalization",
}
"""Operators of these files; TensorRT's ONNX parser lists all of them as supported."""


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    model = FrameNetwork(BiSeNetV2(CONFIG)).train()
    batch = torch.from_numpy(np.stack([STREETS[k].image for k in range(4)]))
    with torch.no_grad():
        for _ in range(20):  # statistics that fit the weights
            model(batch)
    path = tmp_path_factory.mktemp("int8") / "fp32.onnx"
    onnx.save(to_onnx(model.eval(), CARD), path)
    return path


@pytest.fixture(scope="module")
def frames(fp32: Path) -> list[Any]:
    return [Segmenter(fp32).prepare(STREETS[k].image) for k in range(4)]


@pytest.fixture(scope="module")
def int8(fp32: Path, frames: list[Any]) -> onnx.ModelProto:
    return quantize(repeat_inputs(onnx.load(fp32)), frames)


def logits(model: onnx.ModelProto, frame: Any, folder: Path, engine: Any) -> Any:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return open_engine(path, engine).logits(frame)


def check_format(model: onnx.ModelProto, floating: set[str]) -> None:
    """Holds a file to what OpenVINO, ONNX Runtime and TensorRT all take."""
    assert {node.op_type for node in model.graph.node} <= FOR_TENSORRT
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
            assert constants[node.input[1]].dtype == np.float32
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        weights = producers.get(node.input[1])
        if weights is None:
            floating.remove(node.input[1].removeprefix("network."))
            continue
        stored, scale = constants[weights.input[0]], constants[weights.input[1]]
        assert stored.dtype == np.int8  # not FP32 followed by QuantizeLinear
        assert np.abs(stored.astype(int)).max() <= 64  # 7 bits: no overflow without VNNI
        assert scale.shape == (stored.shape[0],)  # a scale an output channel
        axis = next((a.i for a in weights.attribute if a.name == "axis"), 1)
        assert axis == 0
        activation = producers[node.input[0]]
        assert activation.op_type == "DequantizeLinear"
        assert constants[activation.input[1]].size == 1  # one scale an activation
    assert not floating


def test_the_format_is_what_every_engine_takes(int8: onnx.ModelProto) -> None:
    check_format(int8, set())
    onnx.checker.check_model(int8)


def scales_around_relus(model: onnx.ModelProto) -> list[tuple[float, float]]:
    """Scales at which what a ReLU reads and what it puts out are rounded, where both are."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for tensor in node.input:
            readers.setdefault(tensor, []).append(node)
    found = []
    for node in model.graph.node:
        if node.op_type == "Relu" and producers[node.input[0]].op_type == "DequantizeLinear":
            after = readers[node.output[0]][0]
            after = readers[after.output[0]][0] if after.op_type == "Concat" else after
            if after.op_type == "QuantizeLinear":
                scales = (producers[node.input[0]].input[1], after.input[1])
                found.append((constants[scales[0]].item(), constants[scales[1]].item()))
    return found


def test_a_relu_leaves_nothing_to_round(int8: onnx.ModelProto) -> None:
    for model in (int8, onnx.load(find_model("camvid"))):
        pairs = scales_around_relus(model)
        assert len(pairs) > 15
        assert all(before == after for before, after in pairs)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_logits_stay_near_fp32(
    fp32: Path, int8: onnx.ModelProto, frames: list[Any], tmp_path: Path, engine: Any
) -> None:
    expected = open_engine(fp32, engine).logits(frames[0])
    found = logits(int8, frames[0], tmp_path, engine)
    assert not np.array_equal(found, expected)
    # An untrained network has small logits; 8 bits tell a third of one apart, not a tenth.
    assert np.abs(found - expected).mean() < np.abs(expected).mean() / 3


def test_all_layers_released_is_the_fp32_file_again(
    fp32: Path, int8: onnx.ModelProto, frames: list[Any], tmp_path: Path
) -> None:
    original = repeat_inputs(onnx.load(fp32))
    fitted = correct_biases(tighten(int8, original, frames[:1]), original, frames)
    one = release(fitted, original, ["detail.S2.1"])
    own = layer_names(original)["detail.S2.1"].input[2]
    constants = [{t.name: t for t in model.graph.initializer} for model in (one, fitted, original)]
    assert constants[0][own] == constants[2][own]
    others = [n for n in constants[0].keys() & constants[1].keys() if n != own]
    assert len(others) > 50 and all(constants[0][n] == constants[1][n] for n in others)
    back = release(fitted, original, list(layer_names(original)))
    counts = Counter(node.op_type for node in back.graph.node)
    assert counts == Counter(node.op_type for node in original.graph.node)
    found = logits(back, frames[1], tmp_path, "onnxruntime")
    assert np.allclose(found, open_engine(fp32, "onnxruntime").logits(frames[1]), atol=1e-4)


def test_constants_may_be_nodes(fp32: Path, frames: list[Any]) -> None:
    model = onnx.load(fp32)
    (name,) = (node.input[1] for node in model.graph.node if node.op_type == "Sub")
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [name], value=stored))
    model.graph.initializer.remove(stored)
    assert scales_around_relus(quantize(model, frames[:1]))


def test_layers_have_the_networks_names(fp32: Path) -> None:
    names = layer_names(onnx.load(fp32))
    assert {"detail.S1.0", "semantic.CE.mix", "head.classifier"} <= names.keys()
    assert names.keys() == layer_names(repeat_inputs(onnx.load(fp32))).keys()


def expanding(model: onnx.ModelProto) -> list[str]:
    """Names the depth-wise convolutions with more outputs than groups."""
    outputs = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    groups = {
        name: next(a.i for a in node.attribute if a.name == "group")
        for name, node in layer_names(model).items()
        if is_depthwise(node)
    }
    return [name for name, n in groups.items() if n < outputs[layer_names(model)[name].input[1]]]


@pytest.mark.parametrize("options", [{}, {"gather_relu": True}, {"double_depthwise": False}])
def test_repeated_inputs_compute_the_same(
    frames: list[Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    torch.manual_seed(5)
    network = BiSeNetV2(replace(CONFIG, conv_bias=True, **options))
    model = to_onnx(FrameNetwork(network).eval(), CARD)
    plain = repeat_inputs(model)
    assert len(expanding(model)) == 8  # one a Gather-and-Expansion layer
    assert expanding(plain) == []
    onnx.checker.check_model(plain)
    expected, found = (logits(m, frames[0], tmp_path, "onnxruntime") for m in (model, plain))
    assert np.allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_network_that_expands_elsewhere_stays_as_it_is() -> None:
    network = BiSeNetV2(replace(CONFIG, expand_in="gather"))
    model = to_onnx(FrameNetwork(network).eval(), CARD)
    assert repeat_inputs(model) == model


def test_openvino_rounds_once_what_is_repeated(int8: onnx.ModelProto, tmp_path: Path) -> None:
    from bisenetv2.inference.openvino_model import read_model

    onnx.save(int8, tmp_path / "int8.onnx")
    model = read_model(tmp_path / "int8.onnx")
    repeats = [node for node in model.get_ops() if "_repeated" in node.get_friendly_name()]
    assert len(repeats) == 8
    for node in repeats:
        (source,) = {port.get_node() for port in node.input_values()}
        assert source.get_type_name() == "FakeQuantize"
        (reader,) = node.output(0).get_target_inputs()
        assert reader.get_node().get_type_name() == "GroupConvolution"


def distance(model: onnx.ModelProto, fp32: Path, frame: Any, folder: Path) -> float:
    """Mean squared distance of logits from those in FP32."""
    expected = open_engine(fp32, "onnxruntime").logits(frame)
    return float(np.square(logits(model, frame, folder, "onnxruntime") - expected).mean())


def changed(
    model: onnx.ModelProto, layer: str, original: onnx.ModelProto, place: int, by: Any
) -> tuple[onnx.ModelProto, Any]:
    """A copy in which a constant next to a layer is another, and that constant."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    node = next(n for n in copy.graph.node if n.name == layer_names(original)[layer].name)
    producers = {tensor: n for n in copy.graph.node for tensor in n.output}
    name = producers[node.input[0]].input[1] if place == 0 else node.input[place]
    constant = next(t for t in copy.graph.initializer if t.name == name)
    value = by(numpy_helper.to_array(constant)).astype(np.float32)
    constant.CopyFrom(numpy_helper.from_array(value, name))
    return copy, constant


def test_a_scale_that_is_too_large_is_lowered(
    fp32: Path, int8: onnx.ModelProto, frames: list[Any], tmp_path: Path
) -> None:
    original = repeat_inputs(onnx.load(fp32))
    coarse, scale = changed(int8, "detail.S1.1", original, 0, lambda value: 8 * value)
    given, kept = coarse.SerializeToString(), float(numpy_helper.to_array(scale))
    fitted = tighten(coarse, original, frames[:1])
    assert coarse.SerializeToString() == given
    found = next(t for t in fitted.graph.initializer if t.name == scale.name)
    assert float(numpy_helper.to_array(found)) < kept / 2
    errors = [distance(model, fp32, frames[0], tmp_path) for model in (fitted, coarse)]
    assert errors[0] < errors[1] / 2
    for before, after in scales_around_relus(fitted):
        assert before == after  # what a ReLU reads has the scale of what it puts out


def test_a_bias_that_is_off_is_moved_back(
    fp32: Path, int8: onnx.ModelProto, frames: list[Any], tmp_path: Path
) -> None:
    original = repeat_inputs(onnx.load(fp32))
    off, bias = changed(int8, "detail.S2.1", original, 2, lambda value: value + 0.5)
    fitted = correct_biases(off, original, frames)
    found = next(t for t in fitted.graph.initializer if t.name == bias.name)
    true = next(t for t in original.graph.initializer if t.name == bias.name)
    values = [numpy_helper.to_array(tensor) for tensor in (found, true, bias)]
    assert np.abs(values[0] - values[1]).mean() < 0.1 * np.abs(values[2] - values[1]).mean()
    assert distance(fitted, fp32, frames[0], tmp_path) < distance(off, fp32, frames[0], tmp_path)


def test_the_most_sensitive_layer_comes_first(
    fp32: Path, int8: onnx.ModelProto, frames: list[Any]
) -> None:
    original = repeat_inputs(onnx.load(fp32))
    spoilt = onnx.ModelProto()
    spoilt.CopyFrom(int8)
    conv = next(n for n in spoilt.graph.node if n.name == layer_names(original)["detail.S2.1"].name)
    weights = next(n for n in spoilt.graph.node if n.output[0] == conv.input[1])
    for tensor in spoilt.graph.initializer:
        if tensor.name == weights.input[0]:
            flipped = -numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(flipped, tensor.name))
    order = by_sensitivity(spoilt, original, frames[:1])
    assert order[0] == "detail.S2.1"
    assert sorted(order) == sorted(layer_names(original))


# The whole export


def with_drops(monkeypatch: pytest.MonkeyPatch, needed: int) -> list[int]:
    """Lets a file score as FP32 only once `needed` sensitive layers are released."""
    tried: list[int] = []
    in_fp32: list[Evaluation] = []

    def scored(looking: FrameProtocol, dataset: Any) -> Evaluation:
        note = looking.segmenter.card.quantization
        if not note:
            in_fp32.append(evaluate(looking, dataset))
            return in_fp32[0]
        floating = note.partition("in floating point: ")[2]
        tried.append(len(floating.split(", ")) if floating else 0)
        if tried[-1] >= needed:
            return in_fp32[0]
        result = evaluate(looking, dataset)
        result.matrix.counts[:] = 1 - np.eye(len(CAMVID), dtype=np.int64)  # mIoU 0
        return result

    def in_their_order(_: Any, original: onnx.ModelProto, __: Any) -> list[str]:
        return list(layer_names(original))

    monkeypatch.setattr(int8_file, "evaluate", scored)
    monkeypatch.setattr(int8_file, "by_sensitivity", in_their_order)
    return tried


def test_an_export_reports_both_and_leaves_a_documented_file(fp32: Path, tmp_path: Path) -> None:
    output = tmp_path / "int8.onnx"
    calibration = SpreadSamples(STREETS, 3)
    told: list[str] = []
    result = export_int8(fp32, output, calibration, STREETS, 100, STREETS, told.append)
    assert [line.partition(" ")[0] for line in told] == [
        "calibrating", "fitting", "points", "scoring"
    ]  # fmt: skip
    shipped = {t.name: t for t in onnx.load(output).graph.initializer}
    plain = quantize(
        repeat_inputs(onnx.load(fp32)),
        [Segmenter(fp32).prepare(calibration[k].image) for k in range(3)],
    )
    kept = [t.name for t in plain.graph.initializer if t == shipped[t.name]]
    assert 0 < len(kept) < len(shipped)  # scales or biases are others
    card = read_card(output)
    assert card.quantization.startswith(f"INT8, calibrated on 3 frames of {STREETS.name}; ")
    assert f"points of mIoU lost on {STREETS.name} by openvino and onnxruntime" in card.quantization
    assert card.merit == evaluate(FrameProtocol(Segmenter(output)), STREETS).merit
    assert replace(card, merit="", quantization="") == replace(CARD, version=__version__)
    assert result.floating == ()
    assert min(result.milliseconds) > 0
    worst = min(score.matrix.mean_iou for score in result.int8.values())
    assert list(result.int8) == ["openvino", "onnxruntime"]
    assert result.drop == pytest.approx(100 * (result.fp32.matrix.mean_iou - worst))
    check_format(onnx.load(output), set())
    assert (
        output.stat().st_size < 0.7 * fp32.stat().st_size
    )  # the graph of many small layers weighs, too


@pytest.mark.parametrize("needed", [1, 5, 46])
def test_the_fewest_layers_that_keep_the_drop_stay_in_floating_point(
    fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int
) -> None:
    tried = with_drops(monkeypatch, needed)
    output = tmp_path / "int8.onnx"
    result = export_int8(fp32, output, STREETS, SpreadSamples(STREETS, 1), 0.5)
    assert len(result.floating) == needed
    assert result.drop <= 0.5
    assert ", ".join(result.floating) in read_card(output).quantization
    assert len(set(tried)) < 12  # bisection, not one by one


def test_a_drop_that_cannot_be_met_leaves_nothing(
    fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_drops(monkeypatch, 1000)
    with pytest.raises(UserError, match=r"int8\.onnx: not written: .* allow more than 0\.5") as e:
        export_int8(fp32, tmp_path / "int8.onnx", STREETS, SpreadSamples(STREETS, 1), 0.5)
    assert "\n" not in str(e.value)
    assert list(tmp_path.iterdir()) == []


def test_an_int8_file_is_not_quantised_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "camvid", "-o", str(tmp_path / "a.onnx"), "--int8", "--calibrate", "streets"]
    assert main(words) == 2
    assert "_int8.onnx: is INT8 already; give the FP32 file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_model_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calibrated(model: onnx.ModelProto, _: Any) -> None:
        raise UserError(f"{len(layer_names(model))} layers")

    monkeypatch.setattr(int8_file, "quantize", calibrated)
    with pytest.raises(
        UserError, match=f"{len(layer_names(onnx.load(find_model('camvid-fp32'))))}"
    ):
        export_int8(Path("camvid-fp32"), tmp_path / "a.onnx", STREETS, STREETS, 1)


def test_without_frames_nothing_is_calibrated(fp32: Path) -> None:
    with pytest.raises(UserError, match="no frame to calibrate on"):
        quantize(onnx.load(fp32), [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--int8"], "--int8 and --calibrate DATA go together"),
        (["--calibrate", "streets"], "--int8 and --calibrate DATA go together"),
        (["--int8", "--calibrate", "streets", "--data", "streets"], "INT8 takes its frames from"),
        (["--int8", "--calibrate", "streets", "--split", "val"], "is what calibrates the file"),
        (
            ["--int8", "--calibrate", "streets", "--split", "trainval"],
            "is what calibrates the file",
        ),
        (["--int8", "--calibrate", "streets", "--max-drop", "-1"], "expected 0 to 100 points"),
        (["--int8", "--calibrate", "nowhere"], "nowhere: no such folder"),
        (["--max-drop", "0.1"], "--max-drop 0.1: goes with --int8"),
        (["--frames", "0"], "--frames 0: ask for 1 or more"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    fp32: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["export", str(fp32), "-o", str(tmp_path / "out.onnx"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_not_written_over(fp32: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for spelt in (fp32, fp32.parent / ".." / fp32.parent.name / fp32.name):
        words = ["export", str(fp32), "-o", str(spelt), "--int8", "--calibrate", "streets"]
        assert main(words) == 2
        assert "is the model itself" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(int8_file, "evaluate", None)
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "a.onnx"
    words = ["export", str(fp32), "-o", str(target), "--int8", "--calibrate", "streets"]
    assert main(words) == 2
    assert "cannot be written" in capsys.readouterr().err


# The embedded INT8 file


def test_the_embedded_file_is_int8_and_small() -> None:
    path = find_model()
    card = read_card(path)
    assert card.quantization.startswith("INT8, calibrated on ")
    assert path.stat().st_size < 3_500_000
    original = onnx.load(find_model("camvid-fp32"))
    named = card.quantization.partition("in floating point: ")[2].partition(";")[0]
    weights = {name: node.input[1] for name, node in layer_names(original).items()}
    floating = {weights[n].removeprefix("network.") for n in named.split(", ") if n}
    check_format(onnx.load(path), floating)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_embedded_file_gives_fp32s_masks_on_real_frames(camvid_root: Path, engine: Any) -> None:
    from bisenetv2.data.catalogue import open_dataset

    frames = SpreadSamples(open_dataset(camvid_root, "val"), 4)
    int8, fp32 = Segmenter("camvid", engine), Segmenter("camvid-fp32", engine)
    for index in range(len(frames)):
        frame = frames[index].image
        assert np.mean(int8(frame) == fp32(frame)) > 0.99


def agreement_in_the_dark(image: Any, folder: Path) -> float:
    """Share of logit cells on which the engines agree, where small values show rounding most."""
    int8, frame = onnx.load(find_model("camvid")), (0.2 * image[None]).astype(np.uint8)
    one, other = (logits(int8, frame, folder, name) for name in ("openvino", "onnxruntime"))
    return float(np.mean(one.argmax(1) == other.argmax(1)))


def test_openvino_rounds_dark_frames_as_onnxruntime_does(camvid_root: Path, tmp_path: Path) -> None:
    # On AVX2 alone, 78 % of these pixels where OpenVINO reads the file as it stands.
    frames = open_dataset(camvid_root, "val")
    for index in (0, 40):
        assert agreement_in_the_dark(frames[index].image[:352], tmp_path) > 0.9


def test_openvino_rounds_dark_streets_as_onnxruntime_does(tmp_path: Path) -> None:
    # Far from the training data single frames have many ties; unmended, 66 % of all pixels.
    streets = RenderedStreets(4, (96, 128))
    shares = [agreement_in_the_dark(streets[index].image, tmp_path) for index in range(4)]
    assert np.mean(shares) > 0.9
