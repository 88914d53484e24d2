"""Every choice the paper makes, ablates or leaves open, in one frozen object.

The paper contradicts itself on one point: its figures let the depth-wise convolution of a
Gather-and-Expansion layer expand the channels, its prose and its printed GFLOPs let the first 3×3
convolution do it. Hence two readings, chosen by name: `figures`, the default, draws the network of
Figures 3-7; `printed-cost` is the network whose cost equals the 22 GFLOPs the paper prints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bisenetv2.card import immutable
from bisenetv2.errors import UserError

Reading = Literal[
    "figures",
    "printed-cost",
    "common-code",
    "coincheung-first",
    "coincheung-2020-05",
    "coincheung-2020-09",
    "coincheung-2021-07",
    "mmseg",
    "paddleseg",
]
Size = Literal["base", "large"]

STAGES = ("S2", "S3", "S4", "S5", "CE")
"""Where a booster head may sit: after the stem, after S3, S4, S5 (before the CE block) or after
the CE block. Strides 4, 8, 16, 32 and 32."""


@dataclass(frozen=True)
class BiSeNetV2Config:
    """What network to build.

    Raises:
        UserError: If a value is out of range; the message says what is possible.
    """

    num_classes: int = 19
    """Planes of the logits, 1 to 255."""

    in_channels: int = 3
    """Channels of the input, 1 or more; 3 for RGB."""

    head_width: int = 128
    """C_t, channels between the head's two convolutions (Fig. 7; the paper gives no number)."""

    booster_width: int | tuple[int, ...] = 64
    """C_t of the booster heads, which exist in training only; one number, or one a booster."""

    boosters: tuple[str, ...] = ("S2", "S3", "S4", "S5")
    """Stages with a booster head (Fig. 3; Table 4 moves them); any of `STAGES`, in that order."""

    semantic_ratio: float = 1 / 4
    """λ (Table 3a): channels of the Semantic Branch over the Detail Branch's, in stem and S3."""

    expansion: int = 6
    """ε (Table 3c): channels inside a Gather-and-Expansion layer over those outside."""

    width: float = 1.0
    """α (Table 5): multiplies every channel count."""

    depth: int = 1
    """d (Table 5): multiplies the number of Gather-and-Expansion layers in S3, S4 and S5."""

    branches: Literal["both", "detail", "semantic"] = "both"
    """Which branches exist (Table 2)."""

    aggregation: Literal["bga", "sum", "concat"] = "bga"
    """How two branches become one (Table 2)."""

    context_embedding: bool = True
    """Whether the Context Embedding block ends the Semantic Branch (Table 3b)."""

    gather_kernel: Literal[1, 3] = 3
    """Side of the first convolution of a Gather-and-Expansion layer (Table 3b)."""

    double_depthwise: bool = True
    """Two 3×3 depth-wise convolutions at stride 2, as in Fig. 5c, or one 5×5 (Table 3b)."""

    expand_in: Literal["depthwise", "gather"] = "depthwise"
    """Which convolution expands: the depth-wise one (Fig. 5) or the first (prose and GFLOPs)."""

    stem_fuse_kernel: Literal[1, 3] = 3
    """Side of the stem's last convolution: 3 in Fig. 4a, 1 by the printed GFLOPs."""

    refine: bool = False
    """One more Gather-and-Expansion layer (ε = 2) before the head, as the printed GFLOPs imply."""

    gather_relu: bool = False
    """ReLU after the (last) depth-wise convolution: not in Fig. 5, but in the most used code."""

    context_tail: Literal["bare", "bn-relu"] = "bare"
    """After the CE block's 3×3 convolution: nothing in Fig. 4b, BN and ReLU in common code."""

    aggregation_relu: bool = False
    """ReLU after the aggregation's last BN: not in Fig. 6, but in common code."""

    upsample: Literal["bilinear", "bilinear-corners", "nearest"] = "bilinear"
    """Interpolation inside the aggregation: bilinear in Fig. 6, nearest in common code, and in its
    first version bilinear with the corners of both grids aligned."""

    conv_bias: bool = False
    """Whether every convolution has a bias beside its BN, as one public code base has."""

    pointwise_bias: bool = False
    """Whether the aggregation's two 1×1 convolutions have a bias, as another code base has."""

    stride2_padding: Literal["both", "end"] = "both"
    """Where convolutions of stride 2 pad: alike on both sides, or, as 'same' padding of some
    frameworks amounts to on even sides, one row and column less at the beginning."""

    pool_counts_padding: bool = True
    """Whether the aggregation's average pooling divides by padded positions too (PyTorch's way)."""

    logits_stride: Literal[1, 8] = 8
    """Side of the square of pixels that shares a logit. 1: the head's classifier gives 64 values a
    class and position, which a pixel shuffle spreads, as one generation of common code does."""

    def __post_init__(self) -> None:
        check_kinds(self)
        _in_range("num_classes", self.num_classes, 1, 255)
        _in_range("in_channels", self.in_channels, 1, 1024)
        _in_range("head_width", self.head_width, 1, 8192)
        for width in self.booster_widths:
            _in_range("booster_width", width, 1, 8192)
        _in_range("semantic_ratio", self.semantic_ratio, 1 / 64, 1)
        _in_range("expansion", self.expansion, 1, 64)
        _in_range("width", self.width, 1 / 16, 16)
        _in_range("depth", self.depth, 1, 64)
        if tuple(stage for stage in STAGES if stage in self.boosters) != self.boosters:
            raise UserError(f"boosters {self.boosters}: take some of {STAGES}, in that order")
        if self.boosters and self.branches == "detail":
            raise UserError(
                "boosters sit on the Semantic Branch: without one have none, by --network.boosters "
                "without a value (in Python boosters=())"
            )
        if "CE" in self.boosters and not self.context_embedding:
            raise UserError("booster CE: there is no CE block; leave it out of boosters")
        if len(self.booster_widths) != len(self.boosters):
            raise UserError(
                f"booster_width {self.booster_width} for boosters {self.boosters}: "
                "give one number, or one a booster"
            )
        if self.semantic_channels[0] < 2:
            raise UserError(
                f"semantic_ratio {self.semantic_ratio} at width {self.width}: the stem would have "
                f"{self.semantic_channels[0]} channels; it needs 2 or more"
            )

    @classmethod
    def from_fields(cls, content: dict[str, Any]) -> BiSeNetV2Config:
        """Builds a network's configuration from what `asdict` gives, as JSON and YAML have it.

        Raises:
            UserError: If a field is unknown or out of range.
        """
        unknown = sorted(content.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise UserError(
                f"unknown network options {', '.join(unknown)}: correct them or, if a newer "
                "version wrote them, update bisenetv2"
            )
        return cls(**{name: immutable(value) for name, value in content.items()})

    @property
    def detail_channels(self) -> tuple[int, int, int]:
        """Channels of S1, S2 and S3 of the Detail Branch."""
        return int(64 * self.width), int(64 * self.width), int(128 * self.width)

    @property
    def semantic_channels(self) -> tuple[int, int, int, int]:
        """Channels of the stem, S3, S4 and S5. λ scales those with a Detail counterpart only."""
        stem, s3 = int(64 * self.semantic_ratio), int(128 * self.semantic_ratio)
        stem_wide, s3_wide, s4, s5 = (int(c * self.width) for c in (stem, s3, 64, 128))
        return stem_wide, s3_wide, s4, s5

    @property
    def booster_widths(self) -> tuple[int, ...]:
        """C_t of each booster head, in the order of `boosters`."""
        if isinstance(self.booster_width, tuple):
            return self.booster_width
        return (self.booster_width,) * len(self.boosters)

    def without_boosters(self) -> BiSeNetV2Config:
        """Returns the configuration of the network for inference."""
        width = 64 if isinstance(self.booster_width, tuple) else self.booster_width
        return replace(self, boosters=(), booster_width=width)

    @classmethod
    def preset(
        cls, reading: Reading = "figures", size: Size = "base", **overrides: Any
    ) -> BiSeNetV2Config:
        """Returns a named network.

        Args:
            reading: A key of `PRESETS`.
            size: `base`, or `large` (α = 2, d = 3, head width at least 256; Table 5).
            **overrides: Fields to change.

        Raises:
            UserError: If a name or a field's value is unknown.
        """
        _check_kind(Reading, "reading", reading)
        _check_kind(Size, "size", size)
        config = cls(**PRESETS[reading])
        if size == "large":
            config = replace(config, width=2.0, depth=3, head_width=max(256, config.head_width))
        return replace(config, **overrides)


_COMMON: dict[str, Any] = {
    "gather_relu": True,
    "aggregation_relu": True,
    "context_tail": "bn-relu",
    "upsample": "nearest",
    "head_width": 1024,
}

PRESETS: dict[Reading, dict[str, Any]] = {
    "figures": {},
    "printed-cost": {
        "head_width": 64,
        "expand_in": "gather",
        "stem_fuse_kernel": 1,
        "refine": True,
    },
    "common-code": _COMMON,
    "coincheung-first": {
        "context_tail": "bn-relu",
        "upsample": "bilinear-corners",
        "head_width": 256,
        "booster_width": (32, 64, 128, 256),
    },
    "coincheung-2020-05": {**_COMMON, "upsample": "bilinear-corners", "booster_width": 128},
    "coincheung-2020-09": {**_COMMON, "logits_stride": 1},
    "coincheung-2021-07": _COMMON,
    "mmseg": {**_COMMON, "upsample": "bilinear", "pointwise_bias": True},
    "paddleseg": {
        "conv_bias": True,
        "stride2_padding": "end",
        "pool_counts_padding": False,
        "booster_width": (16, 32, 64, 128),
    },
}
"""What each named network changes of the defaults, which draw the figures.

`printed-cost` is the other reading of the paper. `common-code` is the most used public code as it
stands, under the name of its head generation `coincheung-2021-07`. The others are the networks of
public code whose checkpoints `bisenetv2 import` reads, by project (CoinCheung/BiSeNet also by date
of its head generation, `coincheung-first` being that of the first days of May 2020). Booster heads
of another layout than Fig. 7's are left at the default width.
"""


def check_kinds(options: object) -> None:
    """Checks the values of a dataclass's fields against their types: a file may hold anything.

    Raises:
        UserError: If one does not fit, for instance is none of those that a `Literal` lists.
    """
    kind: type = type(options)
    for name, hint in _hints(kind).items():
        _check_kind(hint, name, getattr(options, name))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _check_kind(hint: Any, name: str, value: object) -> None:
    if not _fits(hint, value):
        raise UserError(f"{name} {value!r}: expected {_in_words(hint)}")


def _fits(hint: Any, value: object) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value == each and type(value) is type(each) for each in inner)
    if origin is UnionType:
        return any(_fits(each, value) for each in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        hints = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(hints) == len(value) and all(map(_fits, hints, value))
    kinds = (int, float) if hint is float else hint
    return isinstance(value, kinds) and (hint is bool or not isinstance(value, bool))


def _in_words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is UnionType:
        return " or ".join(map(_in_words, inner))
    if origin is tuple:
        length = "" if inner[-1] is Ellipsis else f" of {len(inner)}"
        return f"a list{length}, each {_in_words(inner[0])}"
    words = {bool: "one of True, False", int: "a whole number", float: "a number such as 1.0e-3"}
    return words.get(hint, "text")


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name} {value}: expected {low} to {high}")
