from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisenetv2.card import METADATA_KEY, ModelCard
from bisenetv2.errors import UserError
from bisenetv2.inference import model_file
from bisenetv2.inference.engines import Engine, open_engine
from bisenetv2.inference.model_file import find_model, read_card
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.labels import Labels

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")

LABELS = Labels(names=("a", "b", "ü"), palette=((0, 0, 0), (9, 9, 9), (99, 99, 99)))
CARD = ModelCard(labels=LABELS, frame_size=(64, 96), data="noise", merit="none")
ENGINES = ("openvino", "onnxruntime")
WEIGHTS = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32) / 500


def model(
    classes: int = 3,
    frame: tuple[str, int, tuple[Any, ...]] = ("frame", 2, ("N", "H", "W", 3)),
    output: str = "logits",
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """The smallest model that keeps the contract: one convolution of stride 8."""
    from onnx import TensorProto, helper, numpy_helper

    name, element_type, shape = frame
    nodes = [
        helper.make_node("Cast", [name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], [output], strides=[8, 8]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, element_type, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ("N", classes, "h", "w"))],
        [numpy_helper.from_array(WEIGHTS[:classes], "weights")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    entries = {METADATA_KEY: CARD.to_json()} if metadata is None else metadata
    helper.set_model_props(proto, {"tool": "test", **entries})
    return proto


class TinyNetwork(torch.nn.Module):  # type: ignore[misc]
    """The same convolution in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.from_numpy(WEIGHTS))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        planes = frames.float().permute(0, 3, 1, 2)
        return torch.nn.functional.conv2d(planes, self.weights, stride=8)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    onnx.save(model(), path)
    return path


@pytest.fixture(scope="module", params=[*ENGINES, "torch"])
def engine(request: pytest.FixtureRequest, model_path: Path) -> Engine:
    if request.param == "torch":
        from bisenetv2.inference.torch_engine import TorchEngine

        return TorchEngine(TinyNetwork())
    return open_engine(model_path, request.param)


def frames(n: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, height, width, 3), np.uint8)


def plain_logits(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    n, height, width, _ = batch.shape
    blocks = batch.reshape(n, height // 8, 8, width // 8, 8, 3).astype(np.float64)
    return np.einsum("niajbc,kcab->nkij", blocks, WEIGHTS)


# The contract of every engine


@pytest.mark.parametrize("shape", [(1, 64, 96), (3, 32, 32), (1, 32, 160), (5, 64, 32)])
def test_logits_are_those_of_the_model_for_any_batch_and_size(
    engine: Engine, shape: tuple[int, int, int]
) -> None:
    batch = frames(*shape)
    logits = engine.logits(batch)
    assert logits.dtype == np.float32
    assert logits.flags.c_contiguous
    assert np.allclose(logits, plain_logits(batch), atol=1e-4)


def test_logits_belong_to_the_caller(engine: Engine) -> None:
    first = engine.logits(frames(1, 32, 32))
    kept = first.copy()
    engine.logits(frames(2, 32, 32)[1:])
    assert np.array_equal(first, kept)
    first[:] = 0  # writable
    assert engine.logits(frames(1, 32, 32)).any()


@pytest.mark.filterwarnings("error")
def test_frames_may_be_read_only_or_views_and_stay_as_they_were(engine: Engine) -> None:
    batch = frames(1, 32, 64)
    expected = engine.logits(np.ascontiguousarray(batch[:, :, ::-1]))
    assert np.array_equal(engine.logits(batch[:, :, ::-1]), expected)
    before = batch.copy()
    batch.flags.writeable = False
    engine.logits(batch)
    assert np.array_equal(batch, before)


def test_a_segmenter_runs_on_it(engine: Engine) -> None:
    mask = Segmenter.from_engine(engine, CARD)(frames(1, 77, 101)[0])
    assert mask.shape == (77, 101)
    assert mask.max() < 3


# Choice of the engine


def test_auto_prefers_openvino_and_falls_back_on_onnxruntime(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_engine(model_path).name == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert open_engine(model_path).name == "onnxruntime"


@pytest.mark.parametrize(
    ("engine_name", "package", "remedy"),
    [
        ("openvino", "openvino", "pip install openvino"),
        ("onnxruntime", "onnxruntime", r"pip install 'bisenetv2\[onnxruntime\]'"),
    ],
)
def test_a_missing_package_is_named_with_its_installation(
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine_name: Any,
    package: str,
    remedy: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"this needs {package}: {remedy}"):
        open_engine(model_path, engine_name)


def test_a_checkpoint_without_torch_asks_for_the_training_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith(("bisenetv2.network", "bisenetv2.inference.torch_engine")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"this needs torch: pip install 'bisenetv2\[train\]'"):
        open_engine(tmp_path / "best.safetensors")


@pytest.mark.parametrize("name", ENGINES)
def test_a_checkpoint_is_run_by_torch_only(tmp_path: Path, name: Any) -> None:
    with pytest.raises(UserError, match="`bisenetv2 export` writes one"):
        open_engine(tmp_path / "best.safetensors", name)


def test_torch_runs_no_model_file(model_path: Path) -> None:
    with pytest.raises(UserError, match=r"torch runs \.safetensors"):
        open_engine(model_path, "torch")


def test_unknown_engines_and_too_few_threads_are_refused(model_path: Path) -> None:
    wrong: Any = "tensorrt"
    with pytest.raises(UserError, match="unknown engine 'tensorrt': choose one of auto, openvino"):
        open_engine(model_path, wrong)
    with pytest.raises(UserError, match="0 threads"):
        open_engine(model_path, threads=0)


def test_openvino_computes_with_the_threads_it_is_given(model_path: Path) -> None:
    engine: Any = open_engine(model_path, "openvino", threads=1)
    compiled = engine._request.get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_onnxruntime_computes_with_the_threads_it_is_given(model_path: Path) -> None:
    engine: Any = open_engine(model_path, "onnxruntime", threads=1)
    assert engine._session.get_session_options().intra_op_num_threads == 1


def test_torch_computes_with_its_threads_and_gives_them_back() -> None:
    from bisenetv2.inference.torch_engine import TorchEngine

    seen = []
    network = TinyNetwork()
    network.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    TorchEngine(network, threads=before + 1).logits(frames(1, 32, 32))
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


# PyTorch with the real network


def test_torch_runs_a_network_in_training_and_leaves_it_training() -> None:
    from bisenetv2.inference.torch_engine import TorchEngine
    from bisenetv2.network.bisenetv2 import BiSeNetV2
    from bisenetv2.network.config import BiSeNetV2Config

    torch.manual_seed(0)
    network = BiSeNetV2(BiSeNetV2Config(num_classes=3)).train()
    statistics = {name: b.clone() for name, b in network.named_buffers()}
    engine = TorchEngine(network)
    logits = engine.logits(frames(1, 64, 96))
    assert logits.shape == (1, 3, 8, 12)
    assert np.array_equal(engine.logits(frames(1, 64, 96)), logits)
    assert network.training
    assert all(torch.equal(b, statistics[name]) for name, b in network.named_buffers())


def test_torch_runs_a_checkpoint_as_the_network_it_was(tmp_path: Path) -> None:
    from bisenetv2.inference.torch_engine import TorchEngine
    from bisenetv2.network.bisenetv2 import BiSeNetV2
    from bisenetv2.network.checkpoint import save_checkpoint
    from bisenetv2.network.config import BiSeNetV2Config
    from bisenetv2.network.frames import FrameNetwork

    torch.manual_seed(1)
    network = FrameNetwork(BiSeNetV2(BiSeNetV2Config(num_classes=3))).eval()
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, network, CARD)
    expected = TorchEngine(network).logits(frames(2, 32, 64))
    engine = open_engine(path)
    assert engine.name == "torch"
    assert np.allclose(engine.logits(frames(2, 32, 64)), expected, atol=1e-4)
    assert read_card(path) == CARD


@pytest.mark.parametrize(
    ("name", "inside"), [("openvino", "_request"), ("onnxruntime", "_session")]
)
def test_lack_of_memory_is_of_one_type(model_path: Path, name: Any, inside: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Failed to allocate 64 GiB\nof memory")

    engine = open_engine(model_path, name)
    setattr(engine, inside, SimpleNamespace(infer=fail, run=fail))
    with pytest.raises(MemoryError, match="for a network on 96×64 pixels; try a smaller --scale"):
        engine.logits(np.zeros((1, 64, 96, 3), np.uint8))


def test_a_segmenter_opens_a_model_file_by_its_path(model_path: Path) -> None:
    segmenter = Segmenter(model_path, "onnxruntime", threads=1, scale=0.5)
    frame = frames(1, 50, 130)[0]
    assert segmenter.card == CARD
    assert segmenter.engine.name == "onnxruntime"
    assert segmenter.prepare(frame).shape == (1, 32, 64, 3)
    assert segmenter(frame).shape == (50, 130)


def test_torch_refuses_a_device_that_is_not_there() -> None:
    from bisenetv2.inference.torch_engine import TorchEngine

    with pytest.raises(UserError, match="device 'nonsense' cannot be used"):
        TorchEngine(TinyNetwork(), device="nonsense")


# Files that cannot be run


def write(path: Path, proto: onnx.ModelProto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    ("proto", "found"),
    [
        (model(frame=("image", 2, ("N", "H", "W", 3))), "image uint8"),
        (model(frame=("frame", 1, ("N", "H", "W", 3))), "frame float32"),
        (model(frame=("frame", 2, (1, 64, 96, 3))), "frame uint8 1×64×96×3"),
        (model(output="scores"), "scores float32"),
        (model(classes=2), "logits float32 any×2×any×any"),
    ],
)
def test_a_model_with_other_ports_is_refused(
    tmp_path: Path, name: Any, proto: onnx.ModelProto, found: str
) -> None:
    path = write(tmp_path / "other.onnx", proto)
    with pytest.raises(UserError) as caught:
        open_engine(path, name)
    assert str(caught.value).startswith(f"{path}: has ")
    assert found in str(caught.value)
    assert "expected frame uint8 any×any×any×3, logits float32 any×3×any×any" in str(caught.value)


@pytest.mark.parametrize("name", ENGINES)
def test_a_damaged_graph_is_one_line(tmp_path: Path, name: Any) -> None:
    proto = model()
    proto.graph.node[2].op_type = "NoSuchOperator"
    path = write(tmp_path / "damaged.onnx", proto)
    with pytest.raises(UserError, match=r"damaged model file, .* cannot load it") as caught:
        open_engine(path, name)
    assert "\n" not in str(caught.value)


# Cards


def test_a_card_is_read_without_the_packages_that_run_it(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "onnxruntime", "openvino", "torch", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    assert read_card(model_path) == CARD


def test_a_card_is_found_before_and_after_the_graph(tmp_path: Path) -> None:
    proto = model()
    properties = onnx.ModelProto(metadata_props=proto.metadata_props).SerializeToString()
    rest = onnx.ModelProto()
    rest.CopyFrom(proto)
    del rest.metadata_props[:]
    path = tmp_path / "first.onnx"
    path.write_bytes(properties + rest.SerializeToString())
    assert read_card(path) == CARD


def test_a_model_of_other_software_is_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "foreign.onnx", model(metadata={"author": "someone"}))
    with pytest.raises(UserError, match="was not written by `bisenetv2 export`"):
        read_card(path)
    checkpoint = tmp_path / "foreign.safetensors"
    checkpoint.write_bytes(safetensors_bytes({"__metadata__": {"format": "pt"}}))
    with pytest.raises(UserError, match="was not written by `bisenetv2 train`"):
        read_card(checkpoint)


def test_a_damaged_card_is_named_with_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "card.onnx", model(metadata={METADATA_KEY: "{}"}))
    with pytest.raises(UserError, match=r"card\.onnx: damaged card"):
        read_card(path)


def test_a_deeply_nested_card_is_damage_not_a_crash(tmp_path: Path) -> None:
    path = write(tmp_path / "deep.onnx", model(metadata={METADATA_KEY: "[" * 200_000}))
    with pytest.raises(UserError, match=r"deep\.onnx"):
        read_card(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.onnx", "cannot be read"),
        ("absent.safetensors", "cannot be read"),
        ("folder.onnx", "is a folder"),
        ("model.pth", r"expected a name ending in \.onnx or \.safetensors"),
    ],
)
def test_what_is_no_model_file_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "model.pth").touch()
    with pytest.raises(UserError, match=message) as caught:
        read_card(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def safetensors_bytes(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01\x00",
        b"\xff" * 8,  # a header of 2^64 - 1 bytes
        (2**24 + 1).to_bytes(8, "little") + b" " * 10,
        (10).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{{",
        (2).to_bytes(8, "little") + b"\xff\xff",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
    ],
)
def test_a_damaged_checkpoint_header_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.safetensors: damaged or truncated model file"):
        read_card(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html>",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # graph of 2^63 bytes
        b"\x3a\x00\x72\x05\x0a\x09bis",  # metadata key longer than its entry
        b"\x3a" + b"\x80" * 20 + b"\x00",  # a number of more than 64 bits
        b"\x3a\x00\x73",  # a group, which ONNX does not use
        b"\x3a\x00\x3d\x00",  # half a 32-bit number
    ],
)
def test_a_damaged_model_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.onnx: damaged or truncated model file"):
        read_card(path)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_no_more_metadata_is_read_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"large{suffix}"
    if suffix == ".onnx":
        write(path, model())
    else:
        path.write_bytes(safetensors_bytes({"__metadata__": {METADATA_KEY: CARD.to_json()}}))
    assert read_card(path) == CARD
    monkeypatch.setattr(model_file, "HEADER_LIMIT", 100)
    with pytest.raises(UserError, match="damaged or truncated model file"):
        read_card(path)


def survives(path: Path, content: bytes) -> None:
    """Reads the card of any bytes: a card or one clear line, never another exception."""
    path.write_bytes(content)
    try:
        read_card(path)
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ENGINES)
def test_a_truncated_model_file_is_never_opened(tmp_path: Path, name: Any) -> None:
    whole = model().SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.onnx: (damaged|was not written)"):
            open_engine(path, name)


@settings(max_examples=200)
@given(st.binary(max_size=60), st.sampled_from([".onnx", ".safetensors"]))
def test_any_bytes_are_survived(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    survives(tmp_path_factory.getbasetemp() / f"any{suffix}", content)


@settings(max_examples=100)
@given(st.data())
def test_any_changed_byte_is_survived(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(model().SerializeToString())
    start = data.draw(st.sampled_from([0, len(content) - len(CARD.to_json()) - 60]))
    content[data.draw(st.integers(start, len(content) - 1))] = data.draw(st.integers(0, 255))
    survives(tmp_path_factory.getbasetemp() / "changed.onnx", bytes(content))


def test_an_installation_without_the_embedded_model_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_file, "EMBEDDED_MODELS", {"camvid": "absent.onnx"})
    with pytest.raises(UserError, match=r"absent\.onnx: the embedded model is missing"):
        find_model()


def test_embedded_models_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("camvid") == find_model() != find_model("camvid-fp32")
    assert find_model("folder/camvid.onnx") == Path("folder/camvid.onnx")
    with pytest.raises(UserError, match="cityscapes: no such file, and no embedded model; these "):
        find_model("cityscapes")
    Path("camvid").touch()  # a file of that name comes first
    assert find_model("camvid") == Path("camvid")


def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    code = (
        "import sys, numpy; from bisenetv2.inference.segmenter import Segmenter; "
        "Segmenter(engine='openvino')(numpy.zeros((32, 32, 3), numpy.uint8)); "
        "assert 'openvino_telemetry' not in sys.modules"
    )
    own = {key: value for key, value in os.environ.items() if key != "CI"}  # which mutes it, too
    own |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "BISENETV2_CACHE": ""}
    subprocess.run([sys.executable, "-c", code], env=own, check=True)
    assert not list(tmp_path.iterdir())
