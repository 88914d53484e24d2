"""Predictions of Cityscapes as its test server takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bisenetv2.builtin_labels import CITYSCAPES, TERMS
from bisenetv2.data.dataset import Sample
from bisenetv2.errors import UserError
from bisenetv2.evaluation.walk import Answered
from bisenetv2.images import read_image, write_mask
from bisenetv2.labels import IGNORE_INDEX, Labels

FRAME_ENDING = "_leftImg8bit.png"
"""What follows city, sequence and frame in the names of the data set's images."""

PREDICTION_ENDING = "_labelIds.png"
"""What follows them in the names of predictions; the evaluator takes any."""


class Submission:
    """Writes each mask in the raw ids of the data set, under the frame's official name.

    Args:
        folder: Where to write; one flat folder, ready to be zipped.
        labels: Labels of the masks.

    Raises:
        UserError: If the labels are not those of Cityscapes.
    """

    def __init__(self, folder: Path, labels: Labels) -> None:
        if labels.names != CITYSCAPES.names:
            raise UserError(
                f"{folder}: a submission needs the {len(CITYSCAPES)} classes of Cityscapes, not "
                f"{', '.join(labels.names)}; take another model or data"
            )
        self.folder = folder
        self._raw = np.zeros(256, np.uint8)
        for raw, index in CITYSCAPES.raw_ids or ():
            if index != IGNORE_INDEX:
                self._raw[index] = raw

    def add(self, frame: Answered, score: float) -> None:
        """Writes the mask of a frame.

        Raises:
            UserError: If the frame is not named as in Cityscapes, or the file cannot be written.
        """
        name = Path(frame.name).name
        if not name.endswith(FRAME_ENDING):
            raise UserError(f"{frame.name}: a submission needs frames called *{FRAME_ENDING}")
        path = self.folder / (name.removesuffix(FRAME_ENDING) + PREDICTION_ENDING)
        write_mask(path, self._raw.take(frame.answers[0].mask))


@dataclass(frozen=True)
class CityscapesTest:
    """Frames of the test split, whose truth is not public: every pixel is ignored."""

    frames: tuple[Path, ...] = field(repr=False)
    name: str = "Cityscapes test"
    licence: str = ": ".join(TERMS["cityscapes"])
    labels: Labels = CITYSCAPES

    @classmethod
    def open(cls, root: str | Path) -> CityscapesTest:
        """Lists the frames below `leftImg8bit/test`.

        Raises:
            UserError: If there is none.
        """
        folder = Path(root) / "leftImg8bit" / "test"
        frames = tuple(sorted(folder.rglob(f"*{FRAME_ENDING}")))
        if not frames:
            raise UserError(f"{folder}: holds no *{FRAME_ENDING}; unpack leftImg8bit_trainvaltest")
        return cls(frames)

    def __len__(self) -> int:
        return len(self.frames)

    def sample_name(self, index: int) -> str:
        """Path of the frame."""
        return str(self.frames[index])

    def __getitem__(self, index: int) -> Sample:
        """Reads a frame.

        Raises:
            UserError: If the file is unreadable.
        """
        image = read_image(self.frames[index])
        return Sample(image, np.full(image.shape[:2], IGNORE_INDEX, np.uint8))
