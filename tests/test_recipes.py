"""The named recipes: all that the paper prints, each able to train; the verbs that show them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from bars import Bar  # noqa: E402
from bisenetv2.cli import main  # noqa: E402
from bisenetv2.data.streets import RenderedStreets  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork  # noqa: E402
from bisenetv2.training.class_weights import weights_of  # noqa: E402
from bisenetv2.training.loader import InMemory  # noqa: E402
from bisenetv2.training.phases import plan_phases  # noqa: E402
from bisenetv2.training.recipe import Recipe  # noqa: E402
from bisenetv2.training.recipes import CATALOGUE, RECIPES  # noqa: E402
from bisenetv2.training.run_folder import RunConfig, fingerprint  # noqa: E402
from bisenetv2.training.steps import Steps, new_state  # noqa: E402
from bisenetv2.training.watch import Watch  # noqa: E402
from bisenetv2.training.world import World  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

STREETS = InMemory(RenderedStreets(4, (64, 96), seed=1))
TINY = ("--network.width", "0.25", "--network.head-width", "16", "--network.expansion", "2",
        "--crop", "32", "64", "--batch", "2", "--precision", "float32")  # fmt: skip


def large(name: str) -> bool:
    network = RECIPES[name].network
    return network.width >= 1.5 or network.depth >= 3


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if large(name) else ()) for name in RECIPES],
)
def test_every_recipe_trains_its_own_network_by_its_own_losses(name: str) -> None:
    recipe = replace(
        RECIPES[name], iterations=2, batch=2, crop=(64, 64), input_scale=1.0, progressive_share=0.0,
        precision="float32", hold=1.0, warmup=0, rate=0.01,
    )  # fmt: skip
    torch.manual_seed(0)
    world = World(torch.device("cpu"))
    network = BiSeNetV2(replace(recipe.network, num_classes=len(STREETS.labels)))
    state = new_state(recipe, FrameNetwork(network), world)
    steps = Steps(recipe, STREETS.labels.ignore_index, state, world)
    batch = plan_phases(recipe, STREETS, STREETS)[0].batches[0]
    losses = []
    for _ in range(2):
        steps.take(batch)
        losses.append(steps.loss())
    assert all(map(math.isfinite, losses))
    assert losses[0] != losses[1]


def test_the_paper_s_rows_are_all_there() -> None:
    printed = {name: named.printed for name, named in CATALOGUE.items() if named.printed}
    assert {"cityscapes", "cityscapes-large", "camvid-paper", "camvid-paper-large",
            "camvid-paper-from-cityscapes", "camvid-paper-large-from-cityscapes",
            "coco-stuff-10k", "coco-stuff-10k-large"} <= printed.keys()  # fmt: skip
    assert sum(name.startswith("ablation-") for name in printed) == 29
    networks = [RECIPES[name].network for name in printed if name.startswith("ablation-")]
    assert {network.semantic_ratio for network in networks} == {1 / 2, 1 / 4, 1 / 8, 1 / 16}
    assert {network.expansion for network in networks} == {1, 2, 4, 6, 8}
    assert {network.width for network in networks} == {1, 1.25, 1.5, 1.75, 2}
    assert {network.depth for network in networks} == {1, 2, 3, 4}


@pytest.mark.parametrize("name", [name for name, named in CATALOGUE.items() if named.printed])
def test_the_paper_s_settings_and_their_doubts_are_in_its_recipes(name: str) -> None:
    named = CATALOGUE[name]
    recipe = named.recipe
    assert (recipe.batch, recipe.rate, recipe.power, recipe.momentum) == (16, 0.05, 0.9, 0.9)
    assert recipe.average == recipe.jitter == recipe.warmup == recipe.lovasz == 0
    expected = {
        "cityscapes": (150_000, 5e-4, (1024, 2048), 0.5),
        "camvid": (10_000, 5e-4, (720, 960), 1.0),
        "coco-stuff-10k": (20_000, 1e-4, (640, 640), 1.0),
    }[recipe.dataset]
    assert (recipe.iterations, recipe.weight_decay, recipe.crop, recipe.input_scale) == expected
    assert "second-hand" in named.doubts and "head" in named.doubts
    assert ("OHEM" in named.doubts) >= recipe.ohem
    assert recipe.from_checkpoint == ("from-cityscapes" in name)


def test_crop_then_halve_is_half_the_scale_and_half_the_crop() -> None:
    augmentation = plan_phases(RECIPES["cityscapes"], STREETS)[0].batches.augmentation
    assert augmentation.crop == (512, 1024)
    assert augmentation.scales == (0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


def test_the_verb_lists_shows_and_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: " in listed for name in RECIPES)
    assert "crop 2048×1024 → 1024×512, 150,000 iterations, batch 16, rate 0.05, decay 0.0005; " in (
        listed
    )
    assert main(["recipes", "ablation-lambda-1-8"]) == 0
    shown = capsys.readouterr().out
    assert "69.26 % mIoU on val" in shown
    assert "semantic_ratio: 0.125" in shown and "uncertain: " in shown
    assert main(["recipes", "cityscapes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cityscapes"]["recipe"]["iterations"] == 150_000
    assert main(["recipes", "cityscape"]) == 2
    assert "did you mean cityscapes" in capsys.readouterr().err


def test_who_reads_only_the_beginning_of_a_list_sees_no_traceback() -> None:
    command = f"{sys.executable} -m bisenetv2 recipes | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("bisenetv2 train RECIPE") and done.stderr == ""


def test_a_recipe_survives_its_configuration(tmp_path: Path) -> None:
    for recipe in RECIPES.values():
        content = json.loads(json.dumps({"recipe": asdict(recipe)}))["recipe"]
        assert Recipe.from_fields(content) == recipe
    before = {name: value for name, value in content.items() if name != "input_scale"}
    assert Recipe.from_fields({**before, "shrink": 2}).input_scale == 0.5  # as runs once had it
    for change, message in (
        ({"shrink": 0}, "unknown options shrink"),
        ({"speed": 3}, "unknown options speed"),
        ({"rate": "1e-3"}, "rate '1e-3': expected a number such as 1.0e-3"),  # as YAML reads 1e-3
        ({"iterations": 2.5}, "iterations 2.5: expected a whole number"),
        ({"crop": [64]}, r"crop \(64,\): expected a list of 2, each a whole number"),
        ({"scales": 1.0}, r"scales 1\.0: expected a list, each a number"),
        ({"sync_bn": "no"}, "sync_bn 'no': expected one of True, False"),
        ({"split": 3}, "split 3: expected text"),
        ({"booster_weight": "1"}, "booster_weight '1': expected a number .* or a list"),
        ({"network": {"newer": 1}}, "unknown network options newer"),
        ({"network": 5}, "it describes no network"),
    ):
        with pytest.raises(UserError, match=message):
            Recipe.from_fields({**content, **change})
    (tmp_path / "config.yaml").write_text("recipe: [1]\n")
    with pytest.raises(UserError, match=r"config\.yaml: not the configuration of a run"):
        RunConfig.read(tmp_path)
    with pytest.raises(UserError, match=r"absent/config\.yaml: cannot be read"):
        RunConfig.read(tmp_path / "absent" / "config.yaml")


def test_a_run_s_configuration_starts_the_same_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Watch, "_board", None)
    monkeypatch.chdir(tmp_path)
    options = (
        *TINY,
        "--iterations",
        "2",
        "--val-split",
        "",
        "--seed",
        "4",
        "--booster-weight",
        "0.3",
    )
    assert main(["train", "streets", *options, "--run", "a"]) == 0
    assert main(["train", "a/config.yaml", "--run", "b"]) == 0
    first, second = load_file("a/best.safetensors"), load_file("b/best.safetensors")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert RunConfig.read(Path("a")) == RunConfig.read(Path("b"))
    assert main(["train", "a"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "a", "--resume", "--iterations", "3"]) == 0
    assert RunConfig.read(Path("a")).recipe.iterations == 3
    content = Path("a/config.yaml").read_text()
    assert all(word in content for word in ("git:", "torch:", "threads:", "data: streets"))


def test_resuming_on_other_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bisenetv2.training.loop import train

    monkeypatch.setattr(Watch, "_board", None)
    network = BiSeNetV2Config(width=0.25, head_width=16, booster_width=8, expansion=2)
    recipe = Recipe(network, iterations=1, batch=2, crop=(32, 64), precision="float32")
    train(recipe, STREETS, None, tmp_path, bar=Bar())
    other = RenderedStreets(5, (64, 96), seed=1)
    with pytest.raises(UserError, match="not the data the run began with"):
        train(recipe, other, None, tmp_path, resume=True, bar=Bar())


def test_the_fingerprint_follows_names_number_and_pixels() -> None:
    first = fingerprint(STREETS)
    assert first == fingerprint(RenderedStreets(4, (64, 96), seed=1))
    assert len({first, fingerprint(RenderedStreets(4, (64, 96), seed=2)),
                fingerprint(RenderedStreets(3, (64, 96), seed=1))}) == 3  # fmt: skip


def test_class_weights_follow_enet_s_rule_and_average_to_one_over_pixels() -> None:
    weights = np.array(weights_of(STREETS))
    counts = sum(np.bincount(STREETS[i].mask.ravel(), minlength=256)[:11] for i in range(4))
    shares = counts / counts.sum()
    assert (weights * shares).sum() == pytest.approx(1, abs=1e-3)
    rule = 1 / np.log(1.02 + shares)
    np.testing.assert_allclose(weights / weights[0], rule / rule[0], rtol=1e-3)


def test_a_recipe_for_a_checkpoint_asks_for_it(
    tmp_path: Path, camvid_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "camvid-paper-from-cityscapes"
    code = main(["train", name, "--data", str(camvid_root), "--run", str(tmp_path / "run")])
    assert code == 2
    assert "--init" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
