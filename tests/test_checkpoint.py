"""Checkpoints come back bit by bit or not at all, with one line that says why."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors import SafetensorError  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from bisenetv2.card import METADATA_KEY, ModelCard  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.inference.model_file import read_card  # noqa: E402
from bisenetv2.labels import CAMVID  # noqa: E402
from bisenetv2.network import checkpoint as checkpoint_module  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.checkpoint import (  # noqa: E402
    CONFIG_KEY,
    load_checkpoint,
    load_strictly,
    read_tensors,
    save_checkpoint,
)
from bisenetv2.network.config import PRESETS, BiSeNetV2Config  # noqa: E402
from bisenetv2.network.frames import FrameNetwork, Normalization  # noqa: E402

CONFIG = BiSeNetV2Config(
    num_classes=11, width=0.25, head_width=8, booster_width=4, boosters=("S3", "S5")
)
CARD = ModelCard(
    CAMVID,
    (360, 480),
    data="rendered streets",
    recipe="train --seed 3",
    network=tuple(asdict(CONFIG).items()),
)


def small_model(config: BiSeNetV2Config = CONFIG) -> FrameNetwork:
    torch.manual_seed(0)
    model = FrameNetwork(BiSeNetV2(config), Normalization((1.5, 2.25, 0.1), (4.0, 5.0, 1 / 3)))
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    model.train()(frames)  # moves the running statistics off 0 and 1
    return model.eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, small_model(), CARD)
    return path


def edited(
    saved: Path,
    folder: Path,
    *,
    tensors: Callable[[dict[str, Any]], object] = lambda _: None,
    metadata: Callable[[dict[str, str]], object] = lambda _: None,
) -> Path:
    """A copy of the checkpoint with its tensors or metadata changed in place."""
    kept, texts = read_tensors(saved)
    tensors(kept)
    metadata(texts)
    path = folder / "edited.safetensors"
    save_file(kept, path, texts)
    return path


def with_config(saved: Path, folder: Path, part: str, **values: Any) -> Path:
    def change(texts: dict[str, str]) -> None:
        content = json.loads(texts[CONFIG_KEY])
        content[part].update(values)
        texts[CONFIG_KEY] = json.dumps(content)

    return edited(saved, folder, metadata=change)


def refusal(path: Path) -> str:
    """The one line with which loading `path` is refused; it names the path."""
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


# Round trips


def test_everything_comes_back_as_it_was(saved: Path) -> None:
    model = small_model()
    loaded, card = load_checkpoint(saved)
    state, loaded_state = model.network.state_dict(), loaded.network.state_dict()
    assert state.keys() == loaded_state.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, loaded_state[name]), name
        assert tensor.dtype == loaded_state[name].dtype, name
    assert loaded.network.config == model.network.config
    assert loaded.normalization.mean == model.normalization.mean
    assert loaded.normalization.std == model.normalization.std
    assert card == CARD
    assert not any(module.training for module in loaded.modules())
    frames = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    with torch.no_grad():
        # Kernels may round differently where the tensors lie differently in memory.
        torch.testing.assert_close(loaded(frames), model(frames), rtol=1e-4, atol=1e-3)


def test_the_card_is_read_without_the_tensors(saved: Path) -> None:
    assert read_card(saved) == CARD


def test_a_network_laid_out_channels_last_comes_back_the_same(tmp_path: Path) -> None:
    model = small_model()
    model.to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "last.safetensors", model, CARD)
    loaded, _ = load_checkpoint(tmp_path / "last.safetensors")
    for name, tensor in small_model().network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[name]), name


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("reading", PRESETS)
def test_every_preset_survives_the_file(reading: Any, size: Any, tmp_path: Path) -> None:
    preset = BiSeNetV2Config.preset(reading, size, num_classes=11)
    # A sixteenth of the channels keeps the file small; every other field stays the preset's.
    config = replace(preset, width=preset.width / 8, head_width=8)
    network = tuple(asdict(preset).items())
    card = replace(CARD, network=network, logits_stride=preset.logits_stride)
    path = tmp_path / "preset.safetensors"
    save_checkpoint(path, FrameNetwork(BiSeNetV2(config)), card)
    loaded, loaded_card = load_checkpoint(path)
    assert loaded.network.config == config
    assert loaded_card == card
    assert BiSeNetV2Config(**dict(loaded_card.network)) == preset


def test_sequences_in_a_card_s_network_survive_json() -> None:
    for value in ((), ("S2", "S3"), ((1, 2), ("a", ()))):
        card = replace(CARD, network=(("boosters", value), ("width", 1.0)))
        assert ModelCard.from_json(card.to_json()) == card


def test_half_precision_weights_become_the_network_s_own_type(saved: Path, tmp_path: Path) -> None:
    def halve(tensors: dict[str, Any]) -> None:
        tensors.update({k: t.half() for k, t in tensors.items() if t.is_floating_point()})

    loaded, _ = load_checkpoint(edited(saved, tmp_path, tensors=halve))
    frames = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    with torch.no_grad():
        assert loaded(frames).dtype == torch.float32


def test_loading_fills_parameters_that_exist_in_place(saved: Path) -> None:
    network = BiSeNetV2(CONFIG)
    before = dict(network.named_parameters())
    tensors, _ = read_tensors(saved)
    load_strictly(network, tensors, saved)
    for name, parameter in network.named_parameters():
        assert parameter is before[name]
        assert torch.equal(parameter, tensors[name])


def test_loaded_parameters_can_be_trained(saved: Path) -> None:
    loaded, _ = load_checkpoint(saved)
    assert all(p.requires_grad and p.is_leaf for p in loaded.parameters())


def test_a_checkpoint_of_the_first_version_still_loads(saved: Path, tmp_path: Path) -> None:
    later = ("stride2_padding", "pool_counts_padding", "logits_stride")

    def age(texts: dict[str, str]) -> None:
        config, card = json.loads(texts[CONFIG_KEY]), json.loads(texts[METADATA_KEY])
        for name in later:
            del config["network"][name], card["network"][name]
        del card["logits_stride"], card["origin"]
        texts.update({CONFIG_KEY: json.dumps(config), METADATA_KEY: json.dumps(card)})

    path = edited(saved, tmp_path, metadata=age)
    loaded, card = load_checkpoint(path)
    assert loaded.network.config == CONFIG
    assert (card.logits_stride, card.origin) == (8, "")
    assert read_card(path) == card


def test_booster_widths_of_each_stage_survive_the_file(tmp_path: Path) -> None:
    config = replace(CONFIG, booster_width=(4, 6))
    path = tmp_path / "widths.safetensors"
    save_checkpoint(path, FrameNetwork(BiSeNetV2(config)), CARD)
    assert load_checkpoint(path)[0].network.config == config


def test_a_card_must_say_the_network_s_stride(saved: Path, tmp_path: Path) -> None:
    model = FrameNetwork(BiSeNetV2(replace(CONFIG, logits_stride=1)))
    with pytest.raises(UserError, match="card with logits of stride 8 for a network whose"):
        save_checkpoint(tmp_path / "model.safetensors", model, CARD)
    path = with_config(saved, tmp_path, "network", logits_stride=1)
    assert "card with logits of stride 8" in refusal(path)


# Refusals


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such checkpoint" in refusal(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_refused(kept: int, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(saved.read_bytes()[:kept])
    assert "damaged or truncated" in refusal(path)


def test_garbage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(bytes(range(256)) * 40)
    assert "damaged or truncated" in refusal(path)


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_renamed_pickle_is_refused_and_executes_nothing(tmp_path: Path) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "model.safetensors"
    torch.save({"weights": Trap(sprung)}, path)
    assert "damaged or truncated" in refusal(path)
    assert not sprung.exists()
    torch.load(BytesIO(path.read_bytes()), weights_only=False)  # proves that the trap was live
    assert sprung.exists()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_foreign_safetensors_file_is_refused(
    metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata)
    assert "not a checkpoint of bisenetv2" in refusal(path)


@pytest.mark.parametrize("key", [CONFIG_KEY, METADATA_KEY])
def test_a_checkpoint_without_configuration_or_card_is_refused(
    key: str, saved: Path, tmp_path: Path
) -> None:
    path = edited(saved, tmp_path, metadata=lambda texts: texts.pop(key))
    assert "not a checkpoint of bisenetv2" in refusal(path)


def test_a_missing_tensor_is_named(saved: Path, tmp_path: Path) -> None:
    path = edited(saved, tmp_path, tensors=lambda t: t.pop("head.classifier.bias"))
    assert "1 missing (head.classifier.bias)" in refusal(path)


def test_an_unknown_tensor_is_named(saved: Path, tmp_path: Path) -> None:
    path = edited(saved, tmp_path, tensors=lambda t: t.update(extra=torch.zeros(1)))
    assert "1 unknown (extra)" in refusal(path)


def test_a_misshaped_tensor_is_named(saved: Path, tmp_path: Path) -> None:
    name = "head.classifier.bias"
    path = edited(saved, tmp_path, tensors=lambda t: t.update({name: torch.zeros(12)}))
    assert f"1 misshaped ({name})" in refusal(path)


def test_of_many_tensors_that_do_not_fit_a_few_are_named(saved: Path) -> None:
    network = BiSeNetV2(replace(CONFIG, boosters=(), num_classes=5))
    tensors, _ = read_tensors(saved)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UserError, match="checkpoint of another network") as caught:
        load_strictly(network, tensors, "file")
    message = str(caught.value)
    assert "16 unknown (boosters.S3.classifier.bias, " in message and ", …)" in message
    assert "2 misshaped (head.classifier.bias, head.classifier.weight)" in message
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "3", "{}", '{"network": []}', '{"network": {}}', "[" * 100_000],
)
def test_a_damaged_configuration_is_refused(text: str, saved: Path, tmp_path: Path) -> None:
    path = edited(saved, tmp_path, metadata=lambda texts: texts.update({CONFIG_KEY: text}))
    assert "damaged configuration in the checkpoint" in refusal(path)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("network", {"novelty": 1}, "unknown network options novelty: correct them or"),
        ("network", {"depth": 0}, "depth 0: expected 1 to 64"),
        ("network", {"depth": 1.5}, "depth 1.5: expected a whole number"),
        ("network", {"width": "wide"}, "width 'wide': expected a number"),
        ("network", {"boosters": None}, "boosters None: expected a list, each text"),
        ("network", {"boosters": ["S9"]}, "take some of"),
        ("network", {"gather_relu": "false"}, "gather_relu 'false': expected one of True, False"),
        ("network", {"num_classes": 12}, "card with 11 class names for a network of 12"),
        ("network", {"aggregation": "mean"}, "expected one of bga, sum, concat"),
        ("network", {"depth": 2}, "checkpoint of another network"),
        ("normalization", {"mean": None}, "damaged configuration"),
        ("normalization", {"mean": [10**400, 1, 1]}, "damaged configuration"),
        ("normalization", {"mean": [1], "std": [1]}, "normalisation of 1 channels"),
        ("normalization", {"mean": [], "std": []}, "normalisation by mean"),
        ("normalization", {"mean": [1, 2]}, "normalisation by mean"),
        ("normalization", {"std": [1, 2, 0]}, "normalisation by mean"),
        ("normalization", {"mean": [1, 2, float("nan")]}, "normalisation by mean"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(
    part: str, values: dict[str, Any], message: str, saved: Path, tmp_path: Path
) -> None:
    assert message in refusal(with_config(saved, tmp_path, part, **values))


def test_a_damaged_card_is_refused(saved: Path, tmp_path: Path) -> None:
    path = edited(saved, tmp_path, metadata=lambda texts: texts.update({METADATA_KEY: "{"}))
    assert "damaged card" in refusal(path)


# Failures while writing


@pytest.mark.parametrize("name", ["model.pth", "model"])
def test_another_ending_is_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"checkpoints end in \.safetensors") as caught:
        save_checkpoint(tmp_path / name, small_model(), CARD)
    assert str(tmp_path / name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_card_of_other_classes_is_not_written(tmp_path: Path) -> None:
    model = FrameNetwork(BiSeNetV2(replace(CONFIG, num_classes=19)))
    with pytest.raises(UserError, match="card with 11 class names for a network of 19"):
        save_checkpoint(tmp_path / "model.safetensors", model, CARD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [SafetensorError("disk full"), OSError("disk full")])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    error: Exception, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_save(_: object, temporary: Path, __: object) -> None:
        temporary.write_bytes(b"half")
        raise error

    path = tmp_path / "model.safetensors"
    path.write_bytes(saved.read_bytes())
    monkeypatch.setattr(checkpoint_module, "save_file", half_save)
    with pytest.raises(UserError, match="cannot be written") as caught:
        save_checkpoint(path, small_model(), CARD)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == saved.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_saving_where_a_file_stands_for_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "model.safetensors", small_model(), CARD)
