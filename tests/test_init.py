"""What a run starts from: the checkpoint's network, filled as far as it fits, and a line on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import yaml  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from bars import Bar  # noqa: E402
from bisenetv2.card import ModelCard  # noqa: E402
from bisenetv2.data.streets import RenderedStreets  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.labels import CAMVID  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.checkpoint import (  # noqa: E402
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork, Normalization  # noqa: E402
from bisenetv2.training.init import Start, starting_point  # noqa: E402
from bisenetv2.training.loop import train  # noqa: E402
from bisenetv2.training.recipe import Recipe  # noqa: E402
from bisenetv2.training.watch import Watch  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

WANTED = BiSeNetV2Config(num_classes=11, width=0.25, head_width=16, booster_width=8, expansion=2)


def checkpoint(path: Path, **changes: Any) -> Path:
    config = replace(WANTED, **changes)
    torch.manual_seed(7)
    model = FrameNetwork(BiSeNetV2(config), Normalization((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
    labels = replace(
        CAMVID,
        names=tuple(map(str, range(config.num_classes))),
        palette=((1, 2, 3),) * config.num_classes,
        raw_ids=None,
    )
    card = ModelCard(
        labels, (64, 96), data="elsewhere", data_licence="terms", origin="a family",
        logits_stride=config.logits_stride,
    )  # fmt: skip
    save_checkpoint(path, model, card)
    return path


def taken(start: Start, init: Path) -> set[str]:
    """Names of the weights that are the checkpoint's."""
    stored = load_checkpoint(init)[0].network.state_dict()
    state = start.model.network.state_dict()
    return {
        name
        for name, tensor in state.items()
        if name in stored and tensor.shape == stored[name].shape
        and tensor.ndim == 4 and torch.equal(tensor, stored[name])
    }  # fmt: skip


def weights(start: Start, *without: str) -> set[str]:
    state = start.model.network.state_dict()
    return {n for n, t in state.items() if t.ndim == 4 and not n.startswith(without)}


def test_without_a_checkpoint_the_recipe_s_network_is_new() -> None:
    start = starting_point(WANTED, None)
    assert start.model.network.config == WANTED
    assert (start.card, start.summary) == (None, "")


def test_a_checkpoint_of_the_same_network_fills_it_whole(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors")
    start = starting_point(WANTED, init)
    assert start.model.network.config == WANTED
    assert taken(start, init) == weights(start)
    assert start.summary.splitlines()[0].endswith("tensors loaded; nothing is new")
    assert start.model.normalization.mean == (1.0, 2.0, 3.0)


def test_the_checkpoint_s_network_is_kept_and_what_differs_is_said(tmp_path: Path) -> None:
    init = checkpoint(
        tmp_path / "a.safetensors", head_width=24, gather_relu=True, upsample="nearest"
    )
    start = starting_point(WANTED, init)
    config = start.model.network.config
    assert (config.head_width, config.gather_relu, config.upsample) == (24, True, "nearest")
    assert taken(start, init) == weights(start)
    assert "its network, not the recipe's: head_width 24, gather_relu True, upsample nearest" in (
        start.summary
    )


def test_for_another_number_of_classes_all_heads_are_new(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors", num_classes=19)
    start = starting_point(WANTED, init)
    assert start.model.network.config == WANTED
    assert taken(start, init) == weights(start, "head.", "boosters.")
    assert "new: head, boosters.S2, boosters.S3, boosters.S4, boosters.S5" in start.summary


def test_for_as_many_classes_of_other_names_all_heads_are_new(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors")
    start = starting_point(WANTED, init, CAMVID.names)
    assert taken(start, init) == weights(start, "head.", "boosters.")
    assert "new: head, boosters.S2" in start.summary
    same = starting_point(WANTED, init, tuple(map(str, range(11))))
    assert taken(same, init) == weights(same)


def test_booster_heads_are_taken_where_they_are_and_new_elsewhere(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors", boosters=("S3", "CE"), booster_width=(5, 6))
    start = starting_point(WANTED, init)
    assert start.model.network.config.booster_width == (8, 5, 8, 8)
    assert taken(start, init) == weights(start, "boosters.S2", "boosters.S4", "boosters.S5")
    assert "new: boosters.S2, boosters.S4, boosters.S5" in start.summary
    bare = starting_point(replace(WANTED, boosters=()), init)
    assert bare.model.network.config.boosters == ()


def test_a_checkpoint_without_booster_heads_gets_the_recipe_s(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors", boosters=())
    start = starting_point(WANTED, init)
    assert start.model.network.config == WANTED
    assert taken(start, init) == weights(start, "boosters.")


def test_a_network_that_cannot_carry_the_booster_heads_is_refused(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors", branches="detail", boosters=())
    with pytest.raises(UserError, match="boosters sit on the Semantic Branch"):
        starting_point(WANTED, init)


@pytest.mark.parametrize("channels", [1, 4])
def test_the_first_convolutions_are_adapted_to_other_input_channels(
    tmp_path: Path, channels: int
) -> None:
    init = checkpoint(tmp_path / "a.safetensors")
    start = starting_point(replace(WANTED, in_channels=channels), init)
    stored = load_checkpoint(init)[0].network.state_dict()
    new = start.model.network.state_dict()
    adapted = [name for name in new if new[name].ndim == 4 and new[name].shape[1] == channels
               and stored[name].shape[1] == 3]  # fmt: skip
    assert len(adapted) == 2
    grey = torch.full((1, 1, 32, 32), 0.7)
    for name in adapted:
        assert torch.equal(new[name][:, 0], stored[name][:, 0] * (3 / channels))
    assert start.summary.splitlines()[0].endswith("tensors loaded; nothing is new")
    assert len(start.model.normalization.mean) == channels
    logits = start.model.eval().network(grey.expand(1, channels, 32, 32))
    assert logits.shape == (1, 11, 4, 4)


def test_the_table_tells_what_was_loaded_re_initialised_and_ignored(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors", num_classes=19, boosters=("S3", "CE"))
    start = starting_point(replace(WANTED, boosters=("S3",)), init)
    rows = {line.split()[0]: line.split()[1:] for line in start.summary.splitlines()[1:]}
    assert rows["part"] == ["loaded", "re-initialised", "ignored"]
    count = sum(name.startswith("detail.") for name in start.model.network.state_dict())
    assert rows["detail"] == [str(count), "0", "0"]
    assert rows["head"][:3] == ["0", "8", "8"]
    assert rows["boosters.CE"][:3] == ["0", "0", "8"]
    assert sum(int(row[0]) for row in list(rows.values())[1:]) == len(taken_names(start, init))


def taken_names(start: Start, init: Path) -> list[str]:
    heads = ("head.", "boosters.")
    return [name for name in start.model.network.state_dict() if not name.startswith(heads)]


def test_bare_weights_fill_the_recipe_s_network_as_far_as_they_fit(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors")
    tensors = {k: v for k, v in load_file(init).items() if k.startswith("detail.")}
    bare = tmp_path / "bare.safetensors"
    save_file(tensors | {"other": torch.ones(2)}, bare)
    start = starting_point(WANTED, bare)
    assert start.card is None
    assert taken(start, init) == {n for n in weights(start) if n.startswith("detail.")}
    assert start.summary.startswith(f"{bare}: {len(tensors)} of its {len(tensors) + 1} tensors")
    save_file({"other": torch.ones(2)}, bare)
    with pytest.raises(UserError, match=r"bare\.safetensors: none of its 1 tensors fits"):
        starting_point(WANTED, bare)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("a.pth", r"training starts from .* `bisenetv2 import` makes one"),
        ("run", r"is a folder; name its best\.safetensors"),
        ("camvid-fp32", r"is a model file; take the source's weights/bisenetv2_camvid"),
        ("a.onnx", r"is a model file; name the checkpoint \(\.safetensors\) that it was exported"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    with pytest.raises(UserError, match=f"^{name}: {remedy}"):
        starting_point(WANTED, Path(name))


def test_a_state_of_a_run_is_no_start(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors")
    tensors, metadata = read_tensors(init)
    write_tensors(init, tensors, {**metadata, "run": "{}"})
    with pytest.raises(UserError, match=r"a state for `bisenetv2 train RUN --resume`; name the"):
        starting_point(WANTED, init)


def test_other_classes_are_the_reason_where_shapes_are_equal(tmp_path: Path) -> None:
    init = checkpoint(tmp_path / "a.safetensors")
    names = [f"class {index}" for index in range(WANTED.num_classes)]
    rows = starting_point(WANTED, init, names).summary.splitlines()
    (row,) = (row for row in rows if row.split()[0] == "head")
    assert row.endswith("head.conv.conv.weight of other classes")


def test_a_run_says_and_records_its_start_and_resumes_without_being_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "_board", None)  # it takes longer than the run
    init = checkpoint(tmp_path / "a.safetensors", head_width=24, logits_stride=1)
    recipe = Recipe(
        network=WANTED, iterations=1, batch=2, crop=(32, 64), average=0.0, precision="float32"
    )
    streets, run = RenderedStreets(2, (64, 96)), tmp_path / "run"
    train(recipe, streets, None, run, init=init, bar=Bar())
    assert capsys.readouterr().err.startswith(f"{init}: ")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["init"] == str(init)
    assert config["recipe"]["network"]["head_width"] == 24

    best = train(replace(recipe, iterations=2), streets, None, run, resume=True, bar=Bar())
    (told,) = capsys.readouterr().err.splitlines()  # nothing of the start
    assert told.startswith(f"{run}: goes on with iterations 2 (was 1); ")
    model, card = load_checkpoint(best)
    assert (model.network.config.head_width, card.logits_stride) == (24, 1)
    assert card.data == "rendered streets, starting from weights of elsewhere"
    assert card.data_licence.endswith("; terms") and card.origin == "a family"
    again = train(recipe, streets, None, tmp_path / "again", init=best, bar=Bar())
    found = load_checkpoint(again)[1]  # one data set is named once
    assert (found.data, found.data_licence) == (card.data, card.data_licence)
