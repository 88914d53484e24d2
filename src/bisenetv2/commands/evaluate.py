"""`bisenetv2 evaluate`: score a model on a split of a dataset.

bisenetv2 evaluate --data ../shared/camvid
bisenetv2 evaluate --data ../shared/camvid --split val --html report.html --csv images.csv
bisenetv2 evaluate runs/camvid/best.safetensors --data ../shared/camvid --split val --json
bisenetv2 evaluate city.safetensors --data cityscapes --split val --protocol full
bisenetv2 evaluate city.safetensors --data cityscapes --split test --submit predictions
bisenetv2 evaluate other.onnx --data ../shared/camvid --map by-name truck=Car rider=nothing
torchrun --nproc-per-node 4 -m bisenetv2 evaluate city.safetensors --data cityscapes --split val
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from rich.console import Console
from tyro.conf import Positional, arg

from bisenetv2 import __version__
from bisenetv2.errors import UserError
from bisenetv2.inference.engines import EngineName

if TYPE_CHECKING:
    from bisenetv2.data.dataset import Dataset
    from bisenetv2.training.world import World

T = TypeVar("T")


def evaluate(
    model: Annotated[Positional[Path | None], arg(metavar="MODEL")] = None,
    *,
    data: str,
    split: str = "test",
    engine: EngineName = "auto",
    threads: int | None = None,
    scale: float | None = None,
    protocol: Literal[
        "resized", "full", "sliding", "multiscale", "flip", "multiscale-flip"
    ] = "resized",
    window: tuple[int, int] | None = None,
    boundary: float | None = None,
    calibration: bool = False,
    map: Annotated[tuple[str, ...], arg(metavar="MODEL=DATA ...")] = (),
    html: Path | None = None,
    csv: Path | None = None,
    submit: Path | None = None,
    json: bool = False,
) -> int:
    """Score a model: IoU of each class, mIoU with its interval, and what else is asked for.

    Args:
        model: Model file, checkpoint, or embedded model: camvid (INT8, default) or camvid-fp32.
        data: Folder of images and masks of any layout, list of pairs, dataset.yaml, or `streets`.
        split: train, val, trainval or test; the truth of some test splits is not public.
        engine: What runs the network.
        threads: CPU threads; by default one for each physical core.
        scale: Side of the network's input over the frame's; by default as the model's card says.
        protocol: How the model looks at a frame: resized to the network's scale, at full
            resolution, through sliding windows at full resolution, at several scales, with its
            mirror image.
        window: Height and width of sliding windows; by default what the network saw in training.
        boundary: Score outlines too, within this share of the frame's diagonal (0.02 is customary).
        calibration: Score confidence too: expected calibration error.
        map: Reconcile the model's classes with the data's: MODEL=DATA, NAME=nothing for a class
            of the model without counterpart (always wrong), nothing=NAME for a class of the data to
            ignore; classes of one name match by themselves, for which `by-name` is enough.
        html: Write a report with pictures, one file; includes outlines and confidence.
        csv: Write the scores of each image.
        submit: Write predictions to this folder as the Cityscapes test server takes them.
        json: Print one JSON object in place of the table.
    """
    from bisenetv2.data.dataset import SharedSamples
    from bisenetv2.evaluation.boundary import SHARE, BoundaryScores
    from bisenetv2.evaluation.calibration import Calibration
    from bisenetv2.evaluation.evaluate import evaluate as score
    from bisenetv2.evaluation.evaluate import merge_shares
    from bisenetv2.evaluation.gallery import Gallery
    from bisenetv2.evaluation.html_report import Circumstances, write_report
    from bisenetv2.evaluation.mapping import check_labels, reconcile
    from bisenetv2.evaluation.protocols import Answering, FrameProtocol
    from bisenetv2.evaluation.report import print_report, write_image_scores
    from bisenetv2.evaluation.submission import Submission
    from bisenetv2.files import check_writable
    from bisenetv2.inference.segmenter import Segmenter
    from bisenetv2.progress import progress_bar

    files = [path for path in (html, csv) if path is not None]
    for path in files:
        check_writable(path, (data,) if model is None else (data, model))
    if len({path.resolve() for path in files}) < len(files):
        raise UserError(f"{csv}: is given to --html and to --csv; name two files")
    with _processes() as world:
        dataset = world.share(lambda: _open(data, split, submit))
        segmenter = Segmenter(model, engine, threads=threads, scale=scale)
        looking: Answering = FrameProtocol(segmenter, protocol, window)
        if map:
            (looking,), dataset = reconcile([looking], dataset, map)
        check_labels(looking.labels, dataset)
        if world.size > max(1, len(dataset)):
            raise UserError(
                f"{dataset.name}: {len(dataset)} images for {world.size} processes; start fewer"
            )
        if html is not None:
            boundary, calibration = SHARE if boundary is None else boundary, True
        gallery = Gallery()
        observers = [] if html is None else [gallery.add]
        if submit is not None:
            observers.append(Submission(submit, looking.labels).add)
        mine = SharedSamples(dataset, world.rank, world.size)
        with progress_bar("evaluate", len(mine), world.writes) as bar:
            result = score(
                looking,
                mine,
                lambda _: bar.advance(),
                boundary=None if boundary is None else BoundaryScores(dataset.labels, boundary),
                calibration=Calibration(dataset.labels) if calibration else None,
                observers=observers,
            )
        shares = world.gathered((result, gallery))
    if not world.writes:
        return 0
    result = merge_shares([share for share, _ in shares])
    for _, other in shares[1:]:
        gallery.merge(other)
    circumstances = Circumstances.now(model, segmenter)
    if html is not None:
        write_report(html, result, gallery, circumstances)
    if csv is not None:
        write_image_scores(csv, result)
    if json:
        named = {"model": circumstances.model, "engine": circumstances.engine}
        content = {**named, "version": __version__, **result.to_json_object()}
        print(dumps(content, indent=2, allow_nan=False))
        return 0
    if submit is None or result.matrix.pixels:
        print_report(result, Console())
    for path in files:
        print(f"written: {path}")
    if submit is not None:
        print(f"written: {result.images} predictions in {submit}/")
    return 0


class _Alone:
    """What `World` is to a process that torchrun did not start, without torch."""

    rank, size, writes = 0, 1, True

    def share(self, work: Callable[[], T]) -> T:
        return work()

    def gathered(self, value: T) -> list[T]:
        return [value]


def _processes() -> AbstractContextManager[World | _Alone]:
    """Joins the processes that torchrun started; without it there are none to join."""
    if "RANK" not in os.environ:
        return nullcontext(_Alone())
    import torch

    from bisenetv2.training.world import joined

    if torch.cuda.is_available():  # for the engine; what is found meets on the CPU
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    return joined("cpu")


def _open(data: str, split: str, submit: Path | None) -> Dataset:
    """Opens a split; to make a submission, also one whose truth is not public."""
    from bisenetv2.data.catalogue import open_dataset
    from bisenetv2.evaluation.submission import CityscapesTest

    if submit is not None and split == "test":
        return CityscapesTest.open(data)
    return open_dataset(data, split)
