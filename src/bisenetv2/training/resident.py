"""Batches made on a GPU: the data lies there, and what was drawn for a sample is done there.

Threads cannot cut crops as fast as a GPU trains on them. Drawing stays where it was, so that a
batch is the same pure function of (seed, step); only its making moves. Results differ from the
CPU's by rounding: positions are exact here and steps of 1/32 pixel there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bisenetv2.data.augment import ALIASING, Augmentation
from bisenetv2.data.dataset import Dataset
from bisenetv2.training.loader import InMemory, Part, Piece, Plan, ahead

MEMORY_SHARE = 0.3
"""Most of a GPU's free memory that data and making batches may take; training needs the rest."""


class DeviceBatch(NamedTuple):
    """What one step trains on, on the device."""

    images: Tensor  # B, H, W, 3 uint8
    masks: Tensor  # B, H, W uint8
    names: tuple[str, ...]  # B sample names, for messages
    first: int = 0  # number of the first sample, counted over the whole run


@dataclass(frozen=True)
class ResidentData:
    """All samples of a dataset on a device, and the batches made of them there."""

    images: Tensor  # N, H, W, 3 uint8
    masks: Tensor  # N, H, W uint8

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device, workers: int = 2) -> ResidentData | None:
        """Copies a dataset's samples.

        Args:
            dataset: Where they come from.
            device: Where they go.
            workers: Threads that read them.

        Returns:
            `None` where they are of several sizes.
        """
        shape = dataset[0].mask.shape
        images = torch.empty((len(dataset), *shape, 3), dtype=torch.uint8, device=device)
        masks = torch.empty((len(dataset), *shape), dtype=torch.uint8, device=device)
        for index, sample in enumerate(ahead(dataset.__getitem__, 0, len(dataset), workers)):
            if sample.mask.shape != shape:
                return None
            images[index] = torch.from_numpy(sample.image)
            masks[index] = torch.from_numpy(sample.mask)
        return cls(images, masks)

    def goes_with(self, mixed: Dataset | None) -> bool:
        """Tells whether a second dataset, of frames of one size, may be mixed in: sent along."""
        return mixed is None or mixed[0].mask.shape == self.masks.shape[1:]

    def make(self, plan: Plan, augmentation: Augmentation) -> DeviceBatch:
        """Makes the batch that was drawn; waits for nothing on the device."""
        others = [part.other for part in plan.parts if part.other is not None]
        pieces = [part.piece for part in plan.parts] + others
        images, masks = self._crop(pieces, augmentation)  # B + others, 3, h, w and 1, h, w
        images = _blurred(_recoloured(images, pieces), pieces)
        if others:
            images, masks = _pasted((images, masks), plan.parts)
        frames = images.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return DeviceBatch(frames, masks[:, 0].to(torch.uint8), plan.names, plan.first)

    def _crop(self, pieces: Sequence[Piece], augmentation: Augmentation) -> tuple[Tensor, Tensor]:
        """Scales, turns, crops and flips: `float32` images B, 3, h, w and masks B, 1, h, w."""
        crop, source = augmentation.crop, self.masks.shape[1:]
        matrices = [_crop_to_source(piece, crop, source) for piece in pieces]
        matrix = self._moved(np.stack(matrices))  # B, 2, 3
        frames, truth = self._whole(pieces)
        x, y = _places(matrix, crop)  # each B, h, w, in pixels of the source
        images = _sampled(frames, x, y, "bilinear")
        small = [
            index for index, piece in enumerate(pieces) if piece.change.scale(source) < ALIASING
        ]
        if small:
            rows = self._moved(np.array(small))
            least = min(pieces[index].change.scale(source) for index in small)
            images[rows] = _averaged(frames[rows], matrix[rows], crop, max(2, round(1 / least)))
        masks = _sampled(truth, x, y, "nearest")
        height, width = source
        outside = (x < -0.5) | (x >= width - 0.5) | (y < -0.5) | (y >= height - 0.5)
        images = images.masked_fill(outside[:, None], 0).round()
        return images, masks.masked_fill(outside[:, None], augmentation.ignore_index)

    def _whole(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor]:
        """Whole frames and masks, `float32` B, 3, H, W and B, 1, H, W."""
        chosen = self._moved(np.array([piece.place or 0 for piece in pieces]))
        images, masks = self.images[chosen], self.masks[chosen]  # B, H, W, 3 and B, H, W
        sent = [index for index, piece in enumerate(pieces) if piece.place is None]
        if sent:
            rows, samples = self._moved(np.array(sent)), [pieces[index].sample for index in sent]
            images[rows] = self._moved(np.stack([sample.image for sample in samples]))
            masks[rows] = self._moved(np.stack([sample.mask for sample in samples]))
        return images.permute(0, 3, 1, 2).float(), masks[:, None].float()

    def _moved(self, values: npt.NDArray[np.generic]) -> Tensor:
        return _moved(values, self.images)


def _moved(values: npt.NDArray[np.generic], like: Tensor) -> Tensor:
    """Copies an array to a tensor's device, reals as `float32`."""
    wanted = np.float32 if values.dtype == np.float64 else values.dtype
    return torch.from_numpy(values.astype(wanted, copy=False)).to(like.device, non_blocking=True)


def _crop_to_source(
    piece: Piece, crop: tuple[int, int], source: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """From the pixel centres of the crop, flipped or not, to those of the source: 2×3."""
    matrix = piece.change.shrinking(source) @ piece.change.placement(crop)
    if piece.change.flipped:
        matrix = matrix @ np.array([[-1, 0, crop[1] - 1], [0, 1, 0], [0, 0, 1]])
    return np.asarray(matrix[:2])


def _places(
    matrix: Tensor, crop: tuple[int, int], offset: tuple[float, float] = (0.0, 0.0)
) -> tuple[Tensor, Tensor]:
    """Where each pixel of the crop, moved by part of a pixel, lies in the source: x and y."""
    rows = torch.arange(crop[0], device=matrix.device)[:, None] + offset[0]  # h, 1
    columns = torch.arange(crop[1], device=matrix.device) + offset[1]  # w
    x, y = (
        matrix[:, axis, 0, None, None] * columns
        + matrix[:, axis, 1, None, None] * rows
        + matrix[:, axis, 2, None, None]
        for axis in (0, 1)
    )
    return x, y  # each B, h, w


def _sampled(frames: Tensor, x: Tensor, y: Tensor, mode: str) -> Tensor:
    """Reads frames B, C, H, W at places B, h, w in pixels; edges go on for ever."""
    height, width = frames.shape[-2:]
    # -1 and 1 are the outer edges of the frame.
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)  # B, h, w, 2
    return F.grid_sample(frames, grid, mode, padding_mode="border", align_corners=False)


def _averaged(frames: Tensor, matrix: Tensor, crop: tuple[int, int], count: int) -> Tensor:
    """Takes each pixel as the mean over count×count places in it: B, 3, h, w."""
    offsets = [(step + 0.5) / count - 0.5 for step in range(count)]
    total = frames.new_zeros(len(frames), frames.shape[1], *crop)
    for down in offsets:
        for right in offsets:
            total += _sampled(frames, *_places(matrix, crop, (down, right)), "bilinear")
    return total / count**2


def _recoloured(images: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """One linear map of the colours, then gamma: B, 3, h, w."""
    maps = [piece.change.colours() for piece in pieces]
    colours = _moved(np.stack([colours for colours, _ in maps]), images)  # B, 3, 3
    about_mean = _moved(np.stack([shares for _, shares in maps]), images)  # B, 3
    gamma = _moved(np.array([piece.change.gamma for piece in pieces]), images)  # B
    added = about_mean * images.mean((1, 2, 3))[:, None]  # B, 3
    flat = torch.baddbmm(added[:, :, None], colours, images.flatten(2))  # B, 3, hw
    flat = flat.round().clamp(0, 255) / 255
    return (255 * flat ** gamma[:, None, None]).round().view_as(images)


def _blurred(images: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """Blurs those that are to be: B, 3, h, w."""
    soft = [index for index, piece in enumerate(pieces) if piece.change.blur]
    if not soft:
        return images
    deviations = np.array([pieces[index].change.blur for index in soft])[:, None]
    reach = min(math.ceil(3 * deviations.max()), min(images.shape[-2:]) - 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviations) ** 2)
    weights = np.repeat(weights / weights.sum(1, keepdims=True), 3, axis=0)  # 3B, taps
    kernel = _moved(weights, images)[:, None]  # 3B, 1, taps
    rows = _moved(np.array(soft), images)
    chosen = images[rows]  # soft, 3, h, w
    sharp = F.pad(chosen.flatten(0, 1)[None], (reach,) * 4, mode="reflect")  # 1, 3 soft, h+, w+
    # As many are soft as chance has it, and cuDNN would look for its best kernel for each number.
    with torch.backends.cudnn.flags(enabled=False):
        across = F.conv2d(sharp, kernel[:, :, None], groups=len(weights))  # 1, 3 soft, h+, w
        both = F.conv2d(across, kernel[:, :, :, None], groups=len(weights))  # 1, 3 soft, h, w
    images = images.clone()
    images[rows] = both.view_as(chosen)
    return images


def _pasted(tensors: tuple[Tensor, Tensor], parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
    """Puts rectangles of the tensors' last samples onto their first, one for each part."""
    count = len(parts)
    edges, sources, taken = np.zeros((count, 4), np.int64), np.arange(count), count
    for index, part in enumerate(parts):
        if part.area is not None:
            rows, columns = part.area
            edges[index] = rows.start, rows.stop, columns.start, columns.stop
            sources[index], taken = taken, taken + 1
    top, bottom, left, right = _moved(edges, tensors[0]).view(count, 4, 1, 1, 1).unbind(1)
    row = torch.arange(tensors[0].shape[2], device=top.device)[:, None]  # h, 1
    column = torch.arange(tensors[0].shape[3], device=top.device)  # w
    inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)  # B, 1, h, w
    others = _moved(sources, tensors[0])
    images, masks = (torch.where(inside, x[others], x[:count]) for x in tensors)
    return images, masks


def resident(
    dataset: InMemory, device: torch.device, batch: int, crop: tuple[int, int], workers: int
) -> ResidentData | None:
    """Puts a dataset on a GPU.

    Args:
        dataset: What batches are drawn from, which asks for its masks time and again.
        device: Where the training computes.
        batch: Frames a step.
        crop: Height and width of the largest crop.
        workers: Threads that read it.

    Returns:
        `None` where there is no CUDA, the samples are of several sizes, or they take more than
        `MEMORY_BUDGET` or a share of the GPU's free memory.
    """
    if device.type != "cuda":
        return None
    sample = sum(array.nbytes for array in dataset[0])
    # A batch's whole frames are there in `float32`, twice as many with CutMix, and once more cut.
    needed = len(dataset) * sample + 8 * batch * (sample + 4 * math.prod(crop))
    if len(dataset) * sample > dataset.budget:
        return None
    if needed > MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    return ResidentData.of(dataset, device, workers)
