"""`bisenetv2 info`: what a model file says of itself."""

from __future__ import annotations

from json import dumps, loads
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

EXAMPLES = """\
  bisenetv2 info
  bisenetv2 info runs/camvid/best.safetensors
  bisenetv2 info model.onnx --json
"""


def info(
    model: Annotated[Positional[Path | None], arg(metavar="MODEL")] = None, *, json: bool = False
) -> int:
    """Print a model's card: classes, input, training data, figure of merit, licence.

    Args:
        model: Model file, checkpoint, or embedded model: camvid (INT8, default) or camvid-fp32.
        json: Print path and card as one JSON object.
    """
    from bisenetv2.inference.model_file import find_model, read_card
    from bisenetv2.inference.segmenter import network_size

    path = find_model(model)
    card = read_card(path)
    if json:
        print(dumps({"file": str(path), **loads(card.to_json())}, ensure_ascii=False))
        return 0
    (height, width), (rows, columns) = card.frame_size, network_size(card.frame_size, card)
    lines = {
        "file": f"{path}, {path.stat().st_size / 1e6:.1f} MB",
        "classes": f"{len(card.labels)}: {', '.join(card.labels.names)}",
        "frames": f"of {width}×{height} in training, seen at {columns}×{rows}",
        "merit": card.merit,
        "data": card.data,
        "licence of the data": card.data_licence,
        "recipe": card.recipe,
        "origin": card.origin,
        "quantisation": card.quantization,
        "written by": f"bisenetv2 {card.version}" if card.version else "",
    }
    for name, text in lines.items():
        if text:
            print(f"{name}: {text}")
    return 0
