"""What a run starts from: new weights, or those of a checkpoint as far as they fit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.checkpoint import SUFFIX, load_checkpoint, load_strictly
from bisenetv2.network.config import BiSeNetV2Config
from bisenetv2.network.frames import FrameNetwork

OF_THE_RUN = ("num_classes", "boosters", "booster_width")
"""Fields of the network that the data and the recipe decide, not the checkpoint."""


@dataclass(frozen=True)
class Start:
    """A network to train, and what is known of its weights."""

    model: FrameNetwork

    card: ModelCard | None = None
    """Card of the checkpoint it starts from."""

    summary: str = ""
    """One line: what was loaded, what is new."""


def starting_point(wanted: BiSeNetV2Config, init: Path | None) -> Start:
    """Builds the network of a run.

    A checkpoint brings its network along, normalisation included, since weights mean nothing under
    other switches. The run keeps its number of classes and its booster heads. Of these the
    checkpoint fills what it has; if it is for another number of classes, all heads are new.

    Args:
        wanted: The recipe's network, for the classes of the data.
        init: Checkpoint to start from; `None` for new weights.

    Raises:
        UserError: If the checkpoint cannot be read, or cannot carry the recipe's booster heads.
    """
    if init is None:
        return Start(FrameNetwork(BiSeNetV2(wanted)))
    if init.suffix != SUFFIX:
        raise UserError(
            f"{init}: training starts from {SUFFIX} files; `bisenetv2 import` makes one of .pth or "
            ".pdparams"
        )
    loaded, card = load_checkpoint(init)
    found = loaded.network.config
    same_classes = found.num_classes == wanted.num_classes
    widths = dict(zip(wanted.boosters, wanted.booster_widths, strict=True))
    if same_classes:
        known = dict(zip(found.boosters, found.booster_widths, strict=True))
        widths |= {stage: known[stage] for stage in widths.keys() & known.keys()}
    config = replace(
        found,
        num_classes=wanted.num_classes,
        boosters=wanted.boosters,
        booster_width=_shortest(tuple(widths.values()), wanted.booster_width),
    )
    model = FrameNetwork(BiSeNetV2(config), loaded.normalization)
    new, stored = model.network.state_dict(), loaded.network.state_dict()
    taken = {
        name: tensor
        for name, tensor in stored.items()
        if name in new and (same_classes or not name.startswith(("head.", "boosters.")))
    }
    load_strictly(model.network, {**new, **taken}, init)
    return Start(model, card, _summary(init, wanted, model.network, stored, taken))


def _shortest(widths: tuple[int, ...], default: int | tuple[int, ...]) -> int | tuple[int, ...]:
    if not widths:
        return default if isinstance(default, int) else 64
    return widths if len(set(widths)) > 1 else widths[0]


def _summary(
    init: Path,
    wanted: BiSeNetV2Config,
    model: BiSeNetV2,
    stored: Collection[str],
    taken: Collection[str],
) -> str:
    new = dict.fromkeys(_part(name) for name in model.state_dict() if name not in taken)
    parts = [f"{init}: {len(taken)} of its {len(stored)} tensors loaded"]
    parts.append(f"new: {', '.join(new)}" if new else "nothing is new")
    asked, got = asdict(wanted), asdict(model.config)
    other = [f"{k} {got[k]}" for k in got if k not in OF_THE_RUN and got[k] != asked[k]]
    if other:
        parts.append(f"its network, not the recipe's: {', '.join(other)}")
    return "; ".join(parts)


def _part(name: str) -> str:
    """Name of the head a tensor belongs to, or of the branch."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "boosters" else parts[0]
