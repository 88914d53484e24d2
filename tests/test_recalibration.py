"""Statistics of batch normalisation taken anew for the network that is kept."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from bars import Bar  # noqa: E402
from bisenetv2.data.dataset import Sample, SpreadSamples  # noqa: E402
from bisenetv2.data.streets import RenderedStreets  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork  # noqa: E402
from bisenetv2.training.loader import InMemory  # noqa: E402
from bisenetv2.training.loop import train  # noqa: E402
from bisenetv2.training.phases import plan_phases  # noqa: E402
from bisenetv2.training.recalibration import plain_batches, recalibrated  # noqa: E402
from bisenetv2.training.recipe import Recipe  # noqa: E402
from bisenetv2.training.recipes import RECIPES  # noqa: E402
from bisenetv2.training.watch import Watch  # noqa: E402
from bisenetv2.training.world import World  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

STREETS = InMemory(RenderedStreets(4, (64, 96), seed=1))
ALONE = World(torch.device("cpu"))
NETWORK = BiSeNetV2Config(width=0.25, head_width=16, booster_width=8, expansion=2)


@pytest.fixture(autouse=True)
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "_board", None)


def tiny(**options: Any) -> Recipe:
    defaults: dict[str, Any] = {
        "network": NETWORK, "iterations": 2, "batch": 2, "crop": (64, 96), "average": 0.9,
        "precision": "float32", "recalibrate": 4, "scales": (0.5, 2.0), "jitter": 0.5,
    }  # fmt: skip
    return Recipe(**{**defaults, **options})


@pytest.fixture
def network() -> FrameNetwork:
    torch.manual_seed(2)
    return FrameNetwork(BiSeNetV2(NETWORK)).eval()


def crops(recipe: Recipe) -> list[Any]:
    return list(plain_batches(recipe, plan_phases(recipe, STREETS)[-1].batches))


def test_statistics_are_the_mean_of_the_batches(network: FrameNetwork) -> None:
    batches = crops(tiny())
    seen: list[Any] = []
    norm = network.network.detail.S1[0].bn
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for images in batches:  # what comes before the first normalisation needs no statistics
            network(torch.as_tensor(images))
    hook.remove()
    found = recalibrated(network, batches, world=ALONE).network.detail.S1[0].bn
    values = torch.stack([x.transpose(0, 1).flatten(1) for x in seen])  # batches, C, B H W
    torch.testing.assert_close(found.running_mean, values.mean(2).mean(0))
    torch.testing.assert_close(found.running_var, values.var(2).mean(0))
    assert found.momentum == norm.momentum


def test_the_network_itself_and_frozen_parts_stay_as_they_are(network: FrameNetwork) -> None:
    before = copy.deepcopy(network.state_dict())
    found = recalibrated(network, crops(tiny()), world=ALONE, freeze=("detail",)).state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    changed = {name for name in before if not torch.equal(found[name], before[name])}
    assert changed and not any(".detail." in name for name in changed)
    assert all(name.endswith(("running_mean", "running_var", "tracked")) for name in changed)


def test_crops_are_of_the_frames_as_they_are_segmented() -> None:
    batches = crops(tiny(cutmix=1.0, blur=3.0, gamma=1.0))
    assert [images.shape for images in batches] == [(2, 64, 96, 3)] * 2
    frames = [STREETS[index].image for index in range(4)]
    for image in np.concatenate(batches):
        assert any(
            np.array_equal(image, frame) or np.array_equal(image, frame[:, ::-1])
            for frame in frames
        )
    halved = crops(tiny(input_scale=0.5))
    assert halved[0].shape == (2, 32, 32, 3)  # within 32 × 48
    assert len(crops(tiny(recalibrate=5))) == 3
    small = crops(tiny(progressive_share=1.0, progressive_batch=4, accumulate=2, batch=4))
    assert small[0].shape == (2, 64, 96, 3)


def test_crops_are_never_larger_than_the_frames() -> None:
    assert crops(tiny(crop=(720, 960)))[0].shape == (2, 64, 96, 3)
    assert crops(tiny(crop=(720, 960), input_scale=1.6))[0].shape == (2, 96, 128, 3)  # 102 × 154
    assert crops(tiny(crop=(720, 960), input_scale=0.25))[0].shape == (2, 32, 32, 3)  # 16 × 24

    class OneSmaller(SpreadSamples):
        def __getitem__(self, index: int) -> Sample:
            image, mask = super().__getitem__(index)
            return Sample(image[:40], mask[:40]) if index == 0 else Sample(image, mask)

    batches = plan_phases(tiny(), OneSmaller(STREETS, 4))[-1].batches
    heights = [images.shape[1] for images in plain_batches(tiny(), batches)]
    assert sorted(heights) == [32, 64]


def test_camvid_s_frames_and_crop_are_as_they_were() -> None:
    recipe = RECIPES["camvid"]
    frames = InMemory(RenderedStreets(2, (360, 480)))
    batches = plan_phases(replace(recipe, recalibrate=2), frames, frames)[-1].batches
    (found, *_) = plain_batches(replace(recipe, recalibrate=2), batches)
    plain = replace(batches.augmentation, scales=(1.0,), rare_share=0.0, brightness=0.0,
                    contrast=0.0, saturation=0.0)  # fmt: skip
    expected = replace(batches, augmentation=plain, mixed=None, start=(0, 0))[0].images
    assert found.shape == (recipe.batch, 352, 480, 3)
    assert (found == expected).all()


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_what_is_kept_has_them_and_the_run_goes_on_as_without(
    tmp_path: Path, average: float
) -> None:
    recipe = tiny(average=average, recalibrate=6)
    for name, one in (("with", recipe), ("without", replace(recipe, recalibrate=0))):
        train(one, STREETS, None, tmp_path / name, bar=Bar())
    state = "last/state-00000002.safetensors"
    ours, theirs = (load_file(tmp_path / name / state) for name in ("with", "without"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    kept, plain = (load_file(tmp_path / n / "best.safetensors") for n in ("with", "without"))
    differ = {name for name in kept if not torch.equal(kept[name], plain[name])}
    assert differ == {name for name in kept if name.endswith(("_mean", "_var", "_tracked"))}


def test_what_is_validated_is_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bisenetv2.training import session

    scored: list[Any] = []

    def noted(network: FrameNetwork, *rest: Any) -> Any:
        scored.append(copy.deepcopy(network.network.state_dict()))
        return validate(network, *rest)

    validate = session.validate
    monkeypatch.setattr(session, "validate", noted)
    best = load_file(train(tiny(), STREETS, STREETS, tmp_path, bar=Bar()))
    assert len(scored) == 1
    assert all(torch.equal(tensor, scored[0][name]) for name, tensor in best.items())
