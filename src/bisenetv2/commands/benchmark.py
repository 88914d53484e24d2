"""`bisenetv2 benchmark`: how fast, stage by stage, on this machine.

bisenetv2 benchmark
bisenetv2 benchmark model.onnx --preset cityscapes --against plain
bisenetv2 benchmark --engines all
bisenetv2 benchmark --frame 720 1280 --profile
bisenetv2 benchmark --size large --preset camvid
"""

from __future__ import annotations

from datetime import date
from json import dumps
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from bisenetv2 import __version__
from bisenetv2.errors import UserError
from bisenetv2.network.config import Reading, Size


def benchmark(
    model: Annotated[Positional[Path | None], arg(metavar="MODEL")] = None,
    *,
    preset: Literal["cityscapes", "camvid", "coco-stuff"] | None = None,
    frame: tuple[int, int] | None = None,
    image: Path | None = None,
    scale: float | None = None,
    size: Size | None = None,
    reading: Reading | None = None,
    classes: int | None = None,
    head_width: int | None = None,
    engines: Annotated[
        tuple[Literal["auto", "all", "openvino", "onnxruntime", "torch"], ...],
        arg(aliases=["--engine"]),
    ] = ("auto",),
    against: Literal["plain"] | None = None,
    threads: int | None = None,
    runs: int = 50,
    warmup: int = 5,
    profile: bool = False,
    json: bool = False,
) -> int:
    """Take the time of every stage from file to picture, and of frame to mask as a whole.

    The frames are rendered streets unless --image names one. The options --size, --reading,
    --classes and --head-width build an untrained network, which needs the train extra.

    Args:
        model: Model file, checkpoint, or embedded model: camvid (INT8, default) or camvid-fp32.
        preset: Frame and network size of a row of the paper: cityscapes, 2048×1024 → 1024×512 (what
            is timed by default), camvid, 960×720, or coco-stuff, 640×640.
        frame: Height and width in pixels of the frames, in place of a preset.
        image: An image to segment, in place of rendered streets.
        scale: Side of the network's input over the frame's; the preset's, else the model's.
        size: Time an untrained network: V2 (base) or V2-Large (large).
        reading: Time an untrained network of this reading of the paper.
        classes: Time an untrained network of so many classes; the preset's data's by default.
        head_width: Time an untrained network of this head width (C_t).
        engines: What runs the network: one, several, or all, which are run in turn.
        against: Run the plain road in turn with the first engine: eager PyTorch in FP32, logits
            enlarged to the frame's size, arg-max.
        threads: CPU threads of every engine and of the plain road; by default each chooses.
        runs: Frames to time.
        warmup: Frames to run before those.
        profile: List the network's slowest layers too (OpenVINO).
        json: Print one JSON object in place of the tables.
    """
    from bisenetv2.commands.benchmark_roads import View, facts_of, open_roads, rows
    from bisenetv2.inference.benchmark import FRAME_TO_MASK, NETWORK, interleave, summarise
    from bisenetv2.inference.benchmark_report import report
    from bisenetv2.progress import progress_bar

    named = {"reading": reading, "size": size, "num_classes": classes, "head_width": head_width}
    network = {name: value for name, value in named.items() if value is not None}
    if network and model is not None:
        raise UserError(f"{model}: holds a network; leave out the options that build another one")
    with TemporaryDirectory(prefix="bisenetv2-benchmark-") as name:
        folder = Path(name)
        view = View.choose(preset, frame, image, scale, folder)
        roads, left_out = open_roads(model, network, view, engines, threads, folder)
        if profile and roads[0].name != "openvino":
            raise UserError(
                f"--profile reads OpenVINO's layers, the first engine is {roads[0].name}: put "
                "openvino first in --engines"
            )
        if against is not None:
            roads.append(roads[0].plain(threads))
        with progress_bar("benchmark", warmup + runs) as bar:
            taken = [road.take for road in roads]
            times = interleave(taken, view.files, runs=runs, warmup=warmup, advance=bar.advance)
        network_time = summarise([run[NETWORK] for run in times[0]])
        result: dict[str, Any] = {
            "bisenetv2": __version__,
            "date": date.today().isoformat(),
            **view.to_json_object(),
            "runs": len(times[0]),
            "warmup": warmup,
            "roads": rows(roads, times, view.files),
            "left_out": left_out,
            **facts_of(roads[0], view.files[0], network_time, threads, profile),
        }
    if against is not None:
        fast, slow = times[0], times[-1]
        ratios = [b[FRAME_TO_MASK] / a[FRAME_TO_MASK] for a, b in zip(fast, slow, strict=True)]
        result["against"] = {"road": against, "median_ratio": median(ratios), "ratios": ratios}
    print(dumps(result, indent=2, allow_nan=False) if json else report(result))
    return 0
