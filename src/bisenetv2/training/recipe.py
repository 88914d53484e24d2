"""A recipe: everything a training run depends on, each option explained where it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from bisenetv2.card import immutable
from bisenetv2.errors import UserError
from bisenetv2.network.config import BiSeNetV2Config, check_kinds

PARTS = ("detail", "semantic", "aggregation", "refine")
"""Parts of the network below its heads, by the names of their modules: the backbone."""

LARGEST_CROP = 1 << 14
"""Longest side of a crop in pixels: longer ones are slips."""


@dataclass(frozen=True)
class Recipe:
    """One training run. Every field can be overridden on the command line.

    The paper's settings (section 2 of the specification; second-hand where it says so): SGD with
    momentum 0.9, batch 16, rate 0.05, poly 0.9, decay 5e-4 on convolution weights, no warm-up.

    Raises:
        UserError: If a value is out of range.
    """

    network: BiSeNetV2Config
    """The network; its number of classes follows the data's labels."""

    dataset: str = "any"
    """Data set it is meant for, a label; `streets`, rendered, is the one that needs no folder."""

    split: str = "train"
    """Split to train on; `trainval` leaves nothing to choose the best checkpoint on, so that it
    goes with an empty `val_split`."""

    val_split: str = "val"
    """Split to validate on; empty for none."""

    overfit: int = 0
    """Sanity mode: train and validate on this many samples, brought to the network's size, cut to
    the crop and not altered otherwise; 0 turns it off."""

    from_checkpoint: bool = False
    """Whether it makes sense only with --init."""

    iterations: int = 10_000
    """Optimiser steps (paper: Cityscapes 150,000, CamVid 10,000, COCO-Stuff 20,000)."""

    batch: int = 16
    """Frames an optimiser step, over all processes; 2 or more a process (paper: 16)."""

    accumulate: int = 1
    """Parts of a batch that are run one after the other, to fit memory. BN sees one at a time, and
    the loss is the mean of theirs, however many pixels of each count."""

    sync_bn: bool = False
    """Whether BN takes its statistics over all processes (paper: not known)."""

    crop: tuple[int, int] = (720, 960)
    """Height and width of the crop in pixels."""

    input_scale: float = 1.0
    """Side of the network's input over the frame's, 0.01 to 8, in training and when frames are
    segmented: crop and scales are multiplied by it, the crop's sides then rounded up to multiples
    of 32. Above 1 frames are enlarged (paper: 0.5 on Cityscapes, second-hand)."""

    scales: tuple[float, ...] = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    """Scale factors one of which is drawn (paper, second-hand: this set)."""

    continuous_scales: bool = False
    """Draw from the whole range between the ends of `scales` instead."""

    progressive: tuple[float, ...] = (0.5,)
    """Progressive resolution: factors of crop and scales in the stages that open a run, in order,
    above 0, at most 1. The stages are of one length."""

    progressive_share: float = 0.0
    """Share of the iterations spent in these stages, 0 to 1. A trunk has none."""

    progressive_batch: int = 16
    """Frames a step in these stages: smaller frames leave room for more."""

    jitter: float = 0.0
    """Largest relative change of brightness, contrast and saturation, 0 to 1 (paper: none)."""

    cast: float = 0.0
    """Largest relative change of red, green and blue each on its own, 0 to 1 (paper: none)."""

    gamma: float = 0.0
    """Largest factor of the exponent of brightness less 1, either way, 0 to 1 (paper: none)."""

    blur: float = 0.0
    """Largest standard deviation of a blur in pixels, 0 to 20; half of the crops stay sharp (paper:
    none)."""

    rotation: float = 0.0
    """Largest rotation in degrees, either way, 0 to 180 (paper: none)."""

    stretch: float = 0.0
    """Largest factor less 1 between width and height, either way, 0 to 1 (paper: none)."""

    cutmix: float = 0.0
    """Probability of a crop's getting a rectangle of another, 0 to 1 (paper: none)."""

    rare_classes: tuple[str, ...] = ()
    """Classes that crops prefer, by name."""

    rare_share: float = 0.0
    """Probability that a crop is aimed at one of them."""

    streets_share: float = 0.0
    """Share of rendered streets mixed into the samples, 0 to 1."""

    schedule: Literal["poly", "trunk"] = "poly"
    """`poly` falls to 0 at the end. `trunk` stays at the peak rate: go on with it as long as you
    like (--resume --iterations N) and ship at any point by `bisenetv2 cooldown`."""

    rate: float = 0.05
    """Peak learning rate (paper: 0.05)."""

    power: float = 0.9
    """Exponent of the poly schedule (paper: 0.9)."""

    hold: float = 0.0
    """Share of the iterations before poly falls, those of the warm-up among them, 0 to 1."""

    warmup: int = 0
    """Iterations of linear rise to the peak rate (paper: none mentioned). Poly and `hold` count
    from step 0, as in mmsegmentation: without a longer `hold` poly is below the peak by then."""

    momentum: float = 0.9
    """Momentum of SGD (paper: 0.9)."""

    weight_decay: float = 5e-4
    """Decay of convolution weights; BN and biases have none (paper: 5e-4, COCO-Stuff 1e-4)."""

    clip: float = 0.0
    """Largest norm of the gradient over all weights, scaled down to it; 0 leaves it (paper: none).
    """

    backbone_rate: float = 1.0
    """Factor of the rate below the heads, 0 to 1; fine-tuning takes 0.1 (paper: 1)."""

    freeze: tuple[str, ...] = ()
    """Parts whose weights and BN statistics stay as they are: detail, semantic, aggregation, and
    refine of networks that have it."""

    booster_weight: float | tuple[float, ...] = 1.0
    """Factor of the boosters' losses; one number, or one a booster (paper: not given)."""

    class_weights: Literal["none", "log"] = "none"
    """`log`: a pixel of a class of share p weighs 1 / ln(1.02 + p), p counted on the training data
    (ENet's rule; paper: none)."""

    ohem: bool = False
    """Online hard example mining on the main head (paper: the last row of Table 2)."""

    ohem_threshold: float = 0.7
    """A pixel is hard if its true class has a lower probability, 0 to 1 (common; not in paper)."""

    ohem_share: float = 1 / 16
    """Least share of the labelled pixels that is kept, 0 to 1 (common; not in paper)."""

    dice: float = 0.0
    """Factor of the soft Dice loss on the main head, taken at `booster_stride` (paper: none)."""

    lovasz: float = 0.0
    """Factor of the Lovász-softmax loss on the main head, taken at `booster_stride`, since it sorts
    all pixels once for each class (paper: none); 1 is common."""

    loss_stride: int = 1
    """Stride at which the main loss is taken: 1, the full resolution, or 2, 4, 8, 16 or 32."""

    booster_stride: int = 1
    """Stride at which the boosters' losses, Dice and Lovász are taken, one of the same."""

    average: float = 0.999
    """Decay of the weight average that is validated and kept; 0 turns it off (paper: none)."""

    recalibrate: int = 0
    """Frames, unaltered but for mirroring, over which the statistics of batch normalisation are
    taken anew for the network that is validated and kept; 0 leaves those gathered in training
    (paper: none)."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast to bfloat16 where the machine computes in it, or always, or never."""

    seed: int = 0
    """Seed of initialisation, order and augmentation, 0 or above."""

    deterministic: bool = False
    """Take deterministic kernels only, and warn where a GPU has none; a CPU repeats anyway."""

    val_every: int = 500
    """Iterations between validations."""

    patience: int = 0
    """Stop after this many validations in a row without a better one; 0 never stops early."""

    save_every: int = 200
    """Iterations between saved states."""

    def __post_init__(self) -> None:
        check_kinds(self)
        for name in ("batch", "progressive_batch"):
            # Batch normalisation of the CE block sees one value a frame and channel.
            self._check(name, getattr(self, name) >= 2, "2 or more, as batch normalisation needs")
        for name in ("iterations", "accumulate", "val_every", "save_every"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        for name in (
            "overfit", "warmup", "seed", "power", "weight_decay", "clip", "dice", "lovasz",
            "recalibrate", "patience",
        ):  # fmt: skip
            self._check(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        self._check("seed", self.seed < 2**63, "less than 2^63")
        self._check("input_scale", 0.01 <= self.input_scale <= 8, "0.01 to 8")
        fits = bool(self.scales) and all(0.01 <= scale <= 100 for scale in self.scales)
        self._check("scales", fits, "factors of 0.01 to 100")
        larger = max(1.0, self.input_scale)
        fits = all(0 < side * larger <= LARGEST_CROP for side in self.crop)
        self._check("crop", fits, f"sides of at most {LARGEST_CROP} pixels, scaled ones too")
        for name in (
            "progressive_share", "jitter", "cast", "gamma", "stretch", "cutmix", "rare_share",
            "streets_share", "hold", "backbone_rate", "ohem_threshold", "ohem_share",
        ):  # fmt: skip
            self._check(name, 0 <= getattr(self, name) <= 1, "0 to 1")
        for name in ("average", "momentum"):
            self._check(name, 0 <= getattr(self, name) < 1, "0 or more and less than 1")
        for name in ("loss_stride", "booster_stride"):
            # The sides of a crop are multiples of these, so that every block is whole.
            self._check(name, getattr(self, name) in (1, 2, 4, 8, 16, 32), "1, 2, 4, 8, 16 or 32")
        if self.network.in_channels != 3:
            raise UserError(f"in_channels {self.network.in_channels}: data sets hold RGB, 3")
        self._check("rate", 0 < self.rate <= 10, "more than 0, at most 10")
        factors = self.progressive
        fits = bool(factors) and all(0 < factor <= 1 for factor in factors)
        self._check("progressive", fits, "factors above 0, at most 1")
        self._check("freeze", set(self.freeze) <= set(PARTS), f"some of {', '.join(PARTS)}")
        given = self.booster_weight
        weights = given if isinstance(given, tuple) else (given,)
        fits = all(0 <= weight < math.inf for weight in weights)
        self._check("booster_weight", fits, "0 or more")
        wanted = len(self.network.boosters)
        fits = len(self.booster_weights) == wanted
        self._check("booster_weight", fits, f"one number, or {wanted} of them")
        self._check(
            "patience", not self.patience or bool(self.val_split or self.overfit),
            "0 without a val_split",
        )  # fmt: skip

    @property
    def booster_weights(self) -> tuple[float, ...]:
        """Factor of each booster's loss, in the order of the network's `boosters`."""
        if isinstance(self.booster_weight, tuple):
            return self.booster_weight
        return (self.booster_weight,) * len(self.network.boosters)

    @property
    def validated_on(self) -> str:
        """Name of the split that is validated on, `overfit` for that mode; empty for none."""
        return "overfit" if self.overfit else self.val_split

    @classmethod
    def from_fields(cls, content: dict[str, Any]) -> Recipe:
        """Builds a recipe from what `asdict` gives, lists standing for tuples, as YAML has it.

        Raises:
            UserError: If a field is unknown or out of range, or there is no network.
        """
        known = {field.name for field in fields(cls)}
        content = dict(content)
        if isinstance(content.get("shrink"), int) and content["shrink"] >= 1:
            content["input_scale"] = 1 / content.pop("shrink")  # as earlier versions wrote it
        unknown = sorted(content.keys() - known)
        if unknown:
            raise UserError(
                f"unknown options {', '.join(unknown)}: correct them or, if another version wrote "
                "them, name the recipe and its options anew"
            )
        values = {name: immutable(value) for name, value in content.items()}
        try:
            values["network"] = BiSeNetV2Config.from_fields(values["network"])
        except (KeyError, AttributeError) as error:
            raise UserError("not a recipe: it describes no network") from error
        return cls(**values)

    def _check(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            raise UserError(f"{name} {getattr(self, name)}: expected {expected}")
