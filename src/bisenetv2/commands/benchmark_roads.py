"""What `bisenetv2 benchmark` runs: frames, engines, the plain road, and the facts beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from bisenetv2.builtin_labels import BUILTIN
from bisenetv2.data.streets import render_street
from bisenetv2.errors import UserError
from bisenetv2.images import read_image, write_image
from bisenetv2.inference import benchmark as timing
from bisenetv2.inference.engines import (
    DeviceDecoder,
    Engine,
    EngineName,
    best_for_model_files,
    open_engine,
)
from bisenetv2.inference.machine import describe_machine
from bisenetv2.inference.model_file import find_model, read_card
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.network.config import BiSeNetV2Config

DEFAULT_PRESET = "cityscapes"
"""The paper's operating point."""

STREETS = 4
"""Rendered streets that take turns: the upsample-argmax takes longer where there is more to see."""


@dataclass(frozen=True)
class View:
    """Which frames the roads run on, and at which scale the network sees them."""

    preset: str | None
    size: tuple[int, int]
    scale: float | None
    frames: str
    """What they are, in words."""

    files: list[Path]

    @classmethod
    def choose(
        cls,
        preset: str | None,
        frame: tuple[int, int] | None,
        image: Path | None,
        scale: float | None,
        folder: Path,
    ) -> View:
        """Reads the options of the command; renders streets into the folder if need be.

        Raises:
            UserError: If more than one of them fixes the frame, or the image cannot be read.
        """
        if sum(option is not None for option in (preset, frame, image)) > 1:
            raise UserError("--preset, --frame and --image each fix the frame: give one of them")
        if image is not None:
            height, width = read_image(image).shape[:2]
            return cls(None, (height, width), scale, str(image), [image])
        if frame is None:
            preset = preset or DEFAULT_PRESET
            frame, usual = timing.PRESETS[preset]
            scale = usual if scale is None else scale
        files = [folder / f"street_{index}.jpg" for index in range(STREETS)]
        for index, file in enumerate(files):
            write_image(file, render_street(0, index, frame).image)
        return cls(preset, frame, scale, f"{STREETS} rendered streets", files)

    def to_json_object(self) -> dict[str, Any]:
        """Says what is seen."""
        facts = {"preset": self.preset, "frame": self.size, "frames": self.frames}
        return {**facts, "read_from": self.files[0].suffix}


@dataclass(frozen=True)
class Road:
    """One way from a file to a picture."""

    name: str
    """Engine that runs the network, or `plain`."""

    version: str
    """Version of the engine."""

    precision: str
    """`FP32`, `INT8` or, on a GPU, `FP16`."""

    segmenter: Segmenter
    """What runs it."""

    path: Path
    """The file it runs."""

    source: Path
    """The model that was asked for: `path`, or the checkpoint that was exported there."""

    comparable: bool = True
    """Whether its weights are the model's, so that its masks can be held against the others'."""

    def take(self, file: Path) -> dict[str, float]:
        """Takes it once; returns the seconds of each stage."""
        return timing.time_file(self.segmenter, file).seconds

    def plain(self, threads: int | None) -> Road:
        """Lays the plain road beside this one.

        Args:
            threads: CPU threads; `None`: as many as PyTorch is set to.

        Raises:
            UserError: If the model cannot be read.
        """
        from bisenetv2.export.plain_road import PlainRoad, read_network

        network, comparable = read_network(self.source)
        segmenter = PlainRoad.of(network, self.segmenter.card, self.segmenter.scale, threads)
        path = self.source
        return Road("plain", _version("torch"), "FP32", segmenter, path, path, comparable)


def open_roads(
    model: Path | None,
    network: Mapping[str, Any],
    view: View,
    engines: Sequence[str],
    threads: int | None,
    folder: Path,
) -> tuple[list[Road], dict[str, str]]:
    """Opens a model in each engine asked for.

    Args:
        model: Model file or checkpoint; `None` for the embedded model.
        network: Options of `BiSeNetV2Config.preset` for an untrained network in its place.
        view: What it will see.
        engines: Names of engines, `auto` or `all`.
        threads: CPU threads of each; `None` leaves the choice to the engine.
        folder: Where a file may be written that an engine needs.

    Returns:
        The roads, at least one, and why which engine of `all` was left out.

    Raises:
        UserError: If the model cannot be used, or an engine asked for by name cannot.
    """
    path = _untrained(network, view, folder) if network else find_model(model)
    card = read_card(path)
    roads: list[Road] = []
    left_out: dict[str, str] = {}
    # A network of the command's own is timed as it would ship: as a model file.
    auto = best_for_model_files() if network else "auto"
    chosen = [auto if name == "auto" else name for name in dict.fromkeys(engines)]
    for name in get_args(EngineName)[1:] if "all" in engines else chosen:
        try:
            engine, runs = _open(path, name, threads, folder)
        except (UserError, ModuleNotFoundError) as error:
            if "all" not in engines:
                raise
            left_out[name] = str(error)
            continue
        segmenter = Segmenter.from_engine(engine, card, view.scale)
        version = _version(engine.name)
        if isinstance(engine, DeviceDecoder):
            import torch

            precision, version = "FP16", f"{version} on {torch.cuda.get_device_name()}"
        else:
            precision = "FP32" if engine.name == "torch" else timing.precision_of(runs)
        roads.append(Road(engine.name, version, precision, segmenter, runs, path))
    if not roads:
        reasons = "; ".join(left_out.values()) or "none was named with --engines"
        raise UserError(f"{path}: no engine runs it: {reasons}")
    return roads, left_out


def _untrained(network: Mapping[str, Any], view: View, folder: Path) -> Path:
    """Writes an untrained network to time; its classes are the preset's data's if not named."""
    from bisenetv2.export.plain_road import write_untrained

    options = dict(network)
    reading, size = options.pop("reading", "figures"), options.pop("size", "base")
    options.setdefault("num_classes", len(BUILTIN[view.preset or DEFAULT_PRESET]))
    path = folder / "untrained.safetensors"
    write_untrained(BiSeNetV2Config.preset(reading, size, **options), view.size, path)
    return path


def _open(path: Path, name: str, threads: int | None, folder: Path) -> tuple[Engine, Path]:
    """Opens an engine; returns it and the file it runs, which may be written for it.

    Args:
        path: Model file or checkpoint.
        name: An engine, or `auto`.
        threads: CPU threads.
        folder: Where a checkpoint is exported to.
    """
    is_checkpoint = path.suffix.lower() == ".safetensors"
    if is_checkpoint and name not in ("auto", "torch"):
        from bisenetv2.export.plain_road import write_exported

        exported = folder / f"{path.stem}.onnx"
        if not exported.exists():
            write_exported(path, exported)
        path = exported
    elif not is_checkpoint and name == "torch":
        from bisenetv2.export.plain_road import open_in_torch

        return open_in_torch(path, threads), path
    return open_engine(path, cast(EngineName, name), threads), path


def rows(
    roads: Sequence[Road], times: Sequence[Sequence[dict[str, float]]], files: Sequence[Path]
) -> list[dict[str, Any]]:
    """Describes each road and what it took.

    Args:
        roads: The roads.
        times: For each of them the seconds of each stage, run by run.
        files: What they ran on; their masks are compared on it.
    """
    masks = [np.stack([road.segmenter(read_image(file)) for file in files]) for road in roads]
    return [
        {
            "road": road.name,
            "version": road.version,
            "precision": road.precision,
            "equal_to_first": float(np.mean(found == masks[0]))
            if road.comparable and road is not roads[0]
            else None,
            "stages": {n: asdict(timing.summarise([run[n] for run in taken])) for n in taken[0]},
        }
        for road, taken, found in zip(roads, times, masks, strict=True)
    ]


def facts_of(
    road: Road, file: Path, network: timing.Summary, threads: int | None, profile: bool
) -> dict[str, Any]:
    """Collects what stands beside the times of a road.

    Args:
        road: The road.
        file: What it ran on.
        network: What its network took.
        threads: CPU threads it was told to take.
        profile: Whether to take the time of the network's layers.
    """
    card, frames = road.segmenter.card, road.segmenter.prepare(read_image(file))  # 1, H', W', 3
    height, width = frames.shape[1:3]
    macs, parameters = _cost(road, (height, width))
    facts: dict[str, Any] = {
        "machine": asdict(describe_machine()),
        "model": {
            "file": road.source.name,
            "trained_on": card.data,
            "trained": card.data != timing.UNTRAINED,
            "classes": len(card.labels),
            "head_width": dict(card.network).get("head_width"),
            "macs": macs,
            "parameters": parameters,
            "folded": road.path.suffix.lower() == ".onnx",
        },
        "network_input": (height, width),
        "threads": threads,
        "peak": None,
        "layers": None,
    }
    if road.name != "openvino":
        return facts
    from bisenetv2.inference.openvino_layers import convolution_peak, time_layers

    peak = convolution_peak("INT8" if road.precision == "INT8" else "FP32", threads)
    facts["threads"] = peak.threads
    assert macs is not None  # OpenVINO has counted them
    speed = macs / (network.median_ms / 1000)
    share = speed / peak.macs_per_second
    facts["peak"] = {**asdict(peak), "network_macs_per_second": speed, "network_share": share}
    if profile:
        facts["layers"] = [asdict(layer) for layer in time_layers(road.path, frames, threads)]
    return facts


def _cost(road: Road, size: tuple[int, int]) -> tuple[int | None, int | None]:
    """Multiply-accumulates and parameters; unknown without the package that could count them."""
    if road.path.suffix.lower() == ".safetensors":
        from bisenetv2.export.plain_road import read_network
        from bisenetv2.network.cost import network_cost

        network, _ = read_network(road.path)
        cost = network_cost(network.network.config, size)
        return cost.macs, cost.parameters
    if not find_spec("openvino"):
        return None, None
    from bisenetv2.inference.openvino_layers import graph_cost

    graph = graph_cost(road.path, size)
    return graph.macs, graph.parameters


def _version(engine: str) -> str:
    """Version of the package behind an engine."""
    packages = ("onnxruntime", "onnxruntime-gpu") if engine == "onnxruntime" else (engine,)
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return ""
