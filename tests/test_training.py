"""The training loop: its run folder, its memory, its refusals, and every recipe."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import bars
from bisenetv2.card import ModelCard
from bisenetv2.data.augment import Augmentation
from bisenetv2.data.dataset import Dataset, DatasetView, Sample, SpreadSamples
from bisenetv2.data.streets import RenderedStreets
from bisenetv2.errors import UserError
from bisenetv2.evaluation.evaluate import Evaluation, evaluate
from bisenetv2.evaluation.protocols import FrameProtocol
from bisenetv2.inference.model_file import read_card
from bisenetv2.inference.torch_engine import TorchEngine
from bisenetv2.labels import CAMVID, IGNORE_INDEX, Labels
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.checkpoint import load_checkpoint, save_checkpoint
from bisenetv2.network.config import BiSeNetV2Config
from bisenetv2.network.device import choose_device, computes_bfloat16
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training import steps, validation
from bisenetv2.training.average import WeightAverage
from bisenetv2.training.init import starting_point
from bisenetv2.training.loader import Batch, InMemory
from bisenetv2.training.loop import train
from bisenetv2.training.loss import Mining, SegmentationLoss
from bisenetv2.training.phases import batches_from, plan_phases
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.recipes import RECIPES
from bisenetv2.training.run_folder import RunFolder
from bisenetv2.training.state import RunState
from bisenetv2.training.watch import Watch
from bisenetv2.training.world import World

ALONE = World(torch.device("cpu"))

TINY = BiSeNetV2Config(
    num_classes=len(CAMVID), width=0.25, head_width=16, booster_width=8, expansion=2
)
# Kept in memory, since rendering would be most of the work.
STREETS = InMemory(RenderedStreets(6, (64, 96), seed=1))
VAL_STREETS = InMemory(RenderedStreets(2, (64, 96), seed=2))
MIXED_STREETS = InMemory(RenderedStreets(3, (64, 96), seed=3))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More threads only get in each other's way at these sizes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is not installed: it takes longer than these runs."""
    monkeypatch.setattr(Watch, "_board", None)


class Bar(bars.Bar):
    """Notes what it is told; may break off the training."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps, self.texts, self.stop_after = 0, [""], stop_after

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        self.steps += steps
        self.texts.append(text or "")
        if self.steps == self.stop_after:
            raise KeyboardInterrupt


def tiny(**options: Any) -> Recipe:
    """A run of seconds."""
    defaults: dict[str, Any] = {
        "network": TINY,
        "iterations": 4,
        "batch": 2,
        "crop": (32, 64),
        "val_every": 2,
        "save_every": 2,
        "average": 0.9,
        "precision": "float32",
    }
    return Recipe(**{**defaults, **options})


def run(recipe: Recipe, folder: Path, val: Dataset | None = None, **options: Any) -> Path:
    return train(recipe, STREETS, val, folder, **{"bar": Bar(), **options})


def new_state(recipe: Recipe) -> RunState:
    torch.manual_seed(recipe.seed)
    network = replace(recipe.network, num_classes=len(STREETS.labels))
    return steps.new_state(recipe, starting_point(network, None).model, ALONE)


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def scores(folder: Path) -> list[tuple[float, float]]:
    """Steps of the validations and what they found."""
    return [(line["step"], line["miou"]) for line in metrics(folder) if "miou" in line]


def states(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "last").iterdir())


def test_a_run_leaves_config_metrics_states_and_the_best_checkpoint(tmp_path: Path) -> None:
    folder, bar = tmp_path / "run", Bar()
    best = run(tiny(), folder, VAL_STREETS, bar=bar)
    assert best == folder / "best.safetensors"
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.safetensors", "config.yaml", "last", "metrics.jsonl",
    ]  # fmt: skip
    assert states(folder) == ["state-00000002.safetensors", "state-00000004.safetensors"]
    assert bar.steps == 4
    assert bar.texts[-1].startswith("loss ")

    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["recipe"]["network"]["head_width"] == 16
    assert (config["dataset"], config["samples"]) == (STREETS.name, 6)

    assert [step for step, _ in scores(folder)] == [2, 4]
    assert [line["step"] for line in metrics(folder) if "loss" in line] == [4]

    network, card = load_checkpoint(best)
    assert network.network.config == TINY
    assert card.frame_size == (64, 96)
    assert (card.labels, card.data, card.data_licence) == (CAMVID, STREETS.name, STREETS.licence)
    assert f"{100 * max(miou for _, miou in scores(folder)):.2f}" in card.merit


def test_the_best_checkpoint_is_the_average_at_the_best_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = iter([0.3, 0.1, 0.2])
    kept: list[dict[str, torch.Tensor]] = []

    def scripted(looking: FrameProtocol, dataset: Dataset) -> Evaluation:
        result = evaluate(looking, dataset)
        engine = looking.segmenter.engine
        assert isinstance(engine, TorchEngine)
        kept.append(copy.deepcopy(engine._network.network.state_dict()))
        monkeypatch.setattr(type(result.matrix), "mean_iou", next(scripts))
        return result

    monkeypatch.setattr(validation, "evaluate", scripted)
    best = run(tiny(iterations=3, val_every=1), tmp_path, VAL_STREETS)
    shipped = load_file(best)
    assert all(torch.equal(tensor, shipped[name]) for name, tensor in kept[0].items())
    assert any(not torch.equal(tensor, shipped[name]) for name, tensor in kept[2].items())
    last = load_file(tmp_path / "last" / "state-00000003.safetensors")
    assert all(torch.equal(tensor, last[f"average.{name}"]) for name, tensor in kept[2].items())


def test_a_worse_validation_after_resuming_does_not_replace_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = iter([0.3, 0.1])

    def scripted(looking: FrameProtocol, dataset: Dataset) -> Evaluation:
        result = evaluate(looking, dataset)
        monkeypatch.setattr(type(result.matrix), "mean_iou", next(scripts))
        return result

    monkeypatch.setattr(validation, "evaluate", scripted)
    best = run(tiny(iterations=2), tmp_path, VAL_STREETS)
    kept = best.read_bytes()
    run(tiny(iterations=4), tmp_path, VAL_STREETS, resume=True)
    assert [miou for _, miou in scores(tmp_path)] == [0.3, 0.1]
    assert best.read_bytes() == kept


class Unlabelled(DatasetView):
    def __getitem__(self, index: int) -> Sample:
        image, mask = self.dataset[index]
        return Sample(image, np.full_like(mask, IGNORE_INDEX))


def test_validation_data_without_a_labelled_pixel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^rendered streets: has no labelled pixel"):
        run(tiny(), tmp_path, Unlabelled(VAL_STREETS))
    assert not list(tmp_path.iterdir())


def test_validation_on_what_is_trained_on_is_told_and_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny(iterations=1), tmp_path / "apart", VAL_STREETS)
    assert capsys.readouterr().err == ""
    assert "trained on" not in read_card(tmp_path / "apart/best.safetensors").merit
    run(tiny(iterations=1), tmp_path / "same", STREETS)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rendered streets (trained on): the best checkpoint is chosen on what")
    merit = read_card(tmp_path / "same/best.safetensors").merit
    assert "% mIoU on rendered streets (trained on), resized" in merit
    run(tiny(iterations=1, overfit=2), tmp_path / "overfit")
    assert capsys.readouterr().err == ""
    assert "(trained on)" in read_card(tmp_path / "overfit/best.safetensors").merit
    train(tiny(iterations=1), SpreadSamples(STREETS, 2), STREETS, tmp_path / "part", bar=Bar())
    assert "(2 of 6 trained on)" in read_card(tmp_path / "part/best.safetensors").merit


def test_training_data_without_a_labelled_pixel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^rendered streets: has no labelled pixel"):
        train(tiny(), Unlabelled(STREETS), None, tmp_path, bar=Bar())
    assert not list(tmp_path.iterdir())


def test_frames_without_a_labelled_pixel_leave_the_weights_finite(tmp_path: Path) -> None:
    class Hardly(Unlabelled):
        def __getitem__(self, index: int) -> Sample:
            return super().__getitem__(index) if index else self.dataset[index]

    best = train(tiny(ohem=True), Hardly(STREETS), None, tmp_path, bar=Bar())
    assert all(torch.isfinite(tensor).all() for tensor in load_file(best).values())


def test_without_validation_the_last_average_is_kept(tmp_path: Path) -> None:
    shipped = load_file(run(tiny(iterations=2), tmp_path))
    last = load_file(tmp_path / "last" / "state-00000002.safetensors")
    assert all(torch.equal(tensor, last[f"average.{name}"]) for name, tensor in shipped.items())
    assert any(not torch.equal(tensor, last[f"model.{name}"]) for name, tensor in shipped.items())


def test_without_average_the_network_itself_is_kept(tmp_path: Path) -> None:
    shipped = load_file(run(tiny(iterations=2, average=0.0), tmp_path))
    last = load_file(tmp_path / "last" / "state-00000002.safetensors")
    assert all(torch.equal(tensor, last[f"model.{name}"]) for name, tensor in shipped.items())
    assert not any(name.startswith("average.") for name in last)


def test_training_on_two_streets_learns_them(tmp_path: Path) -> None:
    recipe = tiny(iterations=40, crop=(64, 96), scales=(1.0,), average=0.0, save_every=40)
    bar = Bar()
    train(recipe, SpreadSamples(STREETS, 2), None, tmp_path, bar=bar)
    losses = [float(text.split()[1]) for text in bar.texts if text]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_a_run_broken_off_and_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    recipe = tiny(
        iterations=6,
        crop=(64, 64),
        progressive_share=0.5,
        progressive_batch=3,
        jitter=0.3,
        streets_share=0.3,
        warmup=2,
        ohem=True,
    )
    straight = tmp_path / "straight"
    run(recipe, straight, VAL_STREETS, mixed=MIXED_STREETS)
    for stop_after in (3, 5):  # goes on from step 2, with small crops, and from step 4, without
        broken, bar = tmp_path / f"broken{stop_after}", Bar()
        with pytest.raises(KeyboardInterrupt):
            run(recipe, broken, VAL_STREETS, mixed=MIXED_STREETS, bar=Bar(stop_after))
        run(recipe, broken, VAL_STREETS, mixed=MIXED_STREETS, bar=bar, resume=True)
        assert bar.steps == 6
        for name in ("last/state-00000006.safetensors", "best.safetensors"):
            expected, found = load_file(straight / name), load_file(broken / name)
            assert expected.keys() == found.keys()
            assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
        assert scores(broken) == scores(straight)


def test_resuming_moves_on_from_the_saved_weights(tmp_path: Path) -> None:
    run(tiny(iterations=1), tmp_path)
    before = load_file(tmp_path / "last" / "state-00000001.safetensors")
    run(tiny(iterations=2), tmp_path, resume=True)
    after = load_file(tmp_path / "last" / "state-00000002.safetensors")
    assert not torch.equal(
        before["model.head.classifier.weight"], after["model.head.classifier.weight"]
    )


def test_the_two_newest_states_are_kept_and_the_newest_is_taken(tmp_path: Path) -> None:
    recipe, bar = tiny(iterations=3, save_every=1), Bar()
    run(recipe, tmp_path)
    assert states(tmp_path) == ["state-00000002.safetensors", "state-00000003.safetensors"]
    run(recipe, tmp_path, resume=True, bar=bar)
    assert bar.steps == 3
    assert not any(bar.texts)  # finished: no step is taken again


def test_resuming_falls_back_to_the_state_before_a_damaged_one(tmp_path: Path) -> None:
    run(tiny(), tmp_path)
    expected = load_file(tmp_path / "last" / "state-00000004.safetensors")
    newest = tmp_path / "last" / "state-00000004.safetensors"
    half = newest.read_bytes()[:1000]
    newest.unlink()  # `expected` is still mapped from it
    newest.write_bytes(half)
    bar = Bar()
    run(tiny(), tmp_path, resume=True, bar=bar)
    assert bar.steps == 4
    found = load_file(newest)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


@pytest.mark.parametrize("damage", ['{"step": 2, "mi', '{"step": 2}', "\0\0}\n", "[]\n", "{}\n"])
def test_a_damaged_metrics_line_is_dropped_on_resuming(tmp_path: Path, damage: str) -> None:
    run(tiny(val_every=1, iterations=2), tmp_path, VAL_STREETS)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(damage)
    run(tiny(val_every=1, iterations=3), tmp_path, VAL_STREETS, resume=True)
    assert [step for step, _ in scores(tmp_path)] == [1, 2, 3]


def test_a_second_attempt_after_an_early_end_starts_its_metrics_anew(tmp_path: Path) -> None:
    recipe = tiny(iterations=21, val_every=100, save_every=100)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, VAL_STREETS, bar=Bar(stop_after=21))
    assert [entry["step"] for entry in RunFolder(tmp_path).logged()] == [20]
    run(recipe, tmp_path, VAL_STREETS)
    assert [entry["step"] for entry in RunFolder(tmp_path).logged()] == [20, 21, 21]


def test_weights_without_a_state_are_not_overwritten(tmp_path: Path) -> None:
    run(tiny(iterations=1), tmp_path)
    shutil.rmtree(tmp_path / "last")  # as to save room
    kept = (tmp_path / "best.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"holds best\.safetensors, but no state"):
        run(tiny(iterations=1, seed=1), tmp_path)
    assert (tmp_path / "best.safetensors").read_bytes() == kept


def test_what_is_not_of_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: mine\n")
    (tmp_path / "metrics.jsonl").write_text("mine\n")
    with pytest.raises(UserError, match=r"holds a config\.yaml that is not of a run"):
        run(tiny(iterations=1), tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "model: mine\n"
    assert (tmp_path / "metrics.jsonl").read_text() == "mine\n"


def test_frames_of_several_sizes_are_seen_at_the_scale_of_a_usual_one(tmp_path: Path) -> None:
    class Mixed(SpreadSamples):
        def __getitem__(self, index: int) -> Sample:
            image, mask = super().__getitem__(index)
            return Sample(image[:16, :24], mask[:16, :24]) if index == 0 else Sample(image, mask)

    best = train(tiny(iterations=1), Mixed(STREETS, 4), None, tmp_path, bar=Bar())
    assert read_card(best).frame_size == (64, 96)


def test_a_folder_in_use_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    run(tiny(iterations=1), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(UserError, match=r"holds a run already; add --resume"):
        run(tiny(), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"last: no saved state to resume from"):
        run(tiny(), tmp_path, resume=True)


def test_a_run_of_another_network_is_not_resumed(tmp_path: Path) -> None:
    run(tiny(iterations=1), tmp_path)
    other = tiny(network=replace(TINY, head_width=24))
    with pytest.raises(UserError, match=r"state-00000001.*: checkpoint of another network"):
        run(other, tmp_path, resume=True)


def checkpoint(path: Path, config: BiSeNetV2Config = TINY, poison: bool = False) -> Path:
    torch.manual_seed(7)
    network = BiSeNetV2(config)
    if poison:
        with torch.no_grad():
            next(network.head.parameters()).fill_(torch.inf)
    save_checkpoint(path, FrameNetwork(network), ModelCard(CAMVID, (64, 96)))
    return path


def test_training_may_start_from_a_checkpoint(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "start.safetensors")
    recipe = tiny(iterations=1, rate=1e-12, average=0.0)
    shipped, started = load_file(run(recipe, tmp_path / "run", init=init)), load_file(init)
    for name, tensor in started.items():
        if name.endswith("weight"):
            torch.testing.assert_close(shipped[name], tensor)


def test_the_schedule_sets_the_rate_of_the_steps(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "start.safetensors")
    recipe = tiny(iterations=1, warmup=10**12, average=0.0)  # a first step of next to nothing
    shipped, started = load_file(run(recipe, tmp_path / "slow", init=init)), load_file(init)
    for name, tensor in started.items():
        if name.endswith("weight"):
            torch.testing.assert_close(shipped[name], tensor)

    run(tiny(rate=0.08, hold=0.5, power=2), tmp_path / "falling")
    assert metrics(tmp_path / "falling")[-1]["rate"] == pytest.approx(0.08 * 0.5**2)


def test_a_warm_up_that_never_ends_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny(iterations=2, warmup=1), tmp_path / "short")
    assert capsys.readouterr().err == ""
    run(tiny(iterations=2, warmup=2), tmp_path / "long")
    assert capsys.readouterr().err == (
        "warmup 2: all of the 2 iterations, whose rate never reaches 0.05; give a smaller --warmup "
        "or more --iterations\n"
    )


def test_momentum_is_the_recipes() -> None:
    state = new_state(tiny(momentum=0.7))
    assert {group["momentum"] for group in state.optimizer.param_groups} == {0.7}


def test_the_loss_is_the_recipe_s() -> None:
    recipe = tiny(
        booster_weight=0.3, ohem=True, ohem_threshold=0.6, ohem_share=0.1, dice=0.2, lovasz=0.5,
        loss_stride=2, booster_stride=8,
    )  # fmt: skip
    taken = steps.Steps(recipe, 11, new_state(recipe), ALONE, (1.0, 2.0)).criterion
    assert taken == SegmentationLoss(
        11,
        strides=(2, 8),
        booster_weights=(0.3,) * 4,
        mining=Mining(0.6, 0.1),
        class_weights=(1.0, 2.0),
        dice=0.2,
        lovasz=0.5,
        mean=ALONE.mean,
    )


def test_samples_are_drawn_and_augmented_as_the_recipe_says() -> None:
    class OtherIgnore(RenderedStreets):
        @property
        def labels(self) -> Labels:
            return replace(CAMVID, ignore_index=200, raw_ids=None)

    recipe = tiny(
        iterations=10,
        crop=(128, 250),
        input_scale=0.5,
        scales=(0.7, 1.1),
        continuous_scales=True,
        progressive=(0.5, 0.75),
        progressive_share=0.6,
        progressive_batch=3,
        jitter=0.2,
        rare_classes=("Pole", "Car"),
        rare_share=0.6,
        streets_share=0.25,
        seed=5,
    )
    phases = plan_phases(recipe, OtherIgnore(3), OtherIgnore(2))
    augmentation = Augmentation(
        (64, 128),
        (0.35, 0.55),
        continuous=True,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        rare_classes=(CAMVID.index("Pole"), CAMVID.index("Car")),
        rare_share=0.6,
        ignore_index=200,
    )
    assert [phase.batches.augmentation for phase in phases] == [
        replace(augmentation, crop=(32, 64), scales=(0.35 * 0.5, 0.55 * 0.5)),
        replace(augmentation, crop=(64, 96), scales=(0.35 * 0.75, 0.55 * 0.75)),
        augmentation,
    ]
    assert [(phase.start, phase.stop) for phase in phases] == [(0, 3), (3, 6), (6, 10)]
    firsts = [phase.batches[phase.start].first for phase in phases]
    assert firsts == [0, 9, 18]  # no sample is drawn twice, none is passed over
    for phase, batch_size in zip(phases, (3, 3, 2), strict=True):
        batches = phase.batches
        assert (batches.batch_size, batches.seed, batches.mixed_share) == (batch_size, 5, 0.25)
        assert (len(batches.dataset), len(batches.mixed or ())) == (3, 2)


@pytest.mark.parametrize("overfit", [0, 2])
def test_frames_may_be_seen_enlarged(overfit: int) -> None:
    recipe = tiny(crop=(64, 90), input_scale=1.5, scales=(0.5, 2.0), overfit=overfit)
    (phase,) = plan_phases(recipe, RenderedStreets(2))
    augmentation = phase.batches.augmentation
    assert augmentation.crop == (96, 160)  # of 96 × 135
    assert augmentation.scales == ((1.5,) if overfit else (0.75, 3.0))
    exact = tiny(crop=(1600, 1600), input_scale=1.1)  # 1760 is a multiple of 32
    assert plan_phases(exact, RenderedStreets(2))[0].batches.augmentation.crop == (1760, 1760)
    with pytest.raises(UserError, match=r"crop .* at most 16384 pixels, scaled ones too"):
        tiny(crop=(9000, 64), input_scale=2.0)


def test_a_checkpoint_knows_at_which_scale_it_was_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = run(tiny(input_scale=1.5, iterations=2), tmp_path / "first")
    assert load_checkpoint(best)[1].input_scale == 1.5
    assert "--input-scale" not in capsys.readouterr().err
    run(tiny(input_scale=1.5, iterations=1), tmp_path / "same", init=best)
    assert "--input-scale" not in capsys.readouterr().err
    run(tiny(iterations=1), tmp_path / "other", init=best)
    assert "seen at 1 times their sides" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "start.safetensors", poison=True)
    with pytest.raises(UserError) as caught:
        run(tiny(), tmp_path / "run", init=init)
    text = str(caught.value)
    assert text.startswith("loss is nan at step 1, rate 0.05: ")
    assert "the weights that it started from are of no use" in text
    assert text.count("rendered street 1/") == 2
    assert "\n" not in text
    assert not (tmp_path / "run" / "last").exists()


def test_what_an_export_beside_the_run_is_writing_stays(tmp_path: Path) -> None:
    run(tiny(iterations=1), tmp_path)
    others = [tmp_path / ".bisenetv2-x.onnx", tmp_path / ".bisenetv2-y"]
    others[0].touch()
    others[1].mkdir()
    (tmp_path / "last" / ".bisenetv2-z.safetensors").touch()
    run(tiny(iterations=2), tmp_path, resume=True)
    assert set(tmp_path.rglob(".bisenetv2-*")) == set(others)


def test_a_rate_that_is_too_high_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^loss is (nan|inf) at step [2-9], .*\(try --rate 2\.5\)"):
        run(tiny(rate=10.0, weight_decay=1e30, iterations=9, warmup=0, hold=1.0), tmp_path)


OTHER = Labels(("road", "sky"), ((1, 2, 3), (4, 5, 6)))


class Relabelled(RenderedStreets):
    @property
    def labels(self) -> Labels:
        return OTHER


class Empty(RenderedStreets):
    def __len__(self) -> int:
        return 0


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "validation data of other classes": (
        lambda path: run(tiny(), path, Relabelled(2, (64, 96))),
        r"its classes \(road, sky\) are not those of",
    ),
    "empty validation data": (
        lambda path: run(tiny(), path, Empty(1)),
        r"holds no sample to validate on",
    ),
    "empty data": (
        lambda path: train(tiny(), Empty(1), None, path, bar=Bar()),
        r"holds no sample",
    ),
    "mixed data of other classes": (
        lambda path: run(tiny(streets_share=0.5), path, mixed=Relabelled(2)),
        r"its classes \(road, sky; .* are not those of",
    ),
    "nothing to mix in": (
        lambda path: run(tiny(streets_share=0.5), path),
        r"streets_share 0\.5: there is no dataset to mix in",
    ),
    "unknown rare class": (
        lambda path: run(tiny(rare_classes=("Dragon",)), path),
        r"unknown class 'Dragon'",
    ),
    "impossible crop": (lambda path: run(tiny(crop=(0, 96)), path), r"crop \(0, 96\)"),
    "unknown device": (lambda path: run(tiny(), path, device="gpu"), r"device 'gpu'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found_before_anything_is_written(tmp_path: Path, mistake: str) -> None:
    attempt, complaint = MISTAKES[mistake]
    with pytest.raises(UserError, match=complaint):
        attempt(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("batch", 1, "2 or more"),
        ("progressive_batch", 0, "2 or more"),
        ("iterations", 0, "1 or more"),
        ("val_every", 0, "1 or more"),
        ("save_every", -5, "1 or more"),
        ("seed", -1, "0 or more"),
        ("seed", 2**63, "less than 2"),
        ("crop", (32, 400_000), "sides of at most 16384 pixels"),
        ("dice", float("inf"), "0 or more"),
        ("booster_weight", float("inf"), "0 or more"),
        ("warmup", -1, "0 or more"),
        ("power", -0.1, "0 or more"),
        ("weight_decay", -1e-4, "0 or more"),
        ("booster_weight", float("nan"), "0 or more"),
        ("hold", 1.1, "0 to 1"),
        ("progressive_share", -0.1, "0 to 1"),
        ("streets_share", 2, "0 to 1"),
        ("average", 1.0, "less than 1"),
        ("momentum", 1.0, "less than 1"),
        ("loss_stride", 3, "1, 2, 4"),
        ("booster_stride", 64, "1, 2, 4"),
        ("accumulate", 0, "1 or more"),
        ("input_scale", 0.0, "0.01 to 8"),
        ("input_scale", 8.5, "0.01 to 8"),
        ("clip", -1.0, "0 or more"),
        ("backbone_rate", 2.0, "0 to 1"),
        ("progressive", (0.5, 1.5), "factors above 0, at most 1"),
        ("freeze", ("tail",), "some of detail"),
        ("booster_weight", (1.0,), "one number, or 4"),
        ("precision", "fp16", "one of auto, float32, bfloat16"),
        ("schedule", "step", "one of poly, trunk"),
        ("cutmix", 1.5, "0 to 1"),
        ("rate", 0, "more than 0"),
        ("rate", 1e9, "at most 10"),
    ],
)
def test_recipe_values_out_of_range_are_refused(name: str, value: float, expected: str) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(UserError, match=f"^{name} {re.escape(repr(value))}: expected .*{expected}"):
        replace(RECIPES["camvid"], **options)


def test_the_smallest_batch_and_crop_that_are_allowed_train(tmp_path: Path) -> None:
    run(tiny(iterations=1, batch=2, crop=(1, 1), loss_stride=32, booster_stride=32), tmp_path)


def test_decay_falls_on_convolution_weights_alone() -> None:
    state = new_state(tiny(weight_decay=0.1))
    names = {id(parameter): name for name, parameter in state.model.network.named_parameters()}
    decayed: set[str] = set()
    others: set[str] = set()
    for group in state.optimizer.param_groups:
        assert group["weight_decay"] in (0, 0.1)
        (decayed if group["weight_decay"] else others).update(
            names[id(parameter)] for parameter in group["params"]
        )
    assert decayed | others == set(names.values())
    modules = dict(state.model.network.named_modules())
    for name in decayed | others:
        owner, _, kind = name.rpartition(".")
        is_convolution_weight = isinstance(modules[owner], torch.nn.Conv2d) and kind == "weight"
        assert (name in decayed) == is_convolution_weight


def test_the_seed_decides_the_first_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        return next(new_state(tiny(seed=seed)).model.parameters()).detach()

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_small_crops_come_first_and_both_phases_follow_the_seed() -> None:
    def batches(seed: int, start: int = 0) -> list[Batch]:
        recipe = tiny(crop=(60, 64), progressive_share=0.5, progressive_batch=3, seed=seed)
        return list(batches_from(plan_phases(recipe, STREETS), start))

    first, again, other = batches(0), batches(0), batches(1)
    shapes = [batch.images.shape for batch in first]
    assert shapes == [(3, 32, 32, 3)] * 2 + [(2, 64, 64, 3)] * 2  # sides rounded to 32
    late = batches(0, start=1)
    assert len(late) == 3
    for step in range(4):
        assert (first[step].images == again[step].images).all()
        assert (first[step].images != other[step].images).any()
        assert step == 0 or (late[step - 1].images == first[step].images).all()


def test_the_network_takes_its_number_of_classes_from_the_data() -> None:
    recipe = tiny(network=replace(TINY, num_classes=19))
    state = new_state(recipe)
    assert state.model.network.config.num_classes == len(CAMVID)


def test_average_is_an_exponential_mean_that_starts_fast() -> None:
    model = FrameNetwork(BiSeNetV2(replace(TINY, boosters=())))
    average = WeightAverage(model, decay=0.5)
    name = "network.head.conv.bn.running_mean"
    value = average.model.state_dict()[name].clone()
    for step in (1, 2, 50):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.fill_(step)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        value = decay * value + (1 - decay) * step
        torch.testing.assert_close(average.model.state_dict()[name], value)
    counter = average.model.state_dict()["network.head.conv.bn.num_batches_tracked"]
    assert counter == 50  # counted, not averaged
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_the_average_is_a_copy_that_leaves_the_network_alone() -> None:
    model = FrameNetwork(BiSeNetV2(replace(TINY, boosters=()))).train()
    before = copy.deepcopy(model.state_dict())
    average = WeightAverage(model, decay=0.9)
    average.update(1)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    owned = {tensor.data_ptr() for tensor in average.model.state_dict().values()}
    assert not owned & {tensor.data_ptr() for tensor in model.state_dict().values()}


def test_devices_go_by_name_and_auto_takes_one_that_computes() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert (torch.ones(2, device=choose_device()) + 1).sum().item() == 4
    for name in ("cuda:99", "meta"):
        with pytest.raises(UserError, match=rf"device '{name}' cannot be used: take auto"):
            choose_device(name)


def test_precision_is_the_one_asked_for() -> None:
    cpu = torch.device("cpu")
    assert computes_bfloat16(cpu, "bfloat16")
    assert not computes_bfloat16(cpu, "float32")


def test_a_run_in_bfloat16_keeps_single_precision_weights(tmp_path: Path) -> None:
    best = run(tiny(iterations=1, precision="bfloat16"), tmp_path)
    floats = [tensor for tensor in load_file(best).values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floats} == {torch.float32}
