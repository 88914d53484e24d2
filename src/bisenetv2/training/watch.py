"""Watching a run: JSON lines always, TensorBoard where it is installed, a picture of the curves."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from bisenetv2.card import ModelCard
from bisenetv2.data.dataset import Dataset, SpreadSamples
from bisenetv2.evaluation.confusion import ConfusionMatrix
from bisenetv2.files import atomic_path
from bisenetv2.images import Image
from bisenetv2.inference.overlay import overlay
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.torch_engine import TorchEngine
from bisenetv2.labels import Labels
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training.run_folder import RunFolder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PICTURES = 3
"""Validation frames that TensorBoard shows at every validation, always the same."""

PICTURE_HEIGHT = 360
"""Most pixels that such a frame is high."""


class Watch:
    """Writes down how a run fares."""

    def __init__(self, folder: RunFolder, start: int) -> None:
        """Opens nothing yet.

        Args:
            folder: Of the run.
            start: Steps taken before: what TensorBoard knows of later ones is dropped.
        """
        self.folder, self.start = folder, start

    def log(self, step: int, split: str = "", **values: float) -> None:
        """Notes values of a step, 0-1 for shares and scores, and the split that they are of."""
        self.folder.log(step=step, **({"split": split} if split else {}), **values)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def show(
        self,
        step: int,
        matrix: ConfusionMatrix,
        network: FrameNetwork,
        dataset: Dataset,
        card: ModelCard,
    ) -> None:
        """Shows a validation: the curves so far, some frames and the confusion matrix."""
        draw_curves(self.folder)
        if self._board is None:
            return
        segmenter = Segmenter.from_engine(TorchEngine(network), card)
        frames = SpreadSamples(dataset, PICTURES)
        for index in range(len(frames)):
            image, truth = frames[index]
            panels = [overlay(image, mask, card.labels, legend=False)
                      for mask in (truth, segmenter(image))]  # fmt: skip
            picture = np.concatenate([image, *panels], axis=1)  # H, 3 W, 3
            factor = min(1.0, PICTURE_HEIGHT / picture.shape[0])
            picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            self._board.add_image(f"frame, truth, prediction/{index}", picture, step,
                                  dataformats="HWC")  # fmt: skip
        picture = matrix_picture(matrix, card.labels)
        self._board.add_image("truth down, prediction across", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Draws the curves a last time."""
        draw_curves(self.folder)
        if self._board is not None:
            self._board.close()

    @cached_property
    def _board(self) -> SummaryWriter | None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        path = self.folder.path / "tensorboard"
        return SummaryWriter(str(path), purge_step=self.start + 1)


def matrix_picture(matrix: ConfusionMatrix, labels: Labels, cell: int = 24) -> Image:
    """Draws a confusion matrix, each row on a scale of its truth pixels: dark none, bright all.

    Args:
        matrix: The counts.
        labels: Their classes; a swatch of each colour stands at its row and column.
        cell: Side of a class in pixels.

    Returns:
        RGB `uint8` of side (C + 1) × cell.
    """
    rows = matrix.counts / np.maximum(matrix.counts.sum(1, keepdims=True), 1)  # C, C
    heat = cv2.applyColorMap((255 * rows).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    count = len(labels)
    picture = np.zeros((count + 1, count + 1, 3), np.uint8)
    picture[1:, 1:] = heat
    picture[0, 1:] = picture[1:, 0] = np.array(labels.palette, np.uint8)
    return np.asarray(picture.repeat(cell, 0).repeat(cell, 1), np.uint8)


def draw_curves(folder: RunFolder) -> None:
    """Draws loss, rate and validation over the steps, as soon as there is a line to draw."""
    logged = folder.logged()
    losses = [entry for entry in logged if "loss" in entry]
    scores = [entry for entry in logged if "miou" in entry]
    if len(losses) < 2:
        return
    from matplotlib.figure import Figure

    rows: list[tuple[str, list[dict[str, Any]], float]] = [("loss", losses, 1), ("rate", losses, 1)]
    if scores:
        rows.append(("miou", scores, 100))
    figure = Figure(figsize=(8, 2.4 * len(rows)), layout="constrained")
    all_axes = figure.subplots(len(rows), 1, sharex=True)
    for axes, (name, entries, factor) in zip(all_axes, rows, strict=True):
        steps, values = [e["step"] for e in entries], [factor * e[name] for e in entries]
        axes.plot(steps, values, marker="." if len(steps) < 40 else "")
        axes.set_ylabel("mIoU, %" if name == "miou" else name)
        axes.grid(alpha=0.3)
    all_axes[-1].set_xlabel("step")
    with atomic_path(folder.curves) as temporary:
        figure.savefig(temporary, dpi=100)
