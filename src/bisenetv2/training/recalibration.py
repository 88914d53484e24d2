"""Statistics of batch normalisation for the network that is kept, as its frames will have them.

Those gathered in training are of weights on their way, of altered frames and of the black beside
frames that were scaled down. Taken anew, as after averaging weights (Izmailov et al., 2018,
arXiv:1803.05407, section 3.2), they are the network's own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bisenetv2.network.bisenetv2 import STRIDE
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training.loader import Batches
from bisenetv2.training.phases import plan_phases
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.steps import set_training
from bisenetv2.training.world import World


def recalibrated(
    network: FrameNetwork,
    batches: Iterable[npt.NDArray[np.uint8]],
    *,
    world: World,
    freeze: tuple[str, ...] = (),
    bfloat16: bool = False,
) -> FrameNetwork:
    """Returns a copy of a network whose statistics are the mean of those of some batches.

    Args:
        network: The network, which stays as it is.
        batches: This process's share of them, each B×H×W×3; all count the same.
        world: The processes, each of which takes part and gets the same.
        freeze: Parts that keep their statistics.
        bfloat16: Whether to compute in bfloat16.
    """
    network = copy.deepcopy(network)
    set_training(network, freeze)
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # of all batches alike
    place = world.device
    with torch.no_grad(), torch.autocast(place.type, torch.bfloat16, enabled=bfloat16):
        for images in batches:
            network(torch.as_tensor(images).to(place))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        for values in (norm.running_mean, norm.running_var):
            assert values is not None
            values.copy_(world.mean(values))
    return network.eval()


def plain_batches(recipe: Recipe, batches: Batches) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields crops of the training frames at the scale at which frames are segmented.

    No crop is larger than the frames of its batch: what is black beside them they will never show.

    Args:
        recipe: Says how many frames, over all processes, and how many at a time.
        batches: Those of any phase of the run.
    """
    plain = replace(
        recipe, scales=(1.0,), jitter=0.0, cast=0.0, gamma=0.0, blur=0.0, rotation=0.0,
        stretch=0.0, cutmix=0.0, rare_share=0.0, streets_share=0.0, progressive_share=0.0,
        batch=recipe.batch // recipe.accumulate, accumulate=1,
    )  # fmt: skip
    (whole,) = plan_phases(plain, batches.dataset, shard=batches.shard)
    for step in range(-(-recipe.recalibrate // plain.batch)):
        scaled = [part.piece.change.size for part in whole.batches.plan(step).parts]
        crop = _within(whole.batches.augmentation.crop, scaled)
        augmentation = replace(whole.batches.augmentation, crop=crop)
        yield replace(whole.batches, augmentation=augmentation)[step].images


def _within(crop: tuple[int, int], frames: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The largest crop up to this one that the network can take and that lies in all frames."""
    height, width = (
        min(side, max(STRIDE, STRIDE * (min(frame) // STRIDE)))
        for side, frame in zip(crop, zip(*frames, strict=True), strict=True)
    )
    return height, width
