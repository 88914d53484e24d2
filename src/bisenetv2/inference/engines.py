"""What runs a model file: one interface over OpenVINO, ONNX Runtime and PyTorch.

Each engine's package is imported when the engine is built, never before. On a CPU all compute in
FP32 unless the model file itself is quantised, so that their masks may be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from bisenetv2.errors import UserError, require
from bisenetv2.inference.model_file import read_card
from bisenetv2.labels import Mask

if TYPE_CHECKING:
    import onnxruntime
    import openvino

Frames = npt.NDArray[np.uint8]
"""RGB, N×H×W×3, H and W multiples of 32."""

Logits = npt.NDArray[np.float32]
"""N×C×H/8×W/8, or N×C×H×W of models whose card says stride 1."""

EngineName = Literal["auto", "openvino", "onnxruntime", "torch"]


class Engine(Protocol):
    """Runs one model; one call at a time."""

    @property
    def name(self) -> str:
        """`openvino`, `onnxruntime` or `torch`."""

    def logits(self, frames: Frames) -> Logits:
        """Computes the logits of a batch of frames.

        Args:
            frames: `uint8` N×H×W×3, RGB; H and W multiples of 32.

        Returns:
            `float32` N×C×H/8×W/8; an array of the caller's own.
        """


@runtime_checkable
class DeviceDecoder(Protocol):
    """An engine that also finds the masks itself, because its logits lie on another device."""

    def masks(self, frames: Frames, size: tuple[int, int]) -> Mask:
        """Computes the arg-max of the bilinearly enlarged logits where these are.

        Args:
            frames: As for `Engine.logits`.
            size: Height and width of the masks in pixels.

        Returns:
            `uint8` N×H×W; an array of the caller's own.
        """


def open_engine(
    path: str | Path, engine: EngineName = "auto", threads: int | None = None
) -> Engine:
    """Loads a model into the engine that runs it.

    Args:
        path: Model file (`.onnx`) or checkpoint (`.safetensors`).
        engine: `auto` takes PyTorch for a checkpoint, on the GPU where there is one. For a model
            file it takes ONNX Runtime where its GPU build is installed, else OpenVINO where that
            is, else ONNX Runtime.
        threads: CPU threads to compute with; `None` leaves the choice to the engine.

    Raises:
        UserError: If the file or a value cannot be used, or the engine's package is missing.
    """
    if engine not in get_args(EngineName):
        names = ", ".join(get_args(EngineName))
        raise UserError(f"unknown engine {engine!r}: choose one of {names}")
    if threads is not None and threads < 1:
        raise UserError(f"{threads} threads: at least 1 is needed")
    is_checkpoint = Path(path).suffix.lower() == ".safetensors"
    if engine == "auto":
        engine = "torch" if is_checkpoint else best_for_model_files()
    if is_checkpoint and engine != "torch":
        raise UserError(f"{path}: {engine} runs .onnx files; `bisenetv2 export` writes one")
    if engine == "torch":
        if not is_checkpoint:
            raise UserError(f"{path}: torch runs .safetensors checkpoints; take another engine")
        return _open_torch(path, threads)
    return (OpenVinoEngine if engine == "openvino" else OnnxRuntimeEngine)(path, threads)


def best_for_model_files() -> Literal["openvino", "onnxruntime"]:
    """Chooses the engine that `auto` takes for a model file."""
    try:
        metadata.version("onnxruntime-gpu")  # nobody installs it without the GPU it is for
        return "onnxruntime"
    except metadata.PackageNotFoundError:
        return "openvino" if find_spec("openvino") else "onnxruntime"


def _open_torch(path: str | Path, threads: int | None) -> Engine:
    try:
        import torch

        from bisenetv2.inference.torch_engine import CudaEngine, TorchEngine
    except ModuleNotFoundError as error:
        raise require(error.name or "torch", "train") from error
    return CudaEngine(path) if torch.cuda.is_available() else TorchEngine(path, threads)


class OpenVinoEngine:
    """Runs a model file on the CPU with OpenVINO."""

    name = "openvino"

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        """Reads and compiles the model.

        It is compiled once, for frames of every size: compiled for one size it is 4 % faster, and
        every new size would cost a compilation. What was compiled is kept in the cache folder, so
        that the next start need not compile.

        Args:
            path: Model file (`.onnx`).
            threads: CPU threads; `None`: one for each physical core.

        Raises:
            UserError: If OpenVINO is missing or the file is no model of this product.
        """
        from bisenetv2.inference.openvino_model import compile_model, read_model

        classes = len(read_card(path).labels)
        model = read_model(path)
        ports = [_openvino_port(port) for port in (*model.inputs, *model.outputs)]
        _check_signature(path, classes, ports)
        try:
            compiled = compile_model(model, threads)
        except RuntimeError as error:
            raise UserError(f"{path}: damaged model file, OpenVINO cannot load it") from error
        self._request = compiled.create_infer_request()

    def logits(self, frames: Frames) -> Logits:
        """Computes logits; see `Engine.logits`."""
        contiguous = np.ascontiguousarray(frames)
        with memory_errors(frames.shape[1:3]):
            outputs = self._request.infer([contiguous], share_inputs=True, share_outputs=True)
        return np.array(outputs[0], np.float32)  # a copy: the next call overwrites the request's


class OnnxRuntimeEngine:
    """Runs a model file with ONNX Runtime: on CUDA where its build offers that, else on the CPU."""

    name = "onnxruntime"

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        """Reads the model and prepares a session.

        Args:
            path: Model file (`.onnx`).
            threads: CPU threads; `None`: one for each physical core.

        Raises:
            UserError: If ONNX Runtime is missing or the file is no model of this product.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise require("onnxruntime", "onnxruntime") from error
        classes = len(read_card(path).labels)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; what it warns of is its own optimisation
        if threads is not None:
            options.intra_op_num_threads = threads
        offered = onnxruntime.get_available_providers()
        providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in offered]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its exceptions have no base class of their own
            raise UserError(f"{path}: damaged model file, ONNX Runtime cannot load it") from error
        ports = [*self._session.get_inputs(), *self._session.get_outputs()]
        _check_signature(path, classes, [_onnxruntime_port(port) for port in ports])

    def logits(self, frames: Frames) -> Logits:
        """Computes logits; see `Engine.logits`."""
        with memory_errors(frames.shape[1:3]):
            (logits,) = self._session.run(["logits"], {"frame": np.ascontiguousarray(frames)})
        return np.asarray(logits, np.float32)


@contextmanager
def memory_errors(size: tuple[int, ...]) -> Iterator[None]:
    """Gives what engines and OpenCV raise where memory is lacking one type; they have none for it.

    Args:
        size: Height and width at which the network was to see the frames.
    """
    try:
        yield
    except Exception as error:
        if "allocat" not in str(error).lower():
            raise
        pixels = f"{size[1]}×{size[0]} pixels"
        raise MemoryError(f"for a network on {pixels}; try a smaller --scale") from error


def _openvino_port(port: openvino.Output) -> str:
    shape = (n.get_length() if n.is_static else None for n in port.get_partial_shape())
    kind = np.dtype(port.get_element_type().to_dtype()).name
    return _port(port.get_any_name(), kind, shape)


def _onnxruntime_port(port: onnxruntime.NodeArg) -> str:
    kind = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}.get(port.type, port.type)
    return _port(port.name, kind, (n if isinstance(n, int) else None for n in port.shape))


def _port(name: str, kind: str, shape: Iterable[int | None]) -> str:
    """Describes an input or an output of a model; axes of any length are `None`."""
    return f"{name} {kind} {'×'.join(str(length or 'any') for length in shape)}"


def _check_signature(path: str | Path, classes: int, ports: list[str]) -> None:
    """Holds a model's inputs and outputs, in this order, against the contract of model files."""
    expected = ["frame uint8 any×any×any×3", f"logits float32 any×{classes}×any×any"]
    if ports != expected:
        raise UserError(
            f"{path}: has {', '.join(ports)}; expected {', '.join(expected)}, as "
            "`bisenetv2 export` writes it"
        )
