"""The mean of checkpoints, weight by weight: a model soup.

Runs that start from the same weights end close enough together that the network between them is as
good on their data and often better on other data (Wortsman et al., ICML 2022,
https://arxiv.org/abs/2203.05482; with the start itself, CVPR 2022,
https://arxiv.org/abs/2109.01903). Runs from scratch end too far apart: the mean of those is noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bisenetv2 import __version__
from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.network.checkpoint import describe, load_checkpoint
from bisenetv2.network.frames import FrameNetwork


def mean_of(paths: Sequence[Path]) -> tuple[FrameNetwork, ModelCard]:
    """Takes the mean of all weights and BN statistics of checkpoints, each counting the same.

    Args:
        paths: Two checkpoints or more, of one network, classes and input scale.

    Returns:
        The network in evaluation mode on the CPU, booster heads included, and its card.

    Raises:
        UserError: If one cannot be read, they are of different networks, or there is only one.
    """
    if len(paths) < 2:
        raise UserError("a mean needs two checkpoints or more")
    loaded = [load_checkpoint(path) for path in paths]
    model, card = loaded[0]
    for path, (other, theirs) in zip(paths, loaded, strict=True):
        for what, same in (
            ("network", describe(other) == describe(model)),
            ("list of classes", theirs.labels == card.labels),
            ("input scale", theirs.input_scale == card.input_scale),
        ):
            if not same:
                raise UserError(f"{path}: of another {what} than {paths[0]}; name runs of one kind")
    states = [other.network.state_dict() for other, _ in loaded]
    for name, tensor in states[0].items():
        if tensor.is_floating_point():  # not the counters of batches
            tensor.copy_(torch.stack([state[name] for state in states]).mean(0))
    cards = [theirs for _, theirs in loaded]
    return model, replace(
        card,
        data="; ".join(dict.fromkeys(each.data for each in cards)),
        data_licence="; ".join(dict.fromkeys(each.data_licence for each in cards)),
        recipe="mean of " + " and ".join(each.recipe or "unknown settings" for each in cards),
        origin="; ".join(dict.fromkeys(each.origin for each in cards if each.origin)),
        merit="",
        version=__version__,
    )
