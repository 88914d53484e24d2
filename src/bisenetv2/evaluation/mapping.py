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
    protocols: Sequence[Answering], dataset: Dataset, pairs: Sequence[str]
) -> tuple[list[Answering], Dataset]:
    """Makes models, whose classes may differ, answer in the classes of a dataset.

    Classes of the same name, whatever its case, match by themselves. A class of a model that
    matches none (`NAME=nothing`) counts as wrong wherever it is predicted; a class of the dataset
    that the models do not know (`nothing=NAME`) is ignored.

    Args:
        protocols: The models. All are scored on the same pixels and classes.
        dataset: The dataset.
        pairs: `MODEL=DATA` each, `nothing` standing for no class; `by-name` adds nothing. One goes
            to the models that have its class, and to all if none has it, which refuse it.

    Raises:
        UserError: If a pair cannot be read or names an unknown class, or a class is left over.
    """
    theirs = dataset.labels
    known = {name.casefold(): index for index, name in enumerate(theirs.names)}
    named = {name for protocol in protocols for name in protocol.labels.names}
    given = [_parts(pair) for pair in pairs if pair != BY_NAME]
    ignored = {theirs.index(other) for mine, other in given if mine == NOTHING}
    tables, labels = [], replace(theirs, raw_ids=None)
    for protocol in protocols:
        ours = protocol.labels
        targets = [known.get(name.casefold()) for name in ours.names]
        left = {index for index, match in enumerate(targets) if match is None}
        for mine, other in given:
            if mine != NOTHING and (mine in ours.names or mine not in named):
                index = ours.index(mine)
                targets[index] = None if other == NOTHING else theirs.index(other)
                left.discard(index)
        _refuse_leftovers("the model", ours, left, f"NAME=DATA or NAME={NOTHING}")
        unmet = set(range(len(theirs))) - ignored.union(targets)
        _refuse_leftovers(dataset.name, theirs, unmet, f"MODEL=NAME or {NOTHING}=NAME")
        table = np.full(256, IGNORE_INDEX, np.uint8)
        table[: len(ours)] = [len(theirs) if match is None else match for match in targets]
        tables.append(table)
        if None in targets and len(labels) == len(theirs):
            free = (color for color in ELSE_COLORS if color not in labels.palette)
            palette = (*labels.palette, next(free, ELSE_COLORS[0]))
            labels = replace(labels, names=(*labels.names, ELSE), palette=palette)
    mapped = [Mapped(model, labels, table) for model, table in zip(protocols, tables, strict=True)]
    return [*mapped], Relabelled(dataset, labels, tuple(ignored))


def _parts(pair: str) -> tuple[str, str]:
    """Takes `MODEL=DATA` apart."""
    mine, _, other = (part.strip() for part in pair.partition("="))
    if mine == other == NOTHING or not mine or not other:
        raise UserError(
            f"--map {pair}: write MODEL=DATA, NAME={NOTHING}, {NOTHING}=NAME or {BY_NAME}"
        )
    return mine, other


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
        self._table = np.arange(256, dtype=np.uint8)
        self._table[list(ignored)] = labels.ignore_index

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.dataset[index]
        return Sample(image, self._table.take(mask))
