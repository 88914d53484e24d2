"""How fast `bisenetv2 evaluate` goes beside the engine alone, in turn on the same frames.

    python benchmarks/evaluation_speed.py --data ../shared/camvid --split val
    python benchmarks/evaluation_speed.py --size 1024 2048
    python benchmarks/evaluation_speed.py --data ../shared/camvid --split val --everything

Without data it renders streets of the given size. `--everything` scores outlines and confidence
too. Rates are of the network's own clock (`frame to mask`) and of `file to picture`, as `bisenetv2
benchmark` takes them.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import tyro

from bisenetv2.data.catalogue import open_dataset
from bisenetv2.data.dataset import SpreadSamples
from bisenetv2.data.streets import render_street
from bisenetv2.evaluation.boundary import BoundaryScores
from bisenetv2.evaluation.calibration import Calibration
from bisenetv2.evaluation.evaluate import evaluate
from bisenetv2.evaluation.protocols import FrameProtocol
from bisenetv2.evaluation.report import speed
from bisenetv2.images import write_image, write_mask
from bisenetv2.inference.benchmark import FILE_TO_PICTURE, FRAME_TO_MASK, time_file
from bisenetv2.inference.machine import describe_machine
from bisenetv2.inference.segmenter import Segmenter


def main(
    *,
    model: Path | None = None,
    data: str | None = None,
    split: str = "test",
    size: tuple[int, int] = (360, 480),
    frames: int = 24,
    rounds: int = 5,
    everything: bool = False,
) -> None:
    """Prints the median rate of each and what evaluation reaches of the others.

    Args:
        model: The embedded model if left out.
        data: Rendered streets if left out.
        split: Of the data.
        size: Height and width of the streets.
        frames: Most frames a round.
        rounds: Rounds after the first, which warms up.
        everything: Score outlines and confidence too.
    """
    with TemporaryDirectory() as name:
        data = data or render(Path(name), size, frames)
        dataset = SpreadSamples(open_dataset(data, split), frames)
        segmenter = Segmenter(model)
        rates: dict[str, list[float]] = {"evaluate": [], FRAME_TO_MASK: [], FILE_TO_PICTURE: []}
        for turn in range(1 + rounds):
            result = evaluate(
                FrameProtocol(segmenter),
                dataset,
                boundary=BoundaryScores(dataset.labels) if everything else None,
                calibration=Calibration(dataset.labels) if everything else None,
            )
            files = [Path(dataset.sample_name(index)) for index in range(len(dataset))]
            runs = [time_file(segmenter, path).seconds for path in files]
            if turn:  # the first warms up
                rates["evaluate"].append(result.images / result.seconds)
                for stage in (FRAME_TO_MASK, FILE_TO_PICTURE):
                    rates[stage].append(len(runs) / sum(run[stage] for run in runs))
    print(f"{describe_machine()}, {dataset.name}\n\n| what | frames/s | of it, evaluate |")
    print("|---|---:|---:|")
    for what, values in rates.items():
        ratios = [one / other for one, other in zip(rates["evaluate"], values, strict=True)]
        print(f"| {what} | {median(values):.1f} | {100 * median(ratios):.0f} % |")
    print(f"\nLast round: {speed(result)}.")


def render(folder: Path, size: tuple[int, int], count: int) -> str:
    """Writes streets of a size in CamVid's layout; returns the folder."""
    for index in range(count):
        image, mask = render_street(0, index, size)
        mask[mask == 255] = 11
        write_image(folder / "test" / f"{index:03}.png", image)
        write_mask(folder / "testannot" / f"{index:03}.png", mask)
    return str(folder)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
