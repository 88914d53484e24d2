r"""`bisenetv2 convert-labels`: labels of other tools to index masks and back.

bisenetv2 convert-labels labelme/ -o own
bisenetv2 convert-labels instances_train.json --images train/ --split train -o own
bisenetv2 convert-labels instances_val.json --images val/ --split val -o own \
    --classes own/classes.txt
bisenetv2 convert-labels yolo/ -o own
bisenetv2 convert-labels colours/ --classes labelmap.txt -o own
bisenetv2 convert-labels own/masks --to coco -o shared
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

Format = Literal["index", "colour", "labelme", "coco", "yolo"]


def convert_labels(
    source: Annotated[Positional[Path], arg(metavar="SOURCE")],
    *,
    output: Annotated[Path, arg(aliases=["-o"])],
    source_format: Annotated[Format | None, arg(name="from")] = None,
    target_format: Annotated[Format | None, arg(name="to")] = None,
    classes: str | None = None,
    background: str | None = None,
    images: Path | None = None,
    split: str = "",
    clip: bool = False,
    ignore_unknown: bool = False,
    skip_broken: bool = False,
    overwrite: bool = False,
) -> int:
    """Convert labels to index masks, or index masks to colours and polygons.

    Index masks come as masks/NAME.png (grey value = class index, 255 = ignored) with classes.txt
    and, where the images are known, pairs.csv: a data set for --data. Polygons follow the borders
    of pixels, with holes bridged: what index masks become converts back to the same pixels (with
    --background none where ignored pixels and a class `background` are to stay apart).

    Overlaps: later shapes lie on top, in COCO smaller ones. Nothing is written unless all is well.
    A class list that labels in the output depend on stays: give it with --classes for another
    split.

    Args:
        source: labelme JSON (a folder or a file), COCO JSON (a file, or Roboflow's folder of
            splits), YOLO folder with its images, a folder of masks, or a data set as --data takes
            it, whose layout tells masks from images.
        output: Folder to write to.
        source_format: What the source is; recognised by default.
        target_format: What to write: index masks by default, anything else from index masks.
        classes: Class list, for order and colours: a file (classes.txt, labelmap.txt, ...), a
            dataset.yaml, YOLO's data.yaml, or built in: camvid, cityscapes, coco-stuff, ade20k,
            voc.
        background: Class of pixels that no shape covers; none: they are ignored. By default that
            of the class list, else `background` in front of the source's classes.
        images: Folder of the images, where the source does not say.
        split: train, val or test: names this part of a data set in the output; refused where the
            source has other splits.
        clip: Cut polygons off at the image's edge rather than refuse those that leave it.
        ignore_unknown: Ignore labels and colours that are not listed rather than refuse them.
        skip_broken: Leave out shapes that cannot be drawn, and tell how many, rather than refuse,
            if others remain.
        overwrite: Replace files that exist, a class list only with all that depends on it.
    """
    from bisenetv2.data.convert.classes import Options, read_class_list
    from bisenetv2.data.convert.run import convert

    done = convert(
        source,
        output,
        Options(
            classes=None if classes is None else read_class_list(classes),
            background=background,
            images=images,
            clip=clip,
            ignore_unknown=ignore_unknown,
        ),
        source_format=source_format,
        target_format=target_format,
        split=split,
        skip_broken=skip_broken,
        overwrite=overwrite,
        tell=lambda line: print(line, file=sys.stderr),
    )
    names = ", ".join(done.labels.names[:12]) + (", …" if len(done.labels) > 12 else "")
    print(
        f"{output}: {done.images} images, {done.source} to {done.target}, "
        f"{len(done.labels)} classes ({names}), {100 * done.ignored:.2f} % of the pixels ignored"
    )
    return 0
