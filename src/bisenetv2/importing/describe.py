"""The card of an imported model: what it means, how to feed it, where it comes from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from bisenetv2 import __version__
from bisenetv2.builtin_labels import BUILTIN, TERMS
from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.importing.convert import Conversion
from bisenetv2.importing.families import Family
from bisenetv2.importing.foreign_file import ForeignFile
from bisenetv2.labels import Labels
from bisenetv2.network.frames import Normalization

OWN_LABELS = ""
"""Stands for labels from a file, whose data set is not known here."""

UNKNOWN_DATA = ("the data it was trained on", "ask its author")

TRUNK_DATA = ("the data its trunk was trained on", "its head is untrained")
"""For a file without a head."""

TRUNK_LABELS = Labels(names=("untrained",), palette=((0, 0, 0),))
"""The one class of the head that such a file gets."""

PUBLISHED = ("cityscapes", "coco-stuff", "ade20k", "voc")
"""Data sets that the projects publish checkpoints for."""

FRAME_SIZES = {"coco-stuff": (640, 640), "ade20k": (640, 640), "voc": (640, 640)}
"""Height and width of the frames the projects train on, where they are not Cityscapes's."""

FULL_SIZE = (1024, 2048)
"""Cityscapes's frames, which all these projects evaluate whole. For other data it bounds the work:
smaller frames are taken as they are unless a scale is given."""


def find_labels(named: str | None, classes: int, trunk: bool = False) -> tuple[str, Labels]:
    """Returns labels and their name, a key of `BUILTIN` or `OWN_LABELS`.

    Args:
        named: A key of `BUILTIN`, a JSON file that `Labels.to_json` wrote, or `None`: those of
            `PUBLISHED` that have this number of classes.
        classes: Number of classes of the network.
        trunk: Whether the file has no head, and so no classes.

    Raises:
        UserError: If there are no such labels, or they are for another number of classes.
    """
    if trunk:
        if named is not None:
            raise UserError(f"labels {named}: the file has no head, so leave them out")
        return OWN_LABELS, TRUNK_LABELS
    if named is None:
        fitting = [name for name in PUBLISHED if len(BUILTIN[name]) == classes]
        if not fitting:
            counts = ", ".join(f"{name} {len(labels)}" for name, labels in BUILTIN.items())
            raise UserError(f"{classes} classes: name their labels with --labels ({counts}, PATH)")
        named = fitting[0]
    if named in BUILTIN:
        name, labels = named, BUILTIN[named]
    else:
        name, labels = OWN_LABELS, _read_labels(Path(named))
    if len(labels) != classes:
        raise UserError(f"labels {named}: {len(labels)} classes for a network of {classes}")
    return name, labels


def _read_labels(path: Path) -> Labels:
    try:
        return Labels.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(BUILTIN)
        raise UserError(f"labels {path}: no readable file and none of {known}") from error
    except (UserError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file of labels ({error})") from error


def expected_input(family: Family, labels: str) -> Normalization:
    """Returns the normalisation with which a project feeds its networks.

    Args:
        family: Family of the checkpoint.
        labels: Name of the labels: some projects have statistics for each data set.
    """
    statistics = family.project.statistics
    mean, std = statistics.get(labels, statistics[""])
    return Normalization(
        tuple(round(255 * value, 6) for value in mean),
        tuple(round(255 * value, 6) for value in std),
    )


def describe(
    conversion: Conversion,
    file: ForeignFile,
    name: str,
    labels: Labels,
    frame_size: tuple[int, int] | None = None,
    input_scale: float | None = None,
) -> ModelCard:
    """Writes the card.

    Args:
        conversion: The network and its family.
        file: Where the weights come from.
        name: Name of the labels.
        labels: Meaning of the classes.
        frame_size: Height and width of the frames it was trained for; `None`: the project's.
        input_scale: Side of the network's input over such a frame's; `None`: the project's.
    """
    family, config = conversion.family, conversion.network.config
    entry = f", entry {file.entry}" if file.entry else ""
    title, terms = TERMS.get(name, UNKNOWN_DATA)
    if conversion.new:
        title, terms = TRUNK_DATA
    if input_scale is None:
        input_scale = family.input_scale if name == "cityscapes" else 1.0
    return ModelCard(
        labels=labels,
        frame_size=frame_size or FRAME_SIZES.get(name, FULL_SIZE),
        input_scale=input_scale,
        logits_stride=config.logits_stride,
        data=title,
        data_licence=f"the terms of {title} hold for the weights too; {terms}",
        recipe=f"trained with {family.project.name}",
        origin=(
            f"{family.reading}, from {file.path.name}{entry}, SHA-256 {file.sha256}, "
            f"code of {family.project.name}: {family.project.licence}"
        ),
        version=__version__,
        network=tuple(asdict(config).items()),
    )
