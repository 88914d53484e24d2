"""The public projects whose checkpoints are read: whose names mean which of our modules.

A row of a table maps a module of theirs to the module of ours that holds the same weights; `*`
stands for one part of a dotted name and goes over as it is. What no row maps has to have a reason
in `LEFT_OUT`, or the file is refused: so every tensor is used or accounted for by construction.

Layouts as in the code of CoinCheung/BiSeNet (MIT), open-mmlab/mmsegmentation (Apache-2.0) and
PaddlePaddle/PaddleSeg (Apache-2.0); only names and shapes are taken from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bisenetv2.network.config import Reading

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Project:
    """A code base: how its files are told apart, what it names things, how it feeds frames."""

    name: str
    licence: str
    """Licence of its code."""

    signature: str
    """A tensor that only files of this project hold: the first of the Detail Branch."""

    parts: Mapping[str, str]
    """Parts of a dotted name that stand for another of ours wherever they occur."""

    trunk: Rows
    """All but head and booster, which depend on the generation."""

    statistics: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
    """Mean and deviation of the input, RGB on a scale of 0-1, by name of labels; "" for others."""


@dataclass(frozen=True)
class Family:
    """One layout of one project: a preset of the network, and the rows of its heads."""

    reading: Reading
    """Preset of `BiSeNetV2Config`; also the family's name."""

    project: Project
    head: Rows
    """The main head's convolution and classifier, then those of booster heads."""

    when: str
    """When the project's code was of this layout."""

    input_scale: float = 1.0
    """Side of the network's input over the frame's in the project's own evaluation."""

    @property
    def classifier(self) -> str:
        """Name of the weight of the main head's classifier."""
        return f"{self.head[1][0]}.weight"


def _conv_bn(theirs: str, ours: str) -> Rows:
    """Rows of a convolution and its BatchNorm, which the project only numbers."""
    return (f"{theirs}.0", f"{ours}.conv"), (f"{theirs}.1", f"{ours}.bn")


def _heads(conv: str, classifier: str, boosters: Iterable[str] = (), main: str = "head") -> Rows:
    """Rows of the main head and of the booster heads behind S2, S3, S4 and S5."""
    ours = ("head", "boosters.S2", "boosters.S3", "boosters.S4", "boosters.S5")
    return tuple(
        row
        for their, our in zip((main, *boosters), ours, strict=False)
        for row in (
            (f"{their}.{conv}.*", f"{our}.conv.*"),
            (f"{their}.{classifier}", f"{our}.classifier"),
        )
    )


LEFT_OUT: Rows = (
    ("*num_batches_tracked", "counters that nothing reads"),
    ("aux*", "booster heads of another layout than Fig. 7's"),
)
"""Beginning or end of a name, and why tensors of such a name are not used where no row maps them"""

_COINCHEUNG = Project(
    name="CoinCheung/BiSeNet",
    licence="MIT",
    signature="detail.S1.0.conv.weight",
    parts={"S1S2": "S2", "S5_4": "S5", "S5_5": "CE"},
    trunk=(
        ("detail.*.*.*", "detail.*.*.*"),
        ("segment.S2.conv.*", "semantic.S2.first.*"),
        ("segment.S2.left.*.*", "semantic.S2.left.*.*"),
        ("segment.S2.fuse.*", "semantic.S2.fuse.*"),
        ("segment.*.*.conv1.*", "semantic.*.*.gather.*"),
        *_conv_bn("segment.*.*.dwconv", "semantic.*.*.depthwise.0"),
        *_conv_bn("segment.*.*.dwconv1", "semantic.*.*.depthwise.0"),
        *_conv_bn("segment.*.*.dwconv2", "semantic.*.*.depthwise.1"),
        *_conv_bn("segment.*.*.conv2", "semantic.*.*.project"),
        *_conv_bn("segment.*.*.shortcut", "semantic.*.*.shortcut.0"),
        ("segment.*.*.shortcut.2", "semantic.*.*.shortcut.1.conv"),
        ("segment.*.*.shortcut.3", "semantic.*.*.shortcut.1.bn"),
        ("segment.CE.bn", "semantic.CE.bn"),
        ("segment.CE.conv_gap.*", "semantic.CE.embed.*"),
        ("segment.CE.conv_last.*", "semantic.CE.mix.*"),
        *_conv_bn("bga.left1", "aggregation.detail_keep.0"),
        ("bga.left1.2", "aggregation.detail_keep.1"),
        *_conv_bn("bga.left2", "aggregation.detail_down.0"),
        *_conv_bn("bga.right1", "aggregation.semantic_up"),
        *_conv_bn("bga.right2", "aggregation.semantic_keep.0"),
        ("bga.right2.2", "aggregation.semantic_keep.1"),
        *_conv_bn("bga.conv", "aggregation.fuse"),
    ),
    statistics={
        "": ((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)),
        "coco-stuff": ((0.46962251, 0.4464104, 0.40718787), (0.27469736, 0.27012361, 0.28515933)),
        "ade20k": ((0.49343230, 0.46819794, 0.43106043), (0.25680755, 0.25506608, 0.27422913)),
    },
)

_MMSEG = Project(
    name="open-mmlab/mmsegmentation",
    licence="Apache-2.0",
    signature="backbone.detail.detail_branch.0.0.conv.weight",
    parts={"stage1": "S2", "stage2": "S3", "stage3": "S4", "stage4": "S5", "stage4_CEBlock": "CE"},
    trunk=(
        ("backbone.detail.detail_branch.0.*.*", "detail.S1.*.*"),
        ("backbone.detail.detail_branch.1.*.*", "detail.S2.*.*"),
        ("backbone.detail.detail_branch.2.*.*", "detail.S3.*.*"),
        ("backbone.semantic.S2.conv_first.*", "semantic.S2.first.*"),
        ("backbone.semantic.S2.convs.*.*", "semantic.S2.left.*.*"),
        ("backbone.semantic.S2.fuse_last.*", "semantic.S2.fuse.*"),
        ("backbone.semantic.*.*.conv1.*", "semantic.*.*.gather.*"),
        ("backbone.semantic.*.*.dwconv.*.*", "semantic.*.*.depthwise.*.*"),
        ("backbone.semantic.*.*.conv2.0.*", "semantic.*.*.project.*"),
        ("backbone.semantic.*.*.shortcut.0.depthwise_conv.*", "semantic.*.*.shortcut.0.*"),
        ("backbone.semantic.*.*.shortcut.0.pointwise_conv.*", "semantic.*.*.shortcut.1.*"),
        ("backbone.semantic.CE.gap.1", "semantic.CE.bn"),
        ("backbone.semantic.CE.conv_gap.*", "semantic.CE.embed.*"),
        ("backbone.semantic.CE.conv_last.*", "semantic.CE.mix.*"),
        ("backbone.bga.detail_dwconv.0.depthwise_conv.*", "aggregation.detail_keep.0.*"),
        ("backbone.bga.detail_dwconv.0.pointwise_conv.conv", "aggregation.detail_keep.1"),
        ("backbone.bga.detail_down.0.*", "aggregation.detail_down.0.*"),
        ("backbone.bga.semantic_conv.0.*", "aggregation.semantic_up.*"),
        ("backbone.bga.semantic_dwconv.0.depthwise_conv.*", "aggregation.semantic_keep.0.*"),
        ("backbone.bga.semantic_dwconv.0.pointwise_conv.conv", "aggregation.semantic_keep.1"),
        ("backbone.bga.conv.*", "aggregation.fuse.*"),
    ),
    statistics={"": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))},
)

_PADDLESEG = Project(
    name="PaddlePaddle/PaddleSeg",
    licence="Apache-2.0",
    signature="db.convs.0._conv.weight",
    parts={
        "_conv": "conv",
        "_batch_norm": "bn",
        "_mean": "running_mean",
        "_variance": "running_var",
        "stage3": "S3",
        "stage4": "S4",
        "stage5_4": "S5",
    },
    trunk=(
        ("db.convs.0.*", "detail.S1.0.*"),
        ("db.convs.1.*", "detail.S1.1.*"),
        ("db.convs.2.*", "detail.S2.0.*"),
        ("db.convs.3.*", "detail.S2.1.*"),
        ("db.convs.4.*", "detail.S2.2.*"),
        ("db.convs.5.*", "detail.S3.0.*"),
        ("db.convs.6.*", "detail.S3.1.*"),
        ("db.convs.7.*", "detail.S3.2.*"),
        ("sb.stem.conv.*", "semantic.S2.first.*"),
        ("sb.stem.left.*.*", "semantic.S2.left.*.*"),
        ("sb.stem.fuse.*", "semantic.S2.fuse.*"),
        ("sb.*.*.conv.0.*", "semantic.*.*.gather.*"),
        ("sb.*.*.conv.1.depthwise_conv.*", "semantic.*.*.depthwise.0.*"),
        ("sb.*.*.conv.2.*", "semantic.*.*.project.*"),
        ("sb.*.*.branch_1.0.*", "semantic.*.*.gather.*"),
        ("sb.*.*.branch_1.1.depthwise_conv.*", "semantic.*.*.depthwise.0.*"),
        ("sb.*.*.branch_1.2.depthwise_conv.*", "semantic.*.*.depthwise.1.*"),
        ("sb.*.*.branch_1.3.*", "semantic.*.*.project.*"),
        ("sb.*.*.branch_2.0.depthwise_conv.*", "semantic.*.*.shortcut.0.*"),
        ("sb.*.*.branch_2.1.*", "semantic.*.*.shortcut.1.*"),
        ("sb.ce.bn", "semantic.CE.bn"),
        ("sb.ce.conv_1x1.*", "semantic.CE.embed.*"),
        ("sb.ce.conv_3x3", "semantic.CE.mix"),
        ("bga.db_branch_keep.0.depthwise_conv.*", "aggregation.detail_keep.0.*"),
        ("bga.db_branch_keep.1", "aggregation.detail_keep.1"),
        ("bga.db_branch_down.0.*", "aggregation.detail_down.0.*"),
        ("bga.sb_branch_up.*", "aggregation.semantic_up.*"),
        ("bga.sb_branch_keep.0.depthwise_conv.*", "aggregation.semantic_keep.0.*"),
        ("bga.sb_branch_keep.1", "aggregation.semantic_keep.1"),
        ("bga.conv.*", "aggregation.fuse.*"),
    ),
    statistics={"": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))},
)

_COINCHEUNG_2020_05 = _heads("conv", "conv_out", ("aux2", "aux3", "aux4", "aux5_4"))

FAMILIES: tuple[Family, ...] = (
    Family(
        reading="coincheung-2021-07",
        project=_COINCHEUNG,
        head=_heads("conv", "conv_out.1"),
        when="since July 2021",
    ),
    Family(
        reading="coincheung-2020-09",
        project=_COINCHEUNG,
        head=_heads("conv", "conv_out.0"),
        when="September 2020 to June 2021, pixel-shuffle heads",
    ),
    Family(
        reading="coincheung-2020-05",
        project=_COINCHEUNG,
        head=_COINCHEUNG_2020_05,
        when="29 May to September 2020",
    ),
    Family(
        reading="coincheung-first",
        project=_COINCHEUNG,
        head=_COINCHEUNG_2020_05,
        when="until 28 May 2020",
        input_scale=0.5,
    ),
    Family(
        reading="mmseg",
        project=_MMSEG,
        head=_heads("convs.0", "conv_seg", main="decode_head"),
        when="since September 2021",
    ),
    Family(
        reading="paddleseg",
        project=_PADDLESEG,
        head=_heads("conv_3x3.0", "conv_1x1", [f"aux_head{n}" for n in (1, 2, 3, 4)]),
        when="since December 2020",
    ),
)
"""In the order in which they are tried; of one project, the newest first."""

FIRST_HEAD_WIDTH = 256
"""Head width of `coincheung-first`, whose names are those of the generation after it."""
