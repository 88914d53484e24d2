"""`bisenetv2 info`: what a model file says of itself.

bisenetv2 info
bisenetv2 info runs/camvid/best.safetensors
bisenetv2 info model.onnx --json
"""

from __future__ import annotations

from json import dumps, loads
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def info(
    model: Annotated[Positional[Path | None], arg(metavar="MODEL")] = None, *, json: bool = False
) -> int:
    """Print a model's card: classes, input, training data, figure of merit, licence.

    Args:
        model: Model file, checkpoint, or embedded model: camvid (INT8, default) or camvid-fp32.
        json: Print path and card as one JSON object.
    """
    from bisenetv2.evaluation.report import card_facts
    from bisenetv2.inference.model_file import find_model, read_card

    path = find_model(model)
    card = read_card(path)
    if json:
        print(dumps({"file": str(path), **loads(card.to_json())}, ensure_ascii=False))
        return 0
    print(f"file: {path}, {path.stat().st_size / 1e6:.1f} MB")
    for name, text in card_facts(card).items():
        print(f"{name}: {text}")
    return 0
