"""The training loop: one function, from a recipe and data to a run folder."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from bisenetv2 import __version__
from bisenetv2.card import ModelCard
from bisenetv2.data.augment import Augmentation
from bisenetv2.data.dataset import Dataset
from bisenetv2.errors import UserError
from bisenetv2.evaluation.evaluate import evaluate
from bisenetv2.images import atomic_path
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.torch_engine import TorchEngine
from bisenetv2.network.bisenetv2 import STRIDE
from bisenetv2.network.checkpoint import save_checkpoint
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.progress import ProgressBar
from bisenetv2.training.average import WeightAverage
from bisenetv2.training.device import choose_device, computes_bfloat16
from bisenetv2.training.init import Start, starting_point
from bisenetv2.training.loader import Batch, Batches, InMemory
from bisenetv2.training.loss import segmentation_loss
from bisenetv2.training.recipes import Recipe
from bisenetv2.training.schedule import rate_factor
from bisenetv2.training.state import RunState


@dataclass(frozen=True)
class RunFolder:
    """Names of what a run writes, and its log."""

    path: Path

    @property
    def states(self) -> Path:
        """Folder of the states to resume from."""
        return self.path / "last"

    @property
    def best(self) -> Path:
        """Checkpoint with the best validation so far; the last one without validation."""
        return self.path / "best.safetensors"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    def log(self, **entry: Any) -> None:
        """Appends a line to the metrics."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def forget_after(self, step: int) -> None:
        """Drops metrics of steps that are about to be taken again, and damaged lines."""
        if not self.metrics.exists():
            return
        lines = self.metrics.read_text(errors="replace").splitlines(keepends=True)
        with atomic_path(self.metrics) as temporary:
            temporary.write_text("".join(line for line in lines if _logged_step(line) <= step))


def _logged_step(line: str) -> float:
    """Step of a line of the metrics; infinite if it is damaged, for instance cut short."""
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf


def train(
    recipe: Recipe,
    dataset: Dataset,
    val_dataset: Dataset | None,
    run: Path,
    *,
    mixed: Dataset | None = None,
    resume: bool = False,
    init: Path | None = None,
    device: str = "auto",
    bar: ProgressBar,
) -> Path:
    """Trains a network and leaves a run folder.

    Args:
        recipe: All settings; its network gets the number of classes of the data.
        dataset: What to train on.
        val_dataset: What to validate on and to choose the best checkpoint by; `None` for nothing.
        run: Run folder to write.
        mixed: Dataset mixed in at the recipe's `streets_share`.
        resume: Whether to go on from the run folder's newest state.
        init: Checkpoint to start from; see `starting_point`. A resumed run remembers its own.
        device: `auto` or a torch device.
        bar: Told of each step.

    Returns:
        Path of the best checkpoint.

    Raises:
        UserError: If the run folder is in use, a checkpoint does not fit, the loss is not finite,
            or the validation data has no labelled pixel.
    """
    folder = RunFolder(run)
    if folder.states.exists() and not resume:
        raise UserError(f"{run}: holds a run already; add --resume to go on, or name another --run")
    place = choose_device(device)
    phases = _phases(recipe, dataset, mixed)
    if val_dataset is not None:
        _check_validation(dataset, val_dataset)
    start = _start(recipe, dataset, init or (_recorded_init(folder) if resume else None))
    recipe = replace(recipe, network=start.model.network.config)
    state = _new_state(recipe, start.model, place)
    if resume:
        state.load(folder.states)
        bar.advance(state.step)
    else:
        if start.summary:
            print(start.summary, file=sys.stderr)
        _write_config(recipe, dataset, folder, init)
    folder.forget_after(state.step)
    steps = _Steps(recipe, dataset.labels.ignore_index, state, place)
    bfloat16 = computes_bfloat16(place, recipe.precision)
    card = _card(recipe, dataset, start.card)
    val_dataset = None if val_dataset is None else InMemory(val_dataset)
    started, trained = time.monotonic(), 0
    for batch in _batches(phases, state.step):
        loss = steps.take(batch, bfloat16)
        trained += len(batch.names)
        pace = trained / (time.monotonic() - started)
        text = f"loss {loss:.3f}  rate {steps.rate:.4f}  {pace:.1f} images/s"
        bar.advance(1, text=text)
        if state.step % 20 == 0 or state.step == recipe.iterations:
            folder.log(step=state.step, loss=loss, rate=steps.rate, images_per_second=pace)
        done = state.step == recipe.iterations
        if val_dataset is not None and (state.step % recipe.val_every == 0 or done):
            _validate(state, val_dataset, folder, card)
        if state.step % recipe.save_every == 0 or done:
            state.save(folder.states)
    if val_dataset is None:
        save_checkpoint(folder.best, state.evaluated, card)
    return folder.best


class _Steps:
    """Optimiser steps: forward, loss, backward, update, average."""

    def __init__(
        self, recipe: Recipe, ignore_index: int, state: RunState, place: torch.device
    ) -> None:
        self.recipe, self.state, self.place = recipe, state, place
        self.ignore_index = ignore_index
        self.rate = 0.0

    def take(self, batch: Batch, bfloat16: bool) -> float:
        """Trains on one batch and returns its loss."""
        recipe, state = self.recipe, self.state
        self.rate = recipe.rate * rate_factor(
            state.step,
            recipe.iterations,
            warmup=recipe.warmup,
            hold=recipe.hold,
            power=recipe.power,
        )
        for group in state.optimizer.param_groups:
            group["lr"] = self.rate
        images = torch.from_numpy(batch.images).to(self.place)  # B, H, W, 3
        masks = torch.from_numpy(batch.masks).to(self.place)  # B, H, W
        with torch.autocast(self.place.type, torch.bfloat16, enabled=bfloat16):
            logits = state.model(images)
        loss = segmentation_loss(
            logits,
            masks,
            ignore_index=self.ignore_index,
            strides=(recipe.loss_stride, recipe.booster_stride),
            booster_weight=recipe.booster_weight,
            ohem=recipe.ohem,
            lovasz=recipe.lovasz,
        )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError(
                f"loss is {value} at step {state.step + 1}, rate {self.rate:.4g}: "
                f"usually the rate is too high (try --rate {self.rate / 4:.2g}); "
                f"the batch was {', '.join(batch.names)}"
            )
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.step += 1
        if state.average is not None:
            state.average.update(state.model, state.step)
        return value


def _start(recipe: Recipe, dataset: Dataset, init: Path | None) -> Start:
    torch.manual_seed(recipe.seed)
    return starting_point(replace(recipe.network, num_classes=len(dataset.labels)), init)


def _new_state(recipe: Recipe, model: FrameNetwork, place: torch.device) -> RunState:
    model.to(place).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    weights = [p for p in model.parameters() if p.ndim == 4]
    others = [p for p in model.parameters() if p.ndim != 4]  # BN and biases: not decayed
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others},
    ]
    optimizer = torch.optim.SGD(
        groups,
        lr=recipe.rate,
        momentum=recipe.momentum,
    )
    average = WeightAverage(model, recipe.average) if recipe.average else None
    return RunState(model, optimizer, average)


class _Phase(NamedTuple):
    """Steps that share a crop and a batch size."""

    start: int
    stop: int
    batches: Batches


def _phases(recipe: Recipe, dataset: Dataset, mixed: Dataset | None) -> tuple[_Phase, _Phase]:
    """Plans the batches: small crops first, where the recipe says so."""
    if recipe.streets_share and mixed is None:
        raise UserError(f"streets_share {recipe.streets_share}: there is no dataset to mix in")
    warm = round(recipe.warm_share * recipe.iterations)
    samples = InMemory(dataset)
    more = None if mixed is None else InMemory(mixed)
    augmentation = Augmentation(
        crop=_grid(recipe.crop),
        scales=recipe.scales,
        continuous=recipe.continuous_scales,
        brightness=recipe.jitter,
        contrast=recipe.jitter,
        saturation=recipe.jitter,
        rare_classes=tuple(dataset.labels.index(name) for name in recipe.rare_classes),
        rare_share=recipe.rare_share,
        ignore_index=dataset.labels.ignore_index,
    )
    small = replace(augmentation, crop=_grid(recipe.warm_crop), scales=recipe.warm_scales)
    batches = Batches(samples, augmentation, recipe.batch, recipe.seed, more, recipe.streets_share)
    return (
        _Phase(0, warm, replace(batches, augmentation=small, batch_size=recipe.warm_batch)),
        _Phase(warm, recipe.iterations, batches),
    )


def _batches(phases: Iterable[_Phase], start: int) -> Iterator[Batch]:
    """Yields the batches from step `start` on."""
    for phase in phases:
        yield from phase.batches.prefetch(max(phase.start, start), phase.stop)


def _grid(crop: tuple[int, int]) -> tuple[int, int]:
    height, width = (-(-side // STRIDE) * STRIDE for side in crop)
    return height, width


def _check_validation(dataset: Dataset, val_dataset: Dataset) -> None:
    """Raises now what validation would raise after hundreds of steps."""
    if not len(val_dataset):
        raise UserError(f"{val_dataset.name}: holds no sample to validate on")
    if val_dataset.labels.names != dataset.labels.names:
        raise UserError(
            f"{val_dataset.name}: its classes ({', '.join(val_dataset.labels.names)}) are not "
            f"those of {dataset.name} ({', '.join(dataset.labels.names)}); "
            "validate on data with the same labels"
        )


def _validate(state: RunState, dataset: Dataset, folder: RunFolder, card: ModelCard) -> None:
    """Scores the network that would ship, logs it, and keeps its checkpoint if it is the best."""
    segmenter = Segmenter.from_engine(TorchEngine(state.evaluated), card)
    result = evaluate(segmenter, dataset)
    miou = result.matrix.mean_iou
    if math.isnan(miou):
        raise UserError(f"{dataset.name}: has no labelled pixel to validate on; check its masks")
    folder.log(step=state.step, miou=miou, pixel_accuracy=result.matrix.pixel_accuracy)
    if miou > state.best_miou:
        state.best_miou = miou
        save_checkpoint(folder.best, state.evaluated, replace(card, merit=result.merit))


def _card(recipe: Recipe, dataset: Dataset, start: ModelCard | None) -> ModelCard:
    height, width = dataset[0].image.shape[:2]
    share = recipe.streets_share
    data = dataset.name + (f" and {100 * share:.0f} % rendered streets" if share else "")
    licence, origin = dataset.licence, ""
    if start is not None:
        # What the weights started from is in them still, and so are its terms.
        data += f", starting from weights of {start.data}"
        licence = "; ".join(dict.fromkeys((licence, start.data_licence)))
        origin = start.origin
    return ModelCard(
        labels=dataset.labels,
        frame_size=(height, width),
        logits_stride=recipe.network.logits_stride,
        data=data,
        data_licence=licence,
        recipe=f"{recipe.dataset}, {recipe.iterations} iterations, seed {recipe.seed}",
        origin=origin,
        version=__version__,
        network=tuple(asdict(recipe.network).items()),
    )


def _write_config(recipe: Recipe, dataset: Dataset, folder: RunFolder, init: Path | None) -> None:
    content = {
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "init": None if init is None else str(init),
        "data": dataset.name,
        "samples": len(dataset),
        "bisenetv2": __version__,
        "torch": str(torch.__version__),
    }
    with atomic_path(folder.path / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False))


def _recorded_init(folder: RunFolder) -> Path | None:
    """Checkpoint that a run started from, by its configuration: it decided the network."""
    try:
        content = yaml.safe_load((folder.path / "config.yaml").read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    init = content.get("init") if isinstance(content, dict) else None
    return Path(init) if isinstance(init, str) else None
