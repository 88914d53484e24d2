"""Optimiser steps: rates, frozen parts, clipping, parts of a batch, faster weight gradients."""

from __future__ import annotations

import copy
import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from bars import Bar  # noqa: E402
from bisenetv2.card import ModelCard  # noqa: E402
from bisenetv2.cli import main  # noqa: E402
from bisenetv2.data.dataset import SpreadSamples  # noqa: E402
from bisenetv2.data.streets import RenderedStreets  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.labels import CAMVID  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork  # noqa: E402
from bisenetv2.training.loader import Batch, InMemory  # noqa: E402
from bisenetv2.training.loop import train  # noqa: E402
from bisenetv2.training.phases import plan_phases  # noqa: E402
from bisenetv2.training.recipe import Recipe  # noqa: E402
from bisenetv2.training.run_folder import RunFolder  # noqa: E402
from bisenetv2.training.session import reads_loss  # noqa: E402
from bisenetv2.training.state import RunState, newest_state  # noqa: E402
from bisenetv2.training.steps import Steps, new_state  # noqa: E402
from bisenetv2.training.validation import validate  # noqa: E402
from bisenetv2.training.watch import Watch, matrix_picture  # noqa: E402
from bisenetv2.training.weight_gradient import (  # noqa: E402
    ContiguousGradientConv2d,
    take_contiguous_gradients,
)
from bisenetv2.training.world import World  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

ALONE = World(torch.device("cpu"))
STREETS = InMemory(RenderedStreets(4, (64, 96), seed=1))
NETWORK = BiSeNetV2Config(
    num_classes=len(CAMVID), width=0.25, head_width=16, booster_width=8, expansion=2
)


def tiny(**options: Any) -> Recipe:
    defaults: dict[str, Any] = {
        "network": NETWORK, "iterations": 4, "batch": 4, "crop": (32, 64), "average": 0.0,
        "precision": "float32", "val_every": 100, "save_every": 100,
    }  # fmt: skip
    return Recipe(**{**defaults, **options})


def begin(recipe: Recipe, **options: Any) -> tuple[RunState, Steps]:
    torch.manual_seed(0)
    state = new_state(recipe, FrameNetwork(BiSeNetV2(recipe.network)), ALONE, **options)
    return state, Steps(recipe, CAMVID.ignore_index, state, ALONE)


def loss_of(steps: Steps, batch: Batch) -> float:
    steps.take(batch)
    return steps.loss()


def batch(recipe: Recipe, step: int = 0) -> Batch:
    return plan_phases(recipe, STREETS)[0].batches[step]


def moved(recipe: Recipe) -> dict[str, float]:
    """How far a first step moves each parameter."""
    state, steps = begin(recipe)
    before = {n: p.detach().clone() for n, p in state.model.network.named_parameters()}
    steps.take(batch(recipe))
    after = dict(state.model.network.named_parameters())
    return {name: (after[name] - before[name]).norm().item() for name in before}


def test_the_backbone_moves_at_its_own_rate() -> None:
    full, tenth = moved(tiny()), moved(tiny(backbone_rate=0.1))
    for name, way in full.items():
        heads = name.startswith(("head.", "boosters."))
        assert tenth[name] == pytest.approx(way * (1 if heads else 0.1), rel=1e-2, abs=1e-5)


def test_frozen_parts_stay_as_they_are_statistics_included() -> None:
    recipe = tiny(freeze=("detail", "semantic"))
    state, steps = begin(recipe)
    before = copy.deepcopy(state.model.network.state_dict())
    steps.take(batch(recipe))
    for name, tensor in state.model.network.state_dict().items():
        frozen = name.startswith(("detail.", "semantic."))
        assert torch.equal(tensor, before[name]) or not frozen, name
    assert not torch.equal(
        before["head.conv.bn.running_mean"],
        state.model.network.state_dict()["head.conv.bn.running_mean"],
    )


def test_frozen_parts_stay_frozen_after_a_validation() -> None:
    recipe = tiny(freeze=("detail",), average=0.0)
    state, steps = begin(recipe)
    card = ModelCard(STREETS.labels, (64, 96))
    validate(state.evaluated, SpreadSamples(STREETS, 1), card, ALONE)
    before = copy.deepcopy(state.model.network.detail.state_dict())
    steps.take(batch(recipe))
    for name, tensor in state.model.network.detail.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_clipping_bounds_the_norm_of_the_gradient() -> None:
    recipe = tiny(clip=0.5)
    state, steps = begin(recipe)
    steps.take(batch(recipe))
    gradients = [p.grad for p in state.model.parameters() if p.grad is not None]
    assert torch.stack([g.norm() for g in gradients]).norm() == pytest.approx(0.5, rel=1e-3)


def test_parts_of_a_batch_give_the_mean_of_their_gradients() -> None:
    recipe = tiny(accumulate=2)
    whole = batch(recipe)
    state, steps = begin(recipe)
    value = loss_of(steps, whole)
    losses, sums = [], [torch.zeros_like(p) for p in state.model.parameters()]
    for half in (slice(0, 2), slice(2, 4)):
        single = tiny(batch=2)
        one, of_one = begin(single)
        part = Batch(whole.images[half], whole.masks[half], whole.names[half])
        losses.append(loss_of(of_one, part))
        for total, parameter in zip(sums, one.model.parameters(), strict=True):
            total += parameter.grad / 2
    assert value == pytest.approx(sum(losses) / 2, rel=1e-5)
    for total, parameter in zip(sums, state.model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, total, rtol=1e-3, atol=1e-4)


def test_a_loss_that_nobody_asked_for_is_found_when_a_later_one_is_asked_for() -> None:
    recipe = tiny()
    state, steps = begin(recipe)
    steps.take(batch(recipe, 0))
    with torch.no_grad():
        next(state.model.parameters()).fill_(torch.nan)
    for step in (1, 2):
        steps.take(batch(recipe, step))
    with pytest.raises(UserError, match=r"^loss is nan at step 2, rate "):
        steps.loss()


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_the_loss_is_read_before_anything_is_validated_or_saved(place: str) -> None:
    recipe, device = tiny(val_every=7, save_every=11), torch.device(place)
    read = {step for step in range(1, 100) if reads_loss(step, recipe, device)}
    assert read >= {step for step in range(1, 100) if not step % 7 or not step % 11}
    assert read >= {20, 40, 60, 80}  # those that are logged
    assert len(read) == (99 if place == "cpu" else 26)


def test_a_step_that_memory_does_not_hold_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(Steps, "take", take)
    for options, advice in (
        ({}, r"^batch 4: .* smaller --batch, or more parts, --accumulate 2$"),
        ({"batch": 2}, r"^batch 2: .* smaller --batch$"),  # two parts of one are too small for BN
        (
            {"progressive_share": 0.5, "progressive_batch": 7, "iterations": 2},
            r"^progressive_batch 7: .* smaller --progressive-batch$",
        ),
        ({"progressive_share": 1.0, "progressive_batch": 7}, r"^progressive_batch 7: "),
    ):
        with pytest.raises(UserError, match=advice):
            train(tiny(**options), STREETS, None, tmp_path / str(len(options)), bar=Bar())


def test_what_is_frozen_no_longer_goes_on_without_momentum(tmp_path: Path) -> None:
    frozen, free = tiny(freeze=("detail",)), tiny()
    state, steps = begin(frozen)
    steps.take(batch(frozen))
    state.save(tmp_path)
    outcomes = []
    for fused in (False, True):  # the GPU's way of updating takes all momenta or none
        state, steps = begin(free)
        state.restore(newest_state(tmp_path))
        for group in state.optimizer.param_groups:
            group["fused"] = fused
        steps.take(batch(free, 1))
        outcomes.append(state.model.network.state_dict())
    for name, tensor in outcomes[0].items():
        torch.testing.assert_close(outcomes[1][name], tensor, msg=name)


def test_a_run_that_ended_leaves_no_memory_behind() -> None:
    state, steps = begin(tiny())
    steps.take(batch(tiny()))
    left = weakref.ref(state.model), weakref.ref(steps)
    gc.disable()  # nothing may hang on a circle of references: a GPU would run out first
    try:
        del state, steps
        assert [reference() for reference in left] == [None, None]
    finally:
        gc.enable()


def test_overfitting_takes_the_same_samples_unaltered_and_validates_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "_board", None)
    recipe = tiny(overfit=2, jitter=0.5, streets_share=0.5, rare_classes=("Car",), rare_share=1.0,
                  crop=(64, 96), batch=2, iterations=2)  # fmt: skip
    train(recipe, STREETS, None, tmp_path, bar=Bar())
    assert any("miou" in entry for entry in RunFolder(tmp_path).logged())
    assert "samples: 2\n" in RunFolder(tmp_path).config.read_text()
    batches = plan_phases(recipe, STREETS)[0].batches
    images = {batches[step].images[0].tobytes() for step in range(8)}
    assert len(images) <= len(STREETS)  # no flip, no jitter, no other scale
    early = replace(recipe, progressive_share=0.5)
    assert len(plan_phases(early, STREETS)) == 1


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_contiguous_weight_gradients_are_the_library_s(
    stride: int, bias: bool, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(5, 7, 3, stride, 1, bias=bias).to(memory_format=layout)
    same = copy.deepcopy(convolution)
    take_contiguous_gradients(same)
    assert type(same) is ContiguousGradientConv2d
    grads = []
    for module in (convolution, same):
        x = torch.randn(2, 5, 12, 9, generator=torch.Generator().manual_seed(1))
        x = x.to(memory_format=layout).requires_grad_()
        out = module(x)
        module.zero_grad()
        out.square().sum().backward()
        grads.append([out.detach(), x.grad, *(p.grad.clone() for p in module.parameters())])
    for expected, found in zip(*grads, strict=True):
        torch.testing.assert_close(found, expected)
    assert dict(same.named_parameters()).keys() == dict(convolution.named_parameters()).keys()


def test_only_dense_3x3_convolutions_are_replaced_and_names_stay() -> None:
    network = BiSeNetV2(NETWORK)
    before, kinds = list(network.state_dict()), {}
    take_contiguous_gradients(network)
    assert list(network.state_dict()) == before
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            dense = module.kernel_size == (3, 3) and module.groups == 1
            kinds[name] = isinstance(module, ContiguousGradientConv2d) == dense
    assert kinds and all(kinds.values())


def test_the_fast_path_and_the_plain_path_learn_alike() -> None:
    recipe = tiny(iterations=12, crop=(64, 96), rate=0.01)
    curves = []
    for fast in (False, True):
        _, steps = begin(recipe, fast_gradients=fast)
        curves.append([loss_of(steps, batch(recipe, step)) for step in range(12)])
    # Sums in another order differ by 1e-7, which twelve steps let grow.
    assert curves[1] == pytest.approx(curves[0], rel=0.01)
    assert curves[1][:2] == pytest.approx(curves[0][:2], rel=1e-4)


def test_losses_below_full_resolution_learn_alike() -> None:
    curves = []
    for strides in ({}, {"loss_stride": 2, "booster_stride": 4}):
        recipe = tiny(iterations=12, crop=(64, 96), rate=0.01, **strides)
        _, steps = begin(recipe)
        curves.append([loss_of(steps, batch(recipe, step)) for step in range(12)])
    # Every other pixel stands for its neighbours: the same curve within a few percent.
    assert curves[1] == pytest.approx(curves[0], rel=0.1)


def test_a_run_is_watched_in_lines_curves_and_tensorboard(tmp_path: Path) -> None:
    recipe = tiny(iterations=40, crop=(32, 32), batch=2, val_every=40)
    train(recipe, STREETS, STREETS, tmp_path, bar=Bar())
    lines = RunFolder(tmp_path).logged()
    assert [line["step"] for line in lines if "loss" in line] == [20, 40]
    assert all(0 <= line["loader_share"] <= 1 for line in lines if "loss" in line)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "rate", "miou", "loader_share"} <= set(events.Tags()["scalars"])
    images = events.Tags()["images"]
    assert "truth down, prediction across" in images
    assert sum(name.startswith("frame, truth, prediction/") for name in images) == 3


def test_a_confusion_matrix_is_drawn_on_a_scale_of_its_rows() -> None:
    from bisenetv2.evaluation.confusion import ConfusionMatrix

    matrix = ConfusionMatrix(len(CAMVID), CAMVID.ignore_index)
    matrix.counts[0, 0], matrix.counts[1, 2] = 10, 1000
    picture = matrix_picture(matrix, CAMVID, cell=2)
    assert picture.shape == (24, 24, 3)
    assert (picture[2, 2] == picture[4, 6]).all() and (picture[2, 2] != picture[2, 6]).any()
    assert (picture[0, 2] == CAMVID.palette[0]).all()


def test_repeats_print_mean_and_deviation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Watch, "_board", None)
    options = ("--network.width", "0.25", "--crop", "32", "32", "--batch", "2", "--iterations", "1",
               "--overfit", "2", "--repeats", "2", "--seed", "3")  # fmt: skip
    assert main(["train", "streets", *options, "--run", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("best validation ") and "±" in out and "of 2 runs: " in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed-3", "seed-4"]


def test_the_deterministic_run_asks_for_deterministic_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "_board", None)
    asked: list[Any] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *a, **o: asked.append((a, o)))
    train(tiny(iterations=1, deterministic=True), STREETS, None, tmp_path, bar=Bar())
    assert asked == [((True,), {"warn_only": True})]
