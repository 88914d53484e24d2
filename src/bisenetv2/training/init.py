"""What a run starts from: new weights, or those of a checkpoint as far as they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.inference.model_file import EMBEDDED_MODELS
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.checkpoint import (
    CONFIG_KEY,
    SUFFIX,
    load_checkpoint,
    load_strictly,
    read_tensors,
)
from bisenetv2.network.config import BiSeNetV2Config
from bisenetv2.network.frames import FrameNetwork, Normalization

OF_THE_RUN = ("num_classes", "in_channels", "boosters", "booster_width")
"""Fields of the network that the data and the recipe decide, not the checkpoint."""

HEADS = ("head.", "boosters.")
"""Beginnings of the names of tensors that belong to classes."""


@dataclass(frozen=True)
class Start:
    """A network to train, and what is known of its weights."""

    model: FrameNetwork

    card: ModelCard | None = None
    """Card of the checkpoint it starts from."""

    summary: str = ""
    """A line on what was loaded, and a table of what was loaded, re-initialised and ignored."""


def starting_point(
    wanted: BiSeNetV2Config, init: Path | None, classes: Sequence[str] | None = None
) -> Start:
    """Builds the network of a run.

    A checkpoint brings its network along, normalisation included, since weights mean nothing under
    other switches. The run keeps its number of classes, its input channels and its booster heads.
    Of these the checkpoint fills what it has; if it is for other classes, all heads are new; for
    other input channels, the first convolutions are adapted. A file of bare weights without a
    description fills the recipe's network as far as names and shapes agree.

    Args:
        wanted: The recipe's network, for the classes of the data.
        init: Checkpoint to start from; `None` for new weights.
        classes: Names of the data's classes, in their order; `None` for any of that number.

    Raises:
        UserError: If the checkpoint cannot be read, cannot carry the recipe's booster heads, or
            nothing of it fits.
    """
    if init is None:
        return Start(FrameNetwork(BiSeNetV2(wanted), _normalization(wanted.in_channels)))
    if init.suffix != SUFFIX:
        raise UserError(f"{init}: {_why_not(init)}")
    tensors, metadata = read_tensors(init)
    if CONFIG_KEY not in metadata:
        model = FrameNetwork(BiSeNetV2(wanted), _normalization(wanted.in_channels))
        return Start(model, None, _fill(model.network, tensors, init, wanted, True))
    loaded, card = load_checkpoint(init)
    found = loaded.network.config
    same_classes = found.num_classes == wanted.num_classes
    if classes is not None:
        same_classes &= _folded(card.labels.names) == _folded(classes)
    widths = dict(zip(wanted.boosters, wanted.booster_widths, strict=True))
    if same_classes:
        known = dict(zip(found.boosters, found.booster_widths, strict=True))
        widths |= {stage: known[stage] for stage in widths.keys() & known.keys()}
    config = replace(
        found,
        num_classes=wanted.num_classes,
        in_channels=wanted.in_channels,
        boosters=wanted.boosters,
        booster_width=_shortest(tuple(widths.values()), wanted.booster_width),
    )
    normalization = loaded.normalization
    if found.in_channels != wanted.in_channels:
        normalization = _normalization(wanted.in_channels)
    model = FrameNetwork(BiSeNetV2(config), normalization)
    return Start(model, card, _fill(model.network, tensors, init, wanted, same_classes))


def _why_not(init: Path) -> str:
    """Says why training does not start from what is no checkpoint, and what to do."""
    if init.is_dir():
        return f"is a folder; name its best{SUFFIX}"
    if str(init) in EMBEDDED_MODELS:
        return f"is a model file; take the source's weights/bisenetv2_camvid{SUFFIX}"
    if init.suffix == ".onnx":
        return f"is a model file; name the checkpoint ({SUFFIX}) that it was exported from"
    return f"training starts from {SUFFIX} files; `bisenetv2 import` makes one of .pth or .pdparams"


def _fill(
    network: BiSeNetV2,
    tensors: Mapping[str, Tensor],
    init: Path,
    wanted: BiSeNetV2Config,
    same_classes: bool,
) -> str:
    """Fills a network with what fits of a checkpoint and returns the account of it."""
    new = network.state_dict()
    taken = {}
    for name, tensor in tensors.items():
        if name not in new or (not same_classes and name.startswith(HEADS)):
            continue
        if new[name].shape == tensor.shape:
            taken[name] = tensor
        elif _differs_in_input(new[name], tensor, network.config.in_channels):
            taken[name] = _adapted(tensor, network.config.in_channels)
    if not any(tensor.ndim == 4 for tensor in taken.values()):
        raise UserError(
            f"{init}: none of its {len(tensors)} tensors fits this network by name and shape; "
            "give a checkpoint of BiSeNet V2"
        )
    load_strictly(network, {**new, **taken}, init)
    summary = _summary(init, wanted, network, tensors, taken)
    return "\n".join((summary, *_table(new, tensors, taken)))


def _folded(names: Sequence[str]) -> list[str]:
    return [name.casefold() for name in names]


def _normalization(channels: int) -> Normalization:
    """That of common photographs, its channels in turn where there are not three."""
    usual = Normalization()
    if channels == len(usual.mean):
        return usual
    turns = [index % len(usual.mean) for index in range(channels)]
    return Normalization(
        tuple(usual.mean[turn] for turn in turns), tuple(usual.std[turn] for turn in turns)
    )


def _differs_in_input(new: Tensor, stored: Tensor, channels: int) -> bool:
    """Tells whether two weights are those of a first convolution, apart from the input channels."""
    if new.ndim != 4 or stored.ndim != 4 or new.shape[1] != channels:
        return False
    return new.shape[0] == stored.shape[0] and new.shape[2:] == stored.shape[2:]


def _adapted(weight: Tensor, channels: int) -> Tensor:
    """Takes the input channels in turn, scaled so that like channels give like sums."""
    turns = torch.arange(channels) % weight.shape[1]
    return weight[:, turns] * (weight.shape[1] / channels)


def _shortest(widths: tuple[int, ...], default: int | tuple[int, ...]) -> int | tuple[int, ...]:
    if not widths:
        return default if isinstance(default, int) else 64
    return widths if len(set(widths)) > 1 else widths[0]


def _summary(
    init: Path,
    wanted: BiSeNetV2Config,
    network: BiSeNetV2,
    stored: Mapping[str, Tensor],
    taken: Mapping[str, Tensor],
) -> str:
    new = dict.fromkeys(_part(name) for name in network.state_dict() if name not in taken)
    parts = [f"{init}: {len(taken)} of its {len(stored)} tensors loaded"]
    parts.append(f"new: {', '.join(new)}" if new else "nothing is new")
    asked, got = asdict(wanted), asdict(network.config)
    other = [f"{k} {got[k]}" for k in got if k not in OF_THE_RUN and got[k] != asked[k]]
    if other:
        parts.append(f"its network, not the recipe's: {', '.join(other)}")
    return "; ".join(parts)


def _table(
    new: Mapping[str, Tensor], stored: Mapping[str, Tensor], taken: Mapping[str, Tensor]
) -> list[str]:
    """Counts the tensors of each part, and names one wherever not all were loaded."""
    lines = [f"  {'part':<14}{'loaded':>8}{'re-initialised':>16}{'ignored':>9}"]
    for part in dict.fromkeys(map(_part, (*new, *stored))):
        loaded = [name for name in taken if _part(name) == part]
        fresh = [name for name in new if _part(name) == part and name not in taken]
        ignored = [name for name in stored if _part(name) == part and name not in taken]
        example = next(iter(fresh + ignored), "")
        line = f"  {part:<14}{len(loaded):>8}{len(fresh):>16}{len(ignored):>9}  "
        lines.append((line + _why(example, new, stored)).rstrip())
    return lines


def _why(name: str, new: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> str:
    """Names a tensor that was not loaded, with the reason where both sides have one."""
    if name not in new or name not in stored:
        return name
    if stored[name].shape == new[name].shape:  # then only its meaning can be another
        return f"{name} of other classes"
    return f"{name} {tuple(stored[name].shape)} for {tuple(new[name].shape)}"


def _part(name: str) -> str:
    """Name of the head a tensor belongs to, or of the branch."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "boosters" else parts[0]
