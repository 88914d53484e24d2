"""The training loop that one writes first, which the trainings here are measured against."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.frames import Normalization
from bisenetv2.training.loader import Batch
from bisenetv2.training.recipe import Recipe


class PlainLoop:
    """PyTorch's own memory layout, all five losses at the frames' full resolution, SGD."""

    def __init__(
        self,
        network: BiSeNetV2,
        recipe: Recipe,
        ignore_index: int,
        device: torch.device | None = None,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.network, self.ignore_index = network.train().to(self.device), ignore_index
        self.normalization = Normalization().to(self.device)
        self.bfloat16 = bfloat16
        self.optimizer = torch.optim.SGD(
            network.parameters(), recipe.rate, momentum=0.9, weight_decay=recipe.weight_decay
        )

    def take(self, batch: Batch) -> None:
        """Trains on one batch."""
        images = torch.from_numpy(batch.images).to(self.device)
        masks = torch.from_numpy(batch.masks).to(self.device).long()  # B, H, W
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            outputs = self.network(self.normalization(images).contiguous())
        loss = torch.zeros((), device=self.device)
        for logits in outputs:
            enlarged = F.interpolate(logits.float(), masks.shape[-2:], mode="bilinear")
            loss = loss + F.cross_entropy(enlarged, masks, ignore_index=self.ignore_index)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
