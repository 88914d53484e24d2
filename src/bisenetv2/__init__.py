"""BiSeNet V2: real-time semantic segmentation to train, trust, ship and run.

The paper: Yu, Gao, Wang, Yu, Shen, Sang, "BiSeNet V2: Bilateral Network with Guided Aggregation for
Real-time Semantic Segmentation", https://arxiv.org/abs/2004.02147, IJCV 129, 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["BiSeNetV2", "BiSeNetV2Config", "Labels", "Segmenter", "__version__", "segment_video"]

if TYPE_CHECKING:
    from bisenetv2.inference.segmenter import Segmenter
    from bisenetv2.inference.video.pipeline import segment_video
    from bisenetv2.labels import Labels
    from bisenetv2.network.bisenetv2 import BiSeNetV2
    from bisenetv2.network.config import BiSeNetV2Config

_HOMES = {
    "BiSeNetV2": "bisenetv2.network.bisenetv2",
    "BiSeNetV2Config": "bisenetv2.network.config",
    "Labels": "bisenetv2.labels",
    "Segmenter": "bisenetv2.inference.segmenter",
    "segment_video": "bisenetv2.inference.video.pipeline",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import bisenetv2` costs nothing and needs no torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
