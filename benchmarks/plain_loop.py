"""The training loop that one writes first, which the trainings here are measured against."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.frames import Normalization
from bisenetv2.training.loader import Batch
from bisenetv2.training.recipe import Recipe


def plain_step(
    network: BiSeNetV2,
    recipe: Recipe,
    ignore_index: int,
    device: torch.device,
    *,
    bfloat16: bool = False,
) -> Callable[[Batch], None]:
    """Returns what trains on one batch: all five losses at the frames' full resolution, SGD.

    Network and frames have PyTorch's own memory layout.
    """
    network.train().to(device)
    normalization = Normalization().to(device)
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.rate, momentum=0.9, weight_decay=recipe.weight_decay
    )

    def take(batch: Batch) -> None:
        images = torch.from_numpy(batch.images).to(device)
        masks = torch.from_numpy(batch.masks).to(device).long()  # B, H, W
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            outputs = network(normalization(images).contiguous())
        loss = torch.zeros((), device=device)
        for logits in outputs:
            enlarged = F.interpolate(logits.float(), masks.shape[-2:], mode="bilinear")
            loss = loss + F.cross_entropy(enlarged, masks, ignore_index=ignore_index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return take
