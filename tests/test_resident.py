"""Batches made by a GPU's way are those that the CPU makes, rounding aside."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from bars import Bar  # noqa: E402
from bisenetv2.card import ModelCard  # noqa: E402
from bisenetv2.data.augment import Augmentation  # noqa: E402
from bisenetv2.data.dataset import Sample  # noqa: E402
from bisenetv2.data.streets import RenderedStreets  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork  # noqa: E402
from bisenetv2.training.loader import Batch, Batches, InMemory  # noqa: E402
from bisenetv2.training.loop import train  # noqa: E402
from bisenetv2.training.phases import batches_from, plan_phases  # noqa: E402
from bisenetv2.training.recipe import Recipe  # noqa: E402
from bisenetv2.training.recorded import RecordedPass  # noqa: E402
from bisenetv2.training.resident import ResidentData, resident  # noqa: E402
from bisenetv2.training.steps import Steps, new_state  # noqa: E402
from bisenetv2.training.validation import validate  # noqa: E402
from bisenetv2.training.world import World  # noqa: E402

CPU = torch.device("cpu")
STREETS = InMemory(RenderedStreets(6, (72, 96), seed=3))
HERE = ResidentData.of(STREETS, CPU)
"""The code of a GPU, run by the CPU: of the two, only CUDA graphs need the device."""

EVERYTHING: dict[str, Any] = {
    "scales": (0.7, 2.0), "continuous": True, "brightness": 0.4, "contrast": 0.4,
    "saturation": 0.4, "cast": 0.2, "gamma": 0.5, "blur": 1.5, "rotation": 10.0, "stretch": 0.3,
    "rare_classes": (8,), "rare_share": 0.3,
}  # fmt: skip


def both(crop: tuple[int, int], step: int = 0, cutmix: float = 0.0, **options: Any) -> Any:
    """Images and masks of a batch made by the CPU's way and by the GPU's."""
    augmentation = Augmentation(crop, **options)
    batches = Batches(STREETS, augmentation, 4, seed=5, cutmix=cutmix)
    expected, found = batches[step], HERE.make(batches.plan(step), augmentation)
    assert found.names == expected.names
    assert found.first == expected.first
    assert found.images.dtype == found.masks.dtype == torch.uint8
    return expected.images, expected.masks, found.images.numpy(), found.masks.numpy()


def test_what_is_only_cut_and_mirrored_is_equal() -> None:
    for step in range(6):
        images, masks, found, truth = both((64, 80), step, scales=(1.0,))
        np.testing.assert_array_equal(found, images)
        np.testing.assert_array_equal(truth, masks)


@pytest.mark.parametrize(
    "kind", ["brightness", "contrast", "saturation", "cast", "gamma", "blur", "cutmix"]
)
def test_without_scaling_pixels_differ_by_rounding_alone(kind: str) -> None:
    options: dict[str, Any] = {kind: 0.8}
    for step in range(4):
        images, masks, found, truth = both((96, 128), step, scales=(1.0,), **options)
        np.testing.assert_array_equal(truth, masks)
        assert np.abs(found.astype(int) - images).max() <= 2


@settings(max_examples=30, deadline=None)
@given(
    crop=st.tuples(st.integers(8, 120), st.integers(8, 120)),
    step=st.integers(0, 1000),
    cutmix=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_everything_together_gives_almost_the_same(
    crop: tuple[int, int], step: int, cutmix: float
) -> None:
    images, masks, found, truth = both(crop, step, cutmix, **EVERYTHING)
    # OpenCV samples at steps of 1/32 pixel, which moves edges by that much.
    assert np.abs(found.astype(int) - images).mean() < 1.5
    assert (truth != masks).mean() < 0.02


@pytest.mark.parametrize("scale", [0.2, 0.35, 0.5])
def test_far_below_full_size_pixels_are_means_of_areas(scale: float) -> None:
    images, masks, found, truth = both((48, 48), 0, scales=(scale,))
    assert np.abs(found.astype(int) - images).mean() < 3
    np.testing.assert_array_equal(truth == 255, masks == 255)


def test_a_batch_is_made_without_a_question_to_the_device() -> None:
    """On the meta device there are no values to ask for."""
    there = ResidentData(HERE.images.to("meta"), HERE.masks.to("meta"))
    augmentation = Augmentation((64, 96), **EVERYTHING)
    plan = Batches(STREETS, augmentation, 4, seed=5, cutmix=0.5).plan(0)
    assert there.make(plan, augmentation).images.shape == (4, 64, 96, 3)


class OfTwoSizes(RenderedStreets):
    """Its second half is wider."""

    def __getitem__(self, index: int) -> Sample:
        image, mask = super().__getitem__(index)
        return Sample(image, mask) if index < 3 else Sample(image[:, :64], mask[:, :64])


def test_samples_of_several_sizes_are_not_kept() -> None:
    assert ResidentData.of(OfTwoSizes(6, (64, 96)), CPU) is None
    assert HERE is not None
    for index in range(len(STREETS)):
        np.testing.assert_array_equal(HERE.images[index].numpy(), STREETS[index].image)
        np.testing.assert_array_equal(HERE.masks[index].numpy(), STREETS[index].mask)


def test_a_gpu_keeps_what_fits_into_its_memory_and_the_machine_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu, kept = torch.device("cuda"), []
    size = STREETS[0].image.nbytes + STREETS[0].mask.nbytes
    monkeypatch.setattr(ResidentData, "of", lambda data, *_: kept.append(data) or HERE)

    def keeps(
        samples: InMemory, free: float, batch: int = 2, crop: tuple[int, int] = (72, 96)
    ) -> bool:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free), int(free)))
        return resident(samples, gpu, batch, crop, 2) is not None

    assert keeps(STREETS, 1e9)
    assert keeps(STREETS, 150 * size)
    assert not keeps(STREETS, 100 * size)  # of which 30 have to hold the data and two batches
    assert not keeps(STREETS, 150 * size, batch=16)
    assert not keeps(STREETS, 150 * size, crop=(144, 192))
    assert not keeps(InMemory(STREETS.dataset, budget=5 * size), 1e9)
    assert resident(STREETS, CPU, 2, (72, 96), 2) is None
    assert len(kept) == 2


def test_the_batches_of_a_run_are_made_there() -> None:
    recipe = Recipe(BiSeNetV2Config(), iterations=9, batch=2, crop=(64, 96), cutmix=0.5,
                    progressive_share=0.5, progressive_batch=3)  # fmt: skip
    phases = plan_phases(recipe, STREETS)
    usual = list(batches_from(phases, 3))
    found = [drawn() for drawn in batches_from(phases, 3, resident=HERE)]
    assert [b.names for b in found] == [b.names for b in usual]
    assert [tuple(b.images.shape) for b in found] == [b.images.shape for b in usual]


def test_samples_of_a_second_dataset_are_sent_along() -> None:
    recipe = Recipe(BiSeNetV2Config(), iterations=6, batch=4, crop=(72, 96), streets_share=0.5,
                    cutmix=0.5, scales=(1.0,), seed=2)  # fmt: skip
    phases = plan_phases(recipe, STREETS, RenderedStreets(3, (72, 96), seed=9))
    usual = list(batches_from(phases, 0))
    names = [name for batch in usual for name in batch.names]
    assert 4 < sum(name.startswith("rendered street 9/") for name in names) < 20
    for drawn, batch in zip(batches_from(phases, 0, resident=HERE), usual, strict=True):
        found = drawn()
        assert found.names == batch.names
        np.testing.assert_array_equal(found.images.numpy(), batch.images)
        np.testing.assert_array_equal(found.masks.numpy(), batch.masks)


def test_with_a_second_dataset_of_another_size_batches_are_made_by_the_cpu() -> None:
    recipe = Recipe(BiSeNetV2Config(), iterations=3, batch=2, crop=(64, 96), streets_share=0.5)
    phases = plan_phases(recipe, STREETS, RenderedStreets(2, (64, 96), seed=9))
    assert all(isinstance(found, Batch) for found in batches_from(phases, 0, resident=HERE))


class Replayed:
    """Stands in for CUDA graphs: counts replays and computes nothing."""

    replays = 0

    def replay(self) -> None:
        Replayed.replays += 1


@pytest.fixture
def graphs_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SimpleNamespace(wait_stream=lambda _: None)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda: stream)
    for name in ("stream", "device", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Replayed)
    monkeypatch.setattr(Replayed, "replays", 0)


@pytest.mark.usefixtures("graphs_without_a_gpu")
def test_a_kind_of_batch_is_recorded_once_and_leaves_statistics_alone() -> None:
    model, calls = torch.nn.BatchNorm2d(3), []
    recorded = RecordedPass(model)

    def compute(images: Any, masks: Any, first: int) -> Any:
        calls.append((tuple(images.shape), first))
        loss = model(images.permute(0, 3, 1, 2).float()).square().mean()
        loss.backward()
        return loss.detach()

    def run(frames: int, first: int) -> Any:
        images, masks = torch.rand(frames, 4, 4, 3) * 9, torch.zeros(frames, 4, 4)
        model.zero_grad(set_to_none=True)
        recorded(compute, images, masks, first)
        return model.weight.grad

    mine = run(2, 0)
    assert mine is not None
    assert calls == [((2, 4, 4, 3), 0)] * 4  # three passes to warm up, one to record
    assert torch.equal(model.running_mean, torch.zeros(3))
    assert model.num_batches_tracked == 0
    assert run(2, 4) is mine  # written anew by each replay
    assert len(calls) == 4
    assert run(2, 3) is not mine  # odd: other pixels stand for their blocks
    assert run(2, 2) is mine
    assert len(calls) == 8
    run(3, 0)
    assert len(recorded._recordings) == 1  # those of another size have given back their memory
    assert Replayed.replays == 5


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
NETWORK = BiSeNetV2Config(
    num_classes=len(STREETS.labels), width=0.25, head_width=16, booster_width=8, expansion=2
)
TINY = Recipe(NETWORK, iterations=12, batch=4, crop=(64, 96), lovasz=1.0, cutmix=0.5, jitter=0.2,
              blur=1.0, rate=0.01, loss_stride=2, booster_stride=4, precision="float32",
              val_every=6, save_every=6)  # fmt: skip


OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "hard pixels alone": {"ohem": True},
    "dice": {"dice": 0.5},
    "frozen": {"freeze": ("detail",)},
    "clipped": {"clip": 0.1},
    "bfloat16": {"precision": "bfloat16"},
    "odd batches": {"batch": 3},
    "stages": {"progressive_share": 0.5, "progressive_batch": 4},
}


@needs_gpu
@pytest.mark.parametrize("option", OPTIONS)
def test_a_recorded_step_is_the_step_itself(option: str) -> None:
    world, recipe = World(torch.device("cuda")), replace(TINY, **OPTIONS[option])
    data = ResidentData.of(STREETS, world.device)
    weights = tuple(0.5 + 0.1 * index for index in range(len(STREETS.labels)))
    gradients, statistics, curves = [], [], []
    for record in (False, True):
        torch.manual_seed(0)
        state = new_state(recipe, FrameNetwork(BiSeNetV2(NETWORK)), world)
        steps = Steps(
            recipe, STREETS.labels.ignore_index, state, world, weights, record=record
        )  # fmt: skip
        curve = []
        for drawn in batches_from(plan_phases(recipe, STREETS), 0, resident=data):
            steps.take(drawn())
            curve.append(steps.loss())
            if state.step == 1:
                grads = [p.grad for p in state.model.parameters() if p.grad is not None]
                gradients.append(torch.cat([grad.flatten() for grad in grads]))
                found = [b.float().flatten() for b in state.model.buffers()]
                statistics.append(torch.cat(found))
        curves.append(curve)
    # Sums on a GPU are taken in no fixed order, and what differs grows from step to step.
    assert (gradients[1] - gradients[0]).norm() < 0.02 * gradients[0].norm()
    torch.testing.assert_close(statistics[1], statistics[0], rtol=1e-3, atol=1e-3)
    assert curves[1][:3] == pytest.approx(curves[0][:3], rel=0.01)
    assert curves[1] == pytest.approx(curves[0], rel=0.1)


@needs_gpu
def test_a_run_on_a_gpu_ends_and_goes_on(tmp_path: Path) -> None:
    recipe = replace(TINY, precision="auto", progressive_share=0.5, progressive_batch=4)
    best = train(recipe, STREETS, STREETS, tmp_path / "run", device="cuda", bar=Bar())
    assert best.is_file()
    longer = replace(recipe, iterations=14)
    train(longer, STREETS, STREETS, tmp_path / "run", device="cuda", resume=True, bar=Bar())
    assert (tmp_path / "run" / "last" / "state-00000014.safetensors").is_file()


@needs_gpu
def test_a_gpu_validates_to_the_score_of_the_cpu() -> None:
    torch.manual_seed(0)
    network = FrameNetwork(BiSeNetV2(NETWORK)).train()
    frames = torch.from_numpy(np.stack([STREETS[index].image[:64] for index in range(4)]))
    with torch.no_grad():
        for _ in range(10):
            network(frames)
    card = ModelCard(STREETS.labels, (72, 96))
    scores = [
        validate(network.to(device), STREETS, card, World(torch.device(device))).matrix.mean_iou
        for device in ("cpu", "cuda")
    ]
    assert scores[1] == pytest.approx(scores[0], abs=0.01)
