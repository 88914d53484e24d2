"""Validation: the network that would ship, scored by all processes together."""

from __future__ import annotations

from typing import NamedTuple

from bisenetv2.card import ModelCard
from bisenetv2.data.dataset import Dataset, SharedSamples
from bisenetv2.errors import UserError
from bisenetv2.evaluation.evaluate import Evaluation, evaluate, merge_shares
from bisenetv2.evaluation.protocols import FrameProtocol
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.torch_engine import TorchEngine
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training.loader import InMemory
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.world import World


class ValidationData(NamedTuple):
    """What a run validates on."""

    dataset: Dataset
    """The samples, in memory; its name tells of those that are trained on."""

    split: str
    """What the metrics call it."""

    warning: str
    """A line to be told; may be empty."""


def validation_data(recipe: Recipe, dataset: Dataset, val_dataset: Dataset) -> ValidationData:
    """Looks at what is to be validated on.

    Args:
        recipe: Of the run.
        dataset: What it trains on.
        val_dataset: What it validates on.

    Raises:
        UserError: If validation would fail, after hundreds of steps.
    """
    if not len(val_dataset):
        raise UserError(f"{val_dataset.name}: holds no sample to validate on")
    if val_dataset.labels.names != dataset.labels.names:
        raise UserError(
            f"{val_dataset.name}: its classes ({', '.join(val_dataset.labels.names)}) are not "
            f"those of {dataset.name} ({', '.join(dataset.labels.names)}); "
            "validate on data with the same labels"
        )
    check_labelled(val_dataset)
    split, warning, kept = recipe.validated_on, "", InMemory(val_dataset)
    if seen := _trained_on(dataset, val_dataset):
        kept.name += f" ({seen})"
        if not recipe.overfit:
            split += f", {seen}"
            warning = (
                f"{kept.name}: the best checkpoint is chosen on what is trained on; choose it on "
                "other data (--val-split), or on none (--val-split '')"
            )
    return ValidationData(kept, split, warning)


def _trained_on(dataset: Dataset, val_dataset: Dataset) -> str:
    """Says how much of the validation data is trained on, by the samples' names; empty if none."""
    trained = {dataset.sample_name(index) for index in range(len(dataset))}
    count = len(val_dataset)
    shared = sum(val_dataset.sample_name(index) in trained for index in range(count))
    if not shared:
        return ""
    return "trained on" if shared == count else f"{shared} of {count} trained on"


def check_labelled(dataset: Dataset) -> None:
    """Looks for a pixel that counts; in all but hopeless data the first sample has one.

    Raises:
        UserError: If there is none.
    """
    ignore = dataset.labels.ignore_index
    if not any((dataset[index].mask != ignore).any() for index in range(len(dataset))):
        raise UserError(f"{dataset.name}: has no labelled pixel; check its masks")


def validate(network: FrameNetwork, dataset: Dataset, card: ModelCard, world: World) -> Evaluation:
    """Scores a network, each process on its share of the samples; all get the whole outcome.

    Args:
        network: The network that would ship.
        dataset: What to validate on, all of it; see `validation_data`.
        card: Labels and geometry of the network.
        world: The processes that share the work.

    Raises:
        UserError: If a sample does not fit.
    """
    world.adopt(network)
    mine = SharedSamples(dataset, world.rank, world.size)
    segmenter = Segmenter.from_engine(TorchEngine(network), card)
    # A process without a sample has nothing to give, but takes part in what follows.
    shares = world.gathered(evaluate(FrameProtocol(segmenter), mine) if len(mine) else None)
    return world.share(lambda: merge_shares([share for share in shares if share is not None]))
