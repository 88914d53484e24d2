"""Reconcile the classes of a model with those of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bisenetv2.data.dataset import Dataset, DatasetView, Sample
from bisenetv2.errors import UserError
from bisenetv2.evaluation.protocols import Answer, Answering
from bisenetv2.images import Image
from bisenetv2.labels import IGNORE_INDEX, Labels

BY_NAME = "by-name"
"""Stands for the rule that is in force anyway: classes of one name, whatever its case, match."""

NOTHING = "nothing"
"""Stands for no class in a pair."""

ELSE = "other classes of the model"
"""Name of the class that a model's classes without a counterpart become: predicted, never true."""

ELSE_COLORS = ((255, 0, 255), (0, 255, 255), (255, 255, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
"""Its colour is the first of these that no class of the data has."""


def check_labels(labels: Labels, dataset: Dataset) -> None:
    """Raises unless model and dataset name the same classes in the same order.

    Raises:
        UserError: If not; it sets the two lists side by side.
    """
    ours, theirs = labels.names, dataset.labels.names
    if ours == theirs:
        return
    rows = range(max(len(ours), len(theirs)))
    pairs = ", ".join(
        f"{i} {ours[i] if i < len(ours) else '-'} | {theirs[i] if i < len(theirs) else '-'}"
        for i in rows
    )
    raise UserError(
        f"the model's {len(ours)} classes are not the {len(theirs)} of {dataset.name} "
        f"(model | data: {pairs}): take data with the model's classes in their order, or reconcile "
        f"them with `--map {BY_NAME}` or `--map MODEL=DATA ...`"
    )


def reconcile(
    protocol: Answering, dataset: Dataset, pairs: Sequence[str]
) -> tuple[Mapped, Dataset]:
    """Makes a model answer in the classes of a dataset.

    Classes of the same name, whatever its case, match by themselves. A class of the model that
    matches none (`NAME=nothing`) counts as wrong wherever it is predicted; a class of the dataset
    that the model does not know (`nothing=NAME`) is ignored.

    Args:
        protocol: The model.
        dataset: The dataset.
        pairs: `MODEL=DATA` each, `nothing` standing for no class; `by-name` adds nothing.

    Raises:
        UserError: If a pair cannot be read or names an unknown class, or a class is left over.
    """
    ours, theirs = protocol.labels, dataset.labels
    known = {name.casefold(): index for index, name in enumerate(theirs.names)}
    target = {index: known.get(name.casefold()) for index, name in enumerate(ours.names)}
    settled = {index for index, match in target.items() if match is not None}
    ignored: set[int] = set()
    for pair in pairs:
        if pair == BY_NAME:
            continue
        mine, equals, other = (part.strip() for part in pair.partition("="))
        if not equals or mine == other == NOTHING or not mine or not other:
            raise UserError(
                f"--map {pair}: write MODEL=DATA, NAME={NOTHING}, {NOTHING}=NAME or {BY_NAME}"
            )
        if mine == NOTHING:
            ignored.add(theirs.index(other))
        else:
            index = ours.index(mine)
            target[index] = None if other == NOTHING else theirs.index(other)
            settled.add(index)
    _refuse_leftovers(
        "the model", ours, set(range(len(ours))) - settled, f"NAME=DATA or NAME={NOTHING}"
    )
    met = {match for match in target.values() if match is not None} | ignored
    _refuse_leftovers(
        dataset.name, theirs, set(range(len(theirs))) - met, f"MODEL=NAME or {NOTHING}=NAME"
    )
    labels = replace(theirs, raw_ids=None)
    if None in target.values():
        free = (color for color in ELSE_COLORS if color not in labels.palette)
        palette = (*labels.palette, next(free, ELSE_COLORS[0]))
        labels = replace(labels, names=(*labels.names, ELSE), palette=palette)
    table = np.full(256, IGNORE_INDEX, np.uint8)
    for index, match in target.items():
        table[index] = len(theirs) if match is None else match
    return Mapped(protocol, labels, table), Relabelled(dataset, labels, tuple(sorted(ignored)))


def reconcile_all(
    protocols: Sequence[Answering], dataset: Dataset, pairs: Sequence[str]
) -> tuple[list[Answering], Dataset]:
    """Makes several models answer in the classes of a dataset, on the same pixels.

    Args:
        protocols: The models, whose classes may differ.
        dataset: The dataset.
        pairs: As `reconcile` takes them. One goes to the models that have its class, and to all if
            none has it, which refuse it.

    Raises:
        UserError: As `reconcile`.
    """
    names = {name for protocol in protocols for name in protocol.labels.names}
    found = []
    for protocol in protocols:
        others = names.difference(protocol.labels.names)
        own = [pair for pair in pairs if pair.partition("=")[0].strip() not in others]
        found.append(reconcile(protocol, dataset, own))
    # What one of them predicts beside the data's classes, all are scored with.
    merged = max((data for _, data in found), key=lambda data: len(data.labels))
    return [replace(mapped, labels=merged.labels) for mapped, _ in found], merged


def _refuse_leftovers(whose: str, labels: Labels, left: set[int], remedy: str) -> None:
    if left:
        names = ", ".join(labels.names[index] for index in sorted(left))
        raise UserError(f"--map: no counterpart for {names} of {whose}: add {remedy} for each")


@dataclass(frozen=True)
class Mapped:
    """A model that answers in other classes.

    The confidence stays that of the model's own class: where several become one, a lower bound.
    """

    protocol: Answering
    labels: Labels
    table: npt.NDArray[np.uint8]  # 256: class index by the model's class index

    @property
    def description(self) -> str:
        """The protocol in words."""
        return f"{self.protocol.description}, classes mapped"

    def answer(self, frame: Image, confidence: bool) -> Answer:
        """Finds the mask of a frame in the other classes."""
        mask, sure, seen = self.protocol.answer(frame, confidence)
        return Answer(self.table.take(mask), sure, seen)


class Relabelled(DatasetView):
    """A dataset some of whose classes are ignored."""

    def __init__(self, dataset: Dataset, labels: Labels, ignored: tuple[int, ...]) -> None:
        """Takes the dataset's labels, perhaps with an additional class, and the ignored indices."""
        super().__init__(dataset, labels)
        self._ignored = ignored

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.dataset[index]
        table = np.arange(256, dtype=np.uint8)
        table[list(self._ignored)] = self.labels.ignore_index
        return Sample(image, table.take(mask))
