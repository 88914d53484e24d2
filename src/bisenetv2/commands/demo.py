"""`bisenetv2 demo`: the whole road on a rendered street, no data needed.

bisenetv2 demo
bisenetv2 demo --seed 7 --size 720 1280 -o street
"""

from __future__ import annotations

from math import isnan
from pathlib import Path
from statistics import median
from typing import Annotated

from tyro.conf import arg

from bisenetv2.inference.engines import EngineName


def demo(
    *,
    seed: int = 0,
    size: tuple[int, int] = (1024, 2048),
    model: Annotated[Path | None, arg(aliases=["-m"])] = None,
    output: Annotated[Path, arg(aliases=["-o"])] = Path("bisenetv2-demo"),
    engine: EngineName = "auto",
    threads: int | None = None,
) -> int:
    """Render a street, segment it with the embedded model, write the pictures.

    Prints the time of each stage and the IoU of each class against the exact mask.

    Args:
        seed: Which street.
        size: Height and width in pixels of the street.
        model: Model file, checkpoint, or embedded model: camvid (INT8, default) or camvid-fp32.
        output: Folder to write to.
        engine: What runs the network.
        threads: CPU threads; by default one for each physical core.
    """
    from bisenetv2.commands.predict_images import write_pictures
    from bisenetv2.data.streets import render_street
    from bisenetv2.evaluation.confusion import ConfusionMatrix
    from bisenetv2.images import write_image, write_mask
    from bisenetv2.inference.benchmark import time_stages
    from bisenetv2.inference.segmenter import Segmenter
    from bisenetv2.labels import CAMVID

    street = render_street(seed, 0, size)
    segmenter = Segmenter(model, engine, threads=threads)
    mask = segmenter(street.image)  # also warms up: the first run lays out the engine's memory
    runs = [time_stages(segmenter, street.image).seconds for _ in range(5)]

    name = f"street_{seed}"
    image, truth = output / f"{name}.png", output / f"{name}_truth.png"
    write_image(image, street.image)
    write_mask(truth, street.mask)
    pictures = write_pictures(output / name, street.image, mask, segmenter.labels, 0.5)

    print(f"rendered street of {size[1]}×{size[0]} pixels, model trained on {segmenter.card.data}")
    for stage in runs[0]:
        print(f"  {stage:16s} {1000 * median(run[stage] for run in runs):8.1f} ms")
    if segmenter.labels.names == CAMVID.names:
        matrix = ConfusionMatrix(len(CAMVID))
        matrix.update(street.mask, mask)
        for label, iou in zip(CAMVID.names, matrix.iou, strict=True):
            score = "  absent" if isnan(iou) else f"{100 * iou:8.1f} % IoU"
            print(f"  {label:16s} {score}")
        print(f"  {'mean':16s} {100 * matrix.mean_iou:8.1f} % IoU on this rendered street")
    else:
        print("  no IoU: the street is labelled in CamVid's classes, the model has others")
    print("wrote " + ", ".join(map(str, (image, truth, *pictures))))
    return 0
