"""The named recipes: every row that the paper prints for its own network, and the house's own.

The settings are those of section 2 of the specification. No official code exists; what the paper
leaves open, or what is known second-hand, is said in each recipe's `doubts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bisenetv2.errors import UserError
from bisenetv2.network.config import STAGES, BiSeNetV2Config
from bisenetv2.training.recipe import Recipe


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe, what it reproduces, and how sure that is."""

    recipe: Recipe
    """Its settings."""

    about: str
    """What it trains, in a line."""

    printed: str = ""
    """Figure that the paper prints for it, with split; empty if it is none of the paper's."""

    doubts: str = ""
    """Which of its settings or figures are uncertain."""


_NETWORK = (
    "The head's width is not given (64 by the printed GFLOPs), nor are the boosters' weights; "
    "whether the figures or the printed cost (network preset printed-cost) describe the network "
    "that was trained is open, and so is synchronised BN."
)
_SCALES = "The set of scales is second-hand."
_OHEM = "Threshold and share of OHEM are not in the paper."
_MEMORY = "The printed mIoU is from memory, unverified."

_PAPER = Recipe(
    network=BiSeNetV2Config(head_width=64),
    dataset="cityscapes",
    iterations=150_000,
    crop=(1024, 2048),
    input_scale=0.5,
    ohem=True,
    average=0.0,
    val_every=5000,
    save_every=1000,
)
_LARGE = BiSeNetV2Config.preset("figures", "large")

_CROP = "The crop of 2048×1024, then halved, is second-hand."
_CITYSCAPES = f"{_CROP} {_SCALES} {_OHEM} {_NETWORK}"


def _paper() -> dict[str, NamedRecipe]:
    """Cityscapes, CamVid and COCO-Stuff-10k (Tables 7, 8 and 9)."""
    camvid = replace(
        _PAPER, dataset="camvid", split="trainval", val_split="", iterations=10_000,
        crop=(720, 960), input_scale=1.0, save_every=500,
    )  # fmt: skip
    coco = replace(
        _PAPER, dataset="coco-stuff-10k", iterations=20_000, crop=(640, 640), input_scale=1.0,
        weight_decay=1e-4, val_every=2000, save_every=500,
    )  # fmt: skip
    camvid_doubts = (
        "The crop of 960×720 and training on train+val are from memory; figures are of frames of "
        f"960×720. Whether OHEM was on is not known. {_SCALES} {_NETWORK}"
    )
    start_doubts = (
        "The rate and the number of iterations from a Cityscapes checkpoint are not known: those "
        f"from scratch are taken. {camvid_doubts}"
    )
    coco_doubts = (
        "Crop and split (9k train, 1k test) are second-hand, 171 of 182 labels from memory; how "
        f"frames were brought to 640×640 is not known, nor whether OHEM was on. {_SCALES} "
        f"{_NETWORK}"
    )
    rows: tuple[tuple[str, Recipe, str, str, str, str], ...] = (
        ("cityscapes", _PAPER, "Cityscapes", "73.36 % mIoU on val, 72.6 % on test",
         "75.8 % mIoU on val, 75.3 % on test",
         f"{_CITYSCAPES} The test figure was trained on train+val, second-hand."),
        ("camvid-paper", camvid, "CamVid from scratch", "72.4 % mIoU on test",
         "73.2 % mIoU on test", camvid_doubts),
        ("camvid-paper-from-cityscapes", replace(camvid, from_checkpoint=True),
         "CamVid from a Cityscapes checkpoint (--init)", "76.7 % mIoU on test",
         "78.5 % mIoU on test", start_doubts),
        ("coco-stuff-10k", coco, "COCO-Stuff-10k", "25.2 % mIoU, pixel accuracy 60.5 %",
         "28.7 % mIoU, pixel accuracy 63.5 %", coco_doubts),
    )  # fmt: skip
    named = {}
    for name, recipe, data, base, large, doubts in rows:
        named[name] = NamedRecipe(recipe, f"V2 on {data}", base, doubts)
        big = replace(recipe, network=_LARGE)
        named[_large(name)] = NamedRecipe(
            big, f"V2-Large on {data}", large,
            f"What α = 2 and d = 3 multiply is inferred from arithmetic. {doubts}",
        )  # fmt: skip
    return named


def _large(name: str) -> str:
    stem, join, rest = name.partition("-from-")
    return f"{stem}-large{join}{rest}"


_TRUNK: dict[str, Any] = {"boosters": ()}
"""Rows of Tables 2, 3 and 4 without booster."""


def _ablations() -> dict[str, NamedRecipe]:
    """The rows of Tables 2 to 5, Cityscapes val (specification 4.4)."""
    ratios = ((2, "69.66"), (8, "69.26"), (16, "68.27"))
    expansions = ((1, "67.48"), (2, "68.41"), (4, "68.78"), (8, "68.99"))
    places = (STAGES, ("S3", "S4", "S5"), ("S4", "S5"), ("S5",), ("S2", "S3", "S4"))
    widths = ((1.25, "73.61"), (1.5, "74.67"), (1.75, "74.04"), (2.0, "75.11"))
    depths = ((2, "74.10"), (3, "74.28"), (4, "74.02"))
    one_of = "one of 73.04, 71.62, 72.84, 72.68, 73.03 %"
    unmapped = "The printed mIoUs are from memory, and which row is which is uncertain."
    rows: list[tuple[str, str, dict[str, Any], str, str]] = [
        ("detail", "Table 2: Detail Branch alone", {**_TRUNK, "branches": "detail"}, "62.35", ""),
        ("semantic", "Table 2: Semantic Branch alone", {**_TRUNK, "branches": "semantic"},
         "64.68", ""),
        ("sum", "Table 2: sum of the branches", {**_TRUNK, "aggregation": "sum"}, "68.60", ""),
        ("concat", "Table 2: concatenation", {**_TRUNK, "aggregation": "concat"}, "68.93", ""),
        ("bga", "Tables 2-4: guided aggregation, λ = 1/4, ε = 6, no booster", _TRUNK, "69.67", ""),
        ("booster", "Tables 2 and 4: with the booster", {}, "73.19", ""),
        ("ohem", "Table 2: with OHEM; Table 5: α = 1, d = 1", {}, "73.36", ""),
        *((f"lambda-1-{part}", f"Table 3a: λ = 1/{part}",
           {**_TRUNK, "semantic_ratio": 1 / part}, miou, "") for part, miou in ratios),
        ("no-context", "Table 3b: without Context Embedding",
         {**_TRUNK, "context_embedding": False}, "69.01", _MEMORY),
        ("single-5x5", "Table 3b: one 5×5 depth-wise convolution at stride 2",
         {**_TRUNK, "double_depthwise": False}, "68.98", _MEMORY),
        ("gather-1x1", "Table 3b: 1×1 first convolution in Gather-and-Expansion",
         {**_TRUNK, "gather_kernel": 1}, "66.62",
         f"{_MEMORY} In the printed-cost reading this convolution expands, and the row costs more "
         "than it does here."),
        *((f"epsilon-{factor}", f"Table 3c: ε = {factor}", {**_TRUNK, "expansion": factor}, miou,
           _MEMORY) for factor, miou in expansions),
        *((f"booster-{'-'.join(stages).lower()}", f"Table 4: boosters at {', '.join(stages)}",
           {"boosters": stages}, one_of, unmapped) for stages in places),
        *((f"alpha-{factor:g}", f"Table 5: α = {factor:g}", {"width": factor, "head_width": 256},
           miou, f"{_MEMORY} That the head is 256 wide is inferred from the printed GFLOPs.")
          for factor, miou in widths),
        *((f"depth-{factor}", f"Table 5: d = {factor}", {"depth": factor}, miou, _MEMORY)
          for factor, miou in depths),
    ]  # fmt: skip
    named = {}
    for name, about, changes, miou, doubt in rows:
        # OHEM is the last row of Table 2; Table 5 builds on it.
        mined = name == "ohem" or about.startswith("Table 5")
        recipe = replace(_PAPER, network=replace(_PAPER.network, **changes), ohem=mined)
        printed = f"{miou if miou == one_of else f'{miou} %'} mIoU on val"
        common = f"{_CROP} {_SCALES} {_OHEM + ' ' if mined else ''}{_NETWORK}"
        named[f"ablation-{name}"] = NamedRecipe(recipe, about, printed, f"{doubt} {common}".strip())
    return named


RARE_IN_CAMVID = ("Pole", "SignSymbol", "Fence", "Pedestrian", "Bicyclist")

_FAST = Recipe(
    network=BiSeNetV2Config(),
    crop=(352, 480),
    batch=8,
    scales=(0.6, 1.8),
    continuous_scales=True,
    jitter=0.3,
    warmup=100,
    booster_weight=0.5,
    ohem=True,
    loss_stride=2,
    booster_stride=4,
    average=0.998,
)
"""What the recipes of the house share: losses below full resolution, a weight average."""

CATALOGUE: dict[str, NamedRecipe] = {
    "camvid": NamedRecipe(
        replace(
            _FAST,
            dataset="camvid",
            iterations=4200,
            progressive=(0.55,),
            progressive_share=0.75,  # by val over the pixels of 200 and of 400 full steps
            rare_classes=RARE_IN_CAMVID,
            rare_share=0.4,
            streets_share=0.3,  # +2.1 % mIoU on val after 200 steps at half scale from one start
            hold=0.6,
            lovasz=1.0,  # +3.6 % mIoU on val over the pixels of 200 full steps
        ),
        "CamVid at 480×360 in hours of a CPU: progressive resolution, rendered streets mixed in",
    ),
    "folder": NamedRecipe(
        replace(_FAST, iterations=10_000, hold=0.4),
        "any data set: --data DIR, in every layout that --data understands",
    ),
    "streets": NamedRecipe(
        Recipe(
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
        "rendered streets: no data needed",
    ),
    **_paper(),
    **_ablations(),
}
"""Recipes by name, with what they reproduce."""

RECIPES: dict[str, Recipe] = {name: named.recipe for name, named in CATALOGUE.items()}
"""The same, settings alone."""


def find_recipe(name: str) -> NamedRecipe:
    """Looks a recipe up.

    Raises:
        UserError: If there is none of that name; the message names those that are like it.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    raise UserError(f"unknown recipe {name!r}: {_alike(name, tuple(CATALOGUE))}")


def _alike(name: str, names: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, 4)
    return f"did you mean {' or '.join(close)}?" if close else "`bisenetv2 recipes` lists them"
