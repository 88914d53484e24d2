"""Recipes: everything a training run depends on, each option explained where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bisenetv2.errors import UserError
from bisenetv2.network.config import BiSeNetV2Config


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

    dataset: Literal["camvid", "streets"] = "camvid"
    """CamVid's folders, or rendered streets, which need no download."""

    split: str = "train"
    """Split to train on; `trainval` leaves nothing to choose the best checkpoint on."""

    val_split: str = "val"
    """Split to validate on; empty for none."""

    iterations: int = 10_000
    """Optimiser steps (paper, CamVid: 10,000)."""

    batch: int = 16
    """Frames a step, 2 or more (paper: 16)."""

    crop: tuple[int, int] = (720, 960)
    """Height and width of the crop in pixels, rounded up to multiples of 32."""

    scales: tuple[float, ...] = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    """Scale factors one of which is drawn (paper, second-hand: this set)."""

    continuous_scales: bool = False
    """Draw from the whole range between the ends of `scales` instead."""

    warm_share: float = 0.0
    """Share of the iterations spent first on small crops: progressive resolution, 0 to 1."""

    warm_crop: tuple[int, int] = (192, 256)
    """Crop of that first phase."""

    warm_scales: tuple[float, ...] = (0.35, 1.0)
    """Scales of that first phase."""

    warm_batch: int = 16
    """Frames a step in that first phase."""

    jitter: float = 0.0
    """Largest relative change of brightness, contrast and saturation, 0 to 1 (paper: none)."""

    rare_classes: tuple[str, ...] = ()
    """Classes that crops prefer, by name."""

    rare_share: float = 0.0
    """Probability that a crop is aimed at one of them."""

    streets_share: float = 0.0
    """Share of rendered streets mixed into the samples, 0 to 1."""

    rate: float = 0.05
    """Peak learning rate (paper: 0.05)."""

    power: float = 0.9
    """Exponent of the poly schedule (paper: 0.9)."""

    hold: float = 0.0
    """Share of the iterations at the peak rate before it falls; 1 is a trunk to go on from."""

    warmup: int = 0
    """Iterations of linear rise to the peak rate (paper: none mentioned)."""

    momentum: float = 0.9
    """Momentum of SGD (paper: 0.9)."""

    weight_decay: float = 5e-4
    """Decay of convolution weights; BN and biases have none (paper: 5e-4, COCO-Stuff 1e-4)."""

    booster_weight: float = 1.0
    """Factor of each booster's loss (paper: not given)."""

    ohem: bool = False
    """Online hard example mining on the main head (paper: the last row of Table 2)."""

    lovasz: float = 0.0
    """Factor of the Lovász-softmax loss on the main head (paper: none); 1 is common."""

    loss_stride: int = 1
    """Stride at which the main loss is taken: 1, the full resolution, or 2, 4, 8, 16 or 32."""

    booster_stride: int = 1
    """Stride at which the boosters' losses are taken, one of the same."""

    average: float = 0.999
    """Decay of the weight average that is validated and kept; 0 turns it off (paper: none)."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast to bfloat16 where the machine computes in it, or always, or never."""

    seed: int = 0
    """Seed of initialisation, order and augmentation, 0 or above."""

    val_every: int = 500
    """Iterations between validations."""

    save_every: int = 200
    """Iterations between saved states."""

    def __post_init__(self) -> None:
        for name in ("batch", "warm_batch"):
            # Batch normalisation of the CE block sees one value a frame and channel.
            self._check(name, getattr(self, name) >= 2, "2 or more, as batch normalisation needs")
        for name in ("iterations", "val_every", "save_every"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        for name in ("warmup", "seed", "power", "weight_decay", "booster_weight", "lovasz"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        for name in ("warm_share", "jitter", "rare_share", "streets_share", "hold"):
            self._check(name, 0 <= getattr(self, name) <= 1, "0 to 1")
        for name in ("average", "momentum"):
            self._check(name, 0 <= getattr(self, name) < 1, "0 or more and less than 1")
        for name in ("loss_stride", "booster_stride"):
            # The sides of a crop are multiples of these, so that every block is whole.
            self._check(name, getattr(self, name) in (1, 2, 4, 8, 16, 32), "1, 2, 4, 8, 16 or 32")
        self._check("rate", 0 < self.rate <= 10, "more than 0, at most 10")

    def _check(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            raise UserError(f"{name} {getattr(self, name)}: expected {expected}")


RARE_IN_CAMVID = ("Pole", "SignSymbol", "Fence", "Pedestrian", "Bicyclist")

RECIPES: dict[str, Recipe] = {
    "camvid-paper": Recipe(network=BiSeNetV2Config(head_width=64), split="trainval", val_split=""),
    "camvid": Recipe(
        network=BiSeNetV2Config(),
        crop=(352, 480),
        batch=8,
        scales=(0.6, 1.8),
        continuous_scales=True,
        iterations=4200,
        warm_share=0.45,
        warm_crop=(192, 256),
        warm_scales=(0.35, 1.0),
        warm_batch=16,
        jitter=0.3,
        rare_classes=RARE_IN_CAMVID,
        rare_share=0.4,
        streets_share=0.3,  # +2.1 % mIoU on val after 200 steps at half scale from one start
        hold=0.6,
        warmup=100,
        booster_weight=0.5,
        ohem=True,
        loss_stride=2,
        booster_stride=4,
        average=0.998,
    ),
    "streets": Recipe(
        network=BiSeNetV2Config(),
        dataset="streets",
        crop=(192, 256),
        batch=8,
        scales=(0.5, 1.0),
        iterations=1000,
        loss_stride=4,
        booster_stride=8,
        warmup=20,
        average=0.99,
        val_every=250,
    ),
}
"""Recipes by name."""
