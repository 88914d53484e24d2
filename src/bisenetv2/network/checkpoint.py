"""Read and write `.safetensors` checkpoints: weights, configuration, model card; never pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bisenetv2.card import METADATA_KEY, ModelCard
from bisenetv2.errors import UserError
from bisenetv2.files import atomic_path
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.config import BiSeNetV2Config
from bisenetv2.network.frames import FrameNetwork, Normalization

STATE_KEY = "run"
"""Key under which the states of a run, which are no checkpoints, say how far it is."""

CONFIG_KEY = "config"
"""Key of the metadata that holds the network's configuration and the normalisation as JSON."""

SUFFIX = ".safetensors"

_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading values out of arbitrary JSON may raise."""


def save_checkpoint(path: str | Path, model: FrameNetwork, card: ModelCard) -> None:
    """Writes a checkpoint that `load_checkpoint` reads back, whole or not at all.

    Args:
        path: File to write, ending in `.safetensors`.
        model: Network with its normalisation; booster heads are kept.
        card: Labels and provenance.

    Raises:
        UserError: If the file cannot be written, or could not be read back.
    """
    if Path(path).suffix != SUFFIX:
        raise UserError(f"{path}: checkpoints end in {SUFFIX}")
    _check_card(model.network.config, card)
    metadata = {CONFIG_KEY: describe(model), METADATA_KEY: card.to_json()}
    write_tensors(path, model.network.state_dict(), metadata)


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes a `.safetensors` file, whole or not at all, and waits until it is on the disk.

    Raises:
        UserError: If it cannot be written, for instance on a full disk.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(contiguous, temporary, dict(metadata))
            with temporary.open("r+b") as file:  # Windows flushes what is open for writing alone
                os.fsync(file.fileno())  # on the disk before it gets its name
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: cannot be written ({error}); choose another place") from error


def load_checkpoint(path: str | Path) -> tuple[FrameNetwork, ModelCard]:
    """Builds the network that a checkpoint describes and fills it, strictly.

    Returns:
        The network in evaluation mode on the CPU, booster heads included, and its card.

    Raises:
        UserError: If the file is missing, damaged, not of this product, or does not fit its own
            configuration.
    """
    tensors, metadata = read_tensors(path)
    if STATE_KEY in metadata:
        raise UserError(
            f"{path}: a state for `bisenetv2 train RUN --resume`; name the run's best{SUFFIX}"
        )
    if CONFIG_KEY not in metadata or METADATA_KEY not in metadata:
        raise UserError(f"{path}: not a checkpoint of bisenetv2 (no configuration inside)")
    try:
        with torch.device("meta"):
            model = build(metadata[CONFIG_KEY])
        card = ModelCard.from_json(metadata[METADATA_KEY])
        _check_card(model.network.config, card)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise UserError(f"{path}: damaged configuration in the checkpoint ({error!r})") from error
    load_strictly(model.network, tensors, path)
    return model.eval(), card


def describe(model: FrameNetwork) -> str:
    """Returns a network's configuration and normalisation as JSON, which `build` reads."""
    config = {
        "network": asdict(model.network.config),
        "normalization": {"mean": model.normalization.mean, "std": model.normalization.std},
    }
    return json.dumps(config)


def build(description: str) -> FrameNetwork:
    """Builds the network that `describe` described, with new weights.

    Raises:
        UserError: If it has options of another version.
        ValueError: If it is no such description; of the kinds that reading arbitrary JSON raises.
    """
    content = json.loads(description)
    normalization = Normalization(
        tuple(map(float, content["normalization"]["mean"])),
        tuple(map(float, content["normalization"]["std"])),
    )
    return FrameNetwork(BiSeNetV2(BiSeNetV2Config.from_fields(content["network"])), normalization)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads all tensors and the metadata of a `.safetensors` file.

    Raises:
        UserError: If the file is missing or damaged.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            # A file without metadata answers None here.
            names = list(file.keys())
            # Copies: tensors mapped to a file die with it when it is overwritten in place.
            tensors = {name: file.get_tensor(name).clone() for name in names}
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged or truncated .safetensors file ({error})") from error


def load_strictly(network: BiSeNetV2, tensors: Mapping[str, Tensor], source: object) -> None:
    """Fills `network` with exactly its own tensors.

    Raises:
        UserError: If one is missing, superfluous or of another shape; the message names them.
    """
    wanted = network.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - wanted.keys())
    misshaped = sorted(
        name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape
    )
    complaints = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unknown", unknown), ("misshaped", misshaped))
        if names
    ]
    if complaints:
        raise UserError(f"{source}: checkpoint of another network: {'; '.join(complaints)}")
    # Parameters that exist are filled in place: an optimiser may hold them.
    on_meta = any(parameter.is_meta for parameter in network.parameters())
    # Assigned tensors keep their type, and half-precision weights would not run on float32 frames.
    fitting = {name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()}
    network.load_state_dict(fitting, assign=on_meta)


def _check_card(config: BiSeNetV2Config, card: ModelCard) -> None:
    if len(card.labels) != config.num_classes:
        raise UserError(
            f"card with {len(card.labels)} class names for a network of {config.num_classes}: "
            "give each class one name"
        )
    if card.logits_stride != config.logits_stride:
        raise UserError(
            f"card with logits of stride {card.logits_stride} for a network whose logits have "
            f"stride {config.logits_stride}: let the card say the network's"
        )
