"""Labels of the public data sets a recipe or a command may name.

Sources of the names and ids: the Cityscapes label definitions (https://www.cityscapes-dataset.com)
and the label list of COCO-Stuff (https://github.com/nightrome/cocostuff).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bisenetv2.errors import UserError
from bisenetv2.labels import CAMVID, IGNORE_INDEX, Color, Labels


def builtin_labels(name: str) -> Labels:
    """Returns the labels of the data set called `name`, a key of `BUILTIN`.

    Raises:
        UserError: If no such data set is built in.
    """
    if name not in BUILTIN:
        raise UserError(f"no built-in labels {name!r}: take one of {', '.join(BUILTIN)}")
    return BUILTIN[name]


_CITYSCAPES_CLASSES: tuple[tuple[int, str, Color], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
"""Id in `*_labelIds.png`, name and colour of every class that is evaluated, by train id."""


def _cityscapes() -> Labels:
    raw_ids = dict.fromkeys(range(34), IGNORE_INDEX)
    raw_ids.update({raw: index for index, (raw, _, _) in enumerate(_CITYSCAPES_CLASSES)})
    return Labels(
        names=tuple(name for _, name, _ in _CITYSCAPES_CLASSES),
        palette=tuple(color for _, _, color in _CITYSCAPES_CLASSES),
        raw_ids=tuple(raw_ids.items()),
    )


CITYSCAPES = _cityscapes()
"""The 19 classes of Cityscapes by train id, in the official colours.

Raw ids are the 34 of `*_labelIds.png`; those outside the evaluation map to the ignore index.
"""


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(","))


_COCO_THINGS = _names(
    """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light,
    fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant,
    bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard,
    sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle,
    wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
    hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
    mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock,
    vase, scissors, teddy bear, hair drier, toothbrush"""
)

_COCO_STUFFS = _names(
    """banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet,
    ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff,
    dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower,
    fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves,
    light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow,
    plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug,
    salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
    structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete,
    wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind,
    window-other, wood"""
)

_COCO_UNUSED = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})
"""Ids of things that COCO defined (1-based) and then removed: no pixel is annotated with them."""


def _spread_color(index: int) -> Color:
    """Returns a colour of the 6×6×6 cube that lies far from those of neighbouring indices.

    95 shares no divisor with 216, so that no two of the indices 0-214 get the same colour and none
    gets black, the colour of ignored pixels. The cube's steps are 51 apart.
    """
    code = 95 * (index + 1) % 216
    return 51 * (code // 36), 51 * (code // 6 % 6), 51 * (code % 6)


def _coco_stuff() -> Labels:
    names = _COCO_THINGS + _COCO_STUFFS
    raw_ids: list[tuple[int, int]] = []
    classes = 0
    for coco_id in range(1, 183):
        if coco_id in _COCO_UNUSED:
            raw_ids.append((coco_id - 1, IGNORE_INDEX))
        else:
            raw_ids.append((coco_id - 1, classes))
            classes += 1
    return Labels(
        names=names,
        palette=tuple(_spread_color(index) for index in range(len(names))),
        raw_ids=tuple(raw_ids),
    )


COCO_STUFF = _coco_stuff()
"""The 171 classes of COCO-Stuff: 80 things, then 91 kinds of stuff, in the order of their ids.

Raw ids are those of the `stuffthingmaps` PNGs: COCO's ids 1-182 less one, 255 where unlabelled. The
11 removed ids map to the ignore index. COCO-Stuff has no palette that everyone agrees on; here
class `i` has the colour numbered `95 * (i + 1) % 216` in the 6×6×6 colour cube.
"""

BUILTIN: Mapping[str, Labels] = MappingProxyType(
    {"camvid": CAMVID, "cityscapes": CITYSCAPES, "coco-stuff": COCO_STUFF}
)
"""The built-in labels by name."""
