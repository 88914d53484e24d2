"""Put another project's tensors into our network: all of them, or each with a reason why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from bisenetv2.errors import UserError
from bisenetv2.importing.families import FAMILIES, FIRST_HEAD_WIDTH, LEFT_OUT, Family, Rows
from bisenetv2.importing.foreign_file import ForeignFile
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.checkpoint import load_strictly
from bisenetv2.network.config import STAGES, BiSeNetV2Config

AUTO = "auto"
"""Stands for: find the family by the names and shapes in the file."""

COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Conversion:
    """Our network with the weights of a file, and what became of each tensor of the file."""

    network: BiSeNetV2
    """In evaluation mode on the CPU; with the booster heads that fit."""

    family: Family

    used: tuple[str, ...]
    """Names in the file of the tensors that went into the network."""

    left_out: Mapping[str, str]
    """Names in the file of those that did not, with the reason."""

    new: tuple[str, ...]
    """Our names of weights that the file does not have: none, or the head of a trunk file."""


def convert(file: ForeignFile, family: str = AUTO) -> Conversion:
    """Builds the network of a foreign checkpoint and fills it.

    A file without a head, a trunk, gets an untrained one of a single class: training on any data
    replaces it.

    Args:
        file: What `read_foreign` returned.
        family: Name of the family, or `auto`.

    Raises:
        UserError: If the family is not recognised, a tensor is neither used nor accounted for, a
            weight of the network is missing or of another shape, or a value is not finite.
    """
    tensors = _without_prefix(file)
    found = _family(file, tensors, family)
    ours, left_out = _translate(file, tensors, found)
    filled = {name: tensor for name, (_, tensor) in ours.items()}
    is_trunk = not any(name.startswith("head.") for name in filled)
    if is_trunk:
        config = BiSeNetV2Config.preset(found.reading, num_classes=1, boosters=())
    else:
        config = _config(file, found, filled)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)  # a new head is the same each time
        network = BiSeNetV2(config)
    state = network.state_dict()
    new = [name for name in state if is_trunk and name.startswith("head.")]
    counters = [name for name in state if name.endswith(COUNTER)]
    load_strictly(network, {n: state[n] for n in (*new, *counters)} | filled, file.path)
    _check_finite(file, ours)
    return Conversion(
        network.eval(),
        found,
        used=tuple(theirs for theirs, _ in ours.values()),
        left_out=left_out,
        new=tuple(name for name in new if name not in counters),
    )


def turn_to_rgb(network: BiSeNetV2) -> None:
    """Turns the input channels of a network trained on blue-first frames round, in place."""
    for branch, first in ((network.detail, "S1.0.conv"), (network.semantic, "S2.first.conv")):
        if branch is not None:
            weight = branch.get_parameter(f"{first}.weight")
            with torch.no_grad():
                weight.copy_(weight.flip(1).clone())


def _without_prefix(file: ForeignFile) -> dict[str, Tensor]:
    """Strips what wrappers such as `module.` put before every name."""
    prefixes = {
        name.removesuffix(project.signature)
        for project in {family.project.name: family.project for family in FAMILIES}.values()
        for name in file.tensors
        if name == project.signature or name.endswith(f".{project.signature}")
    }
    if len(prefixes) > 1:
        raise UserError(
            f"{file.path}: holds {len(prefixes)} networks ({', '.join(map(repr, prefixes))}); "
            "choose one with --entry, if each is an entry, or save one of them alone"
        )
    prefix = prefixes.pop() if prefixes else ""
    stripped = {name.removeprefix(prefix): tensor for name, tensor in file.tensors.items()}
    if len(stripped) < len(file.tensors):
        raise UserError(f"{file.path}: holds names with and without {prefix!r}; save one network")
    return stripped


def _family(file: ForeignFile, tensors: Mapping[str, Tensor], name: str) -> Family:
    names = ", ".join(family.reading for family in FAMILIES)
    if name != AUTO:
        chosen = [family for family in FAMILIES if family.reading == name]
        if not chosen:
            raise UserError(f"unknown family {name!r}: the families are {names}")
        return chosen[0]
    of_project = [family for family in FAMILIES if family.project.signature in tensors]
    if not of_project:
        some = ", ".join(list(tensors)[:3])
        raise UserError(
            f"{file.path}: not a BiSeNet V2 of a known project ({some}, …); known are {names}"
        )
    fitting = [family for family in of_project if family.classifier in tensors]
    first = tensors.get("head.conv.conv.weight")
    if len(fitting) > 1 and first is not None and len(first) == FIRST_HEAD_WIDTH:
        return fitting[-1]
    # Without a head, a trunk: those that are published are of the newest generation's network.
    return (fitting or of_project)[0]


def _translate(
    file: ForeignFile, tensors: Mapping[str, Tensor], family: Family
) -> tuple[dict[str, tuple[str, Tensor]], dict[str, str]]:
    """Gives every tensor its place in our network or its reason.

    Returns:
        Our name to name in the file and tensor; name in the file to reason.
    """
    rows = _compiled((*family.project.trunk, *family.head))
    ours: dict[str, tuple[str, Tensor]] = {}
    left_out: dict[str, str] = {}
    unknown: list[str] = []
    for theirs, tensor in tensors.items():
        parts = [family.project.parts.get(part, part) for part in theirs.split(".")]
        module, _, leaf = ".".join(parts).rpartition(".")
        place = next((m.expand(to) for row, to in rows if (m := row.fullmatch(module))), None)
        reason = next((why for what, why in LEFT_OUT if fnmatchcase(theirs, what)), None)
        if place is None or leaf == COUNTER:
            if reason is None:
                unknown.append(theirs)
            else:
                left_out[theirs] = reason
        elif f"{place}.{leaf}" in ours:
            raise UserError(f"{file.path}: {theirs} stands for what another tensor stands for too")
        else:
            ours[f"{place}.{leaf}"] = theirs, tensor
    if unknown:
        raise UserError(
            f"{file.path}: {len(unknown)} tensors have no place in the network {family.reading} "
            f"({_some(unknown)}); try another --family"
        )
    return ours, left_out


def _compiled(rows: Rows) -> list[tuple[re.Pattern[str], str]]:
    compiled = []
    for theirs, target in rows:
        for group in range(1, target.count("*") + 1):
            target = target.replace("*", f"\\{group}", 1)
        pattern = re.escape(theirs).replace(r"\*", r"([^.]+)")
        compiled.append((re.compile(pattern), target))
    return compiled


def _config(file: ForeignFile, family: Family, tensors: Mapping[str, Tensor]) -> BiSeNetV2Config:
    """Reads class count, widths, booster heads and biases off the tensors."""
    preset = BiSeNetV2Config.preset(family.reading)
    rows = _rows(file, tensors, "head.classifier.weight")
    block = (8 // preset.logits_stride) ** 2
    if rows % block:
        raise UserError(f"{file.path}: classifier of {rows} rows, not a multiple of {block}")
    boosters = tuple(s for s in STAGES if any(n.startswith(f"boosters.{s}.") for n in tensors))
    widths = tuple(_rows(file, tensors, f"boosters.{s}.conv.conv.weight") for s in boosters)
    changes: dict[str, Any] = {
        "num_classes": rows // block,
        "head_width": _rows(file, tensors, "head.conv.conv.weight"),
        "boosters": boosters,
        "booster_width": widths if len(set(widths)) > 1 else next(iter(widths), 64),
        "conv_bias": any(name.endswith(".conv.bias") for name in tensors),
        "pointwise_bias": any(name.endswith("_keep.1.bias") for name in tensors),
    }
    if changes["conv_bias"]:
        changes["pointwise_bias"] = preset.pointwise_bias  # then the bias there is one of many
    try:
        return replace(preset, **changes)
    except UserError as error:
        raise UserError(f"{file.path}: {error}") from error


def _rows(file: ForeignFile, tensors: Mapping[str, Tensor], name: str) -> int:
    """Number of output channels of a convolution."""
    if name not in tensors or tensors[name].ndim != 4:
        raise UserError(f"{file.path}: no convolution that stands for {name}")
    return len(tensors[name])


def _check_finite(file: ForeignFile, ours: Mapping[str, tuple[str, Tensor]]) -> None:
    broken = [theirs for theirs, tensor in ours.values() if not torch.isfinite(tensor).all()]
    if broken:
        raise UserError(f"{file.path}: values that are not finite in {_some(broken)}")


def _some(names: Iterable[str], most: int = 3) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")
