"""The card that travels inside every model file: what it was trained on and how to feed it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from bisenetv2.errors import UserError
from bisenetv2.labels import Labels

METADATA_KEY = "bisenetv2"
"""Key under which `.onnx` and `.safetensors` files carry the card as JSON."""


@dataclass(frozen=True)
class ModelCard:
    """What a model means, and what one must know to run it."""

    labels: Labels
    """Class names, palette and ignore index."""

    frame_size: tuple[int, int]
    """Height and width in pixels of the frames it was trained for."""

    input_scale: float = 1.0
    """Side of the network's input over the side of such a frame; 0.5 for the paper's Cityscapes."""

    logits_stride: int = 8
    """Side of the square of input pixels that shares a logit: 8, or 1 for logits of every pixel."""

    data: str = "unknown"
    """Name of the training data."""

    data_licence: str = "unknown"
    """Terms of the training data."""

    merit: str = ""
    """Figure of merit with its split and protocol, as measured."""

    recipe: str = ""
    """The settings that trained it, in words."""

    origin: str = ""
    """Of imported weights: the family of the file, its name and hash, the licence of its code."""

    quantization: str = ""
    """Of an INT8 file: what calibrated it and which layers stayed in floating point."""

    version: str = ""
    """Version of bisenetv2 that wrote the file."""

    network: tuple[tuple[str, Any], ...] = ()
    """Fields of the network's configuration, for the record."""

    def __post_init__(self) -> None:
        if min(self.frame_size) < 1:
            raise UserError(f"frame size {self.frame_size}: both sides must be at least 1")
        if not 0.01 <= self.input_scale <= 8:
            raise UserError(f"input scale {self.input_scale}: expected 0.01 to 8")
        if self.logits_stride not in (1, 8):
            raise UserError(f"logits of stride {self.logits_stride}: expected 1 or 8")

    def to_json(self) -> str:
        """Serialises to JSON that `from_json` reads back."""
        return json.dumps(asdict(self) | {"network": dict(self.network)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Reads what `to_json` wrote.

        Raises:
            UserError: If the text is not a card.
        """
        try:
            content = json.loads(text)
            height, width = content.pop("frame_size")
            return cls(
                labels=Labels.from_json(json.dumps(content.pop("labels"))),
                frame_size=(int(height), int(width)),
                input_scale=float(content.pop("input_scale")),
                # Cards of the first version do not have it.
                logits_stride=int(content.pop("logits_stride", 8)),
                network=tuple((k, immutable(v)) for k, v in content.pop("network").items()),
                **{name: str(value) for name, value in content.items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise UserError(f"damaged card in the model's metadata: {error!r}") from error


def immutable(value: Any) -> Any:
    """Turns JSON's lists back into the tuples they were written from."""
    return tuple(map(immutable, value)) if isinstance(value, list) else value
