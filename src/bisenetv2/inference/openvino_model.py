"""A model file as OpenVINO is to compute it: the same numbers as everywhere, kept once compiled."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bisenetv2.errors import UserError

if TYPE_CHECKING:
    import openvino

CACHE_VARIABLE = "BISENETV2_CACHE"
"""Environment variable that names another folder for compiled models; empty, none are kept."""


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Keeps `import openvino` from reporting to its makers.

    Unasked, it would send an event over the network, write an identity into `~/intel`, and hold up
    the end of the process for seconds where nothing answers.
    """
    unseen = "openvino_telemetry" not in sys.modules
    if unseen:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as if not installed
    try:
        yield
    finally:
        if unseen:
            sys.modules.pop("openvino_telemetry", None)


def read_model(path: str | Path, size: tuple[int, ...] | None = None) -> openvino.Model:
    """Reads a model file.

    Args:
        path: Model file (`.onnx`).
        size: Height and width of the network's input; `None`: any.

    Raises:
        UserError: If OpenVINO is missing or cannot read the file.
    """
    try:
        with without_telemetry():
            import openvino
    except ModuleNotFoundError as error:
        raise UserError("this needs openvino: pip install openvino") from error
    try:
        model = openvino.Core().read_model(str(path))
        if size is not None:
            model.reshape([1, *size, 3])
    except RuntimeError as error:
        raise UserError(f"{path}: damaged model file, OpenVINO cannot load it") from error
    _join_rounding(model)
    _round_once(model)
    return model


def compile_model(
    model: openvino.Model, threads: int | None, *, clocks: bool = False, bfloat16: bool = False
) -> openvino.CompiledModel:
    """Compiles a model for the CPU.

    Args:
        model: What `read_model` returned.
        threads: CPU threads; `None`: one for each physical core.
        clocks: Put a clock on every layer; what is compiled so is not kept.
        bfloat16: Compute in bfloat16 what the model has in FP32.
    """
    with without_telemetry():
        import openvino

    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    quantised = any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    if not quantised and not bfloat16:
        # Left alone, OpenVINO computes in bfloat16 on CPUs that can: other masks on other machines.
        options["INFERENCE_PRECISION_HINT"] = "f32"
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    folder = _cache_folder()
    if clocks:
        options["PERF_COUNT"] = True
    elif folder is not None:
        options["CACHE_DIR"] = str(folder)
    return openvino.Core().compile_model(model, "CPU", options)


def _cache_folder() -> Path | None:
    """Returns a folder of the user's cache, made if need be, or `None` where there can be none."""
    root = os.environ.get(CACHE_VARIABLE)
    if root == "":
        return None
    try:
        folder = (Path(root) if root else _user_cache() / "bisenetv2") / "openvino"
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


def _join_rounding(model: openvino.Model) -> None:
    """Makes one FakeQuantize of what ONNX's pair of Quantize- and DequantizeLinear is read as.

    OpenVINO reads the pair as a rounding to whole numbers, two conversions and a scale, and then
    computes something else: values that are small for their scale, as in dark frames, lose so much
    that mIoU falls by points, most on CPUs without VNNI. Joined, it computes what ONNX Runtime
    does, and faster. What only a ReLU reads that is itself only read rounded is left as it is: the
    second rounding is enough, and where the scales differ, as in files of earlier versions,
    OpenVINO would take a pass over the whole tensor.
    """
    from openvino import opset13 as ops

    for rounding in model.get_ops():
        if rounding.get_type_name() != "FakeQuantize":
            continue
        chain = [rounding]
        while (reader := _only_reader(chain[-1])) and reader.get_type_name() in (
            "Convert", "Subtract", "Multiply",
        ):  # fmt: skip
            chain.append(reader)
            if reader.get_type_name() == "Multiply":
                break
        kinds = [node.get_type_name() for node in chain[1:] if node.get_type_name() != "Subtract"]
        if kinds != ["Convert", "Convert", "Multiply"]:
            continue
        *before, scaling = chain
        readers = scaling.output(0).get_target_inputs()
        if _all_are("Relu", readers) and all(
            _all_are("FakeQuantize", port.get_node().output(0).get_target_inputs())
            for port in readers
        ):
            _redirect(readers, rounding.input_value(0))
            continue
        zero = _constant(before[-1]) if before[-1].get_type_name() == "Subtract" else 0.0
        scale = _constant(scaling)
        low, high = (
            (rounding.input_value(index).get_node().data - zero) * scale for index in (3, 4)
        )
        joined = ops.fake_quantize(
            rounding.input_value(0),
            rounding.input_value(1),
            rounding.input_value(2),
            ops.constant(low.astype(np.float32)),
            ops.constant(high.astype(np.float32)),
            rounding.get_attributes()["levels"],
        )
        _redirect(readers, joined.output(0))


def _round_once(model: openvino.Model) -> None:
    """Rounds what is repeated before it is repeated: OpenVINO would round every copy by itself."""
    from openvino import opset13 as ops

    for repeated in model.get_ops():
        sources = repeated.input_values()
        if repeated.get_type_name() != "Concat" or any(port != sources[0] for port in sources):
            continue
        rounding = _only_reader(repeated)
        if rounding is None or rounding.get_type_name() != "FakeQuantize":
            continue
        limits, levels = rounding.input_values()[1:], rounding.get_attributes()["levels"]
        rounded = ops.fake_quantize(sources[0], *limits, levels)
        for port in repeated.inputs():
            port.replace_source_output(rounded.output(0))
        _redirect(rounding.output(0).get_target_inputs(), repeated.output(0))


def _all_are(kind: str, readers: Iterable[openvino.Input]) -> bool:
    return all(port.get_node().get_type_name() == kind for port in readers)


def _redirect(readers: Iterable[openvino.Input], source: openvino.Output) -> None:
    for port in readers:
        port.replace_source_output(source)


def _only_reader(node: openvino.Node) -> openvino.Node | None:
    ports = list(node.output(0).get_target_inputs())
    return ports[0].get_node() if len(ports) == 1 else None


def _constant(node: openvino.Node) -> Any:
    """Value of a node's second input, a constant, perhaps converted."""
    source = node.input_value(1).get_node()
    while source.get_type_name() == "Convert":
        source = source.input_value(0).get_node()
    return source.data.astype(np.float32)
