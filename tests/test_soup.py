"""The mean of checkpoints: of all weights and statistics, with a card of all, of like ones only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from bisenetv2.card import ModelCard  # noqa: E402
from bisenetv2.cli import main  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.labels import CAMVID  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork  # noqa: E402
from bisenetv2.training.soup import mean_of  # noqa: E402

CARD = ModelCard(CAMVID, (360, 480), data="a", data_licence="free", merit="best", recipe="10 steps")


def write(path: Path, seed: int, card: ModelCard = CARD, width: float = 0.25) -> Path:
    torch.manual_seed(seed)
    model = FrameNetwork(BiSeNetV2(BiSeNetV2Config(num_classes=len(card.labels), width=width)))
    for tensor in model.network.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_()
        else:
            tensor.fill_(seed)  # counters of batches
    save_checkpoint(path, model, card)
    return path


@pytest.mark.parametrize("count", [2, 3])
def test_every_weight_and_statistic_is_the_mean(count: int, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}.safetensors", seed) for seed in range(count)]
    states = [load_checkpoint(path)[0].network.state_dict() for path in paths]
    mean = mean_of(paths)[0].network.state_dict()
    assert mean.keys() == states[0].keys()
    for name, tensor in mean.items():
        if tensor.is_floating_point():
            expected = sum(state[name].double() for state in states) / count
            torch.testing.assert_close(tensor.double(), expected, rtol=0, atol=1e-6)
        else:
            assert torch.equal(tensor, states[0][name])


def test_the_card_tells_of_all_and_claims_no_score(tmp_path: Path) -> None:
    a = write(tmp_path / "a.safetensors", 0)
    b = write(tmp_path / "b.safetensors", 1, replace(CARD, data="b", recipe="20 steps"))
    card = mean_of([a, b])[1]
    assert (card.data, card.data_licence, card.merit) == ("a; b", "free", "")
    assert card.recipe == "mean of 10 steps and 20 steps"


def test_what_is_of_another_kind_is_named(tmp_path: Path) -> None:
    a = write(tmp_path / "a.safetensors", 0)
    others = {
        "network": write(tmp_path / "network.safetensors", 0, width=0.5),
        "list of classes": write(
            tmp_path / "classes.safetensors", 0,
            replace(CARD, labels=replace(CAMVID, names=tuple(map(str, range(11))))),
        ),
        "input scale": write(tmp_path / "scale.safetensors", 0, replace(CARD, input_scale=1.5)),
    }  # fmt: skip
    for what, other in others.items():
        with pytest.raises(UserError, match=f"^{other}: of another {what} than {a}"):
            mean_of([a, other])


def test_the_command_writes_the_mean_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (write(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))
    output = tmp_path / "mean.safetensors"
    assert main(["average", str(a), "-o", str(output)]) == 2
    assert "two checkpoints" in capsys.readouterr().err
    assert not output.exists()
    before = b.read_bytes()
    assert main(["average", str(a), str(b), "-o", str(b)]) == 2
    assert f"{b}: is there, among what is read" in capsys.readouterr().err
    assert b.read_bytes() == before
    assert main(["average", str(a), str(b), "-o", str(output)]) == 0
    expected, written = mean_of([a, b])[0], load_checkpoint(output)[0]
    for name, tensor in written.network.state_dict().items():
        assert torch.equal(tensor, expected.network.state_dict()[name])
