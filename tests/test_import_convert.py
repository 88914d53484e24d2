"""A foreign checkpoint fits as a whole or is refused; what its card and the command say of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import golden

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from bisenetv2.builtin_labels import ADE20K, CITYSCAPES, COCO_STUFF  # noqa: E402
from bisenetv2.cli import main  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.importing.convert import Conversion, convert, turn_to_rgb  # noqa: E402
from bisenetv2.importing.describe import describe, expected_input, find_labels  # noqa: E402
from bisenetv2.importing.families import FAMILIES  # noqa: E402
from bisenetv2.importing.foreign_file import ForeignFile  # noqa: E402
from bisenetv2.inference.model_file import read_card  # noqa: E402
from bisenetv2.labels import Labels  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.checkpoint import load_checkpoint  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MMSEG_FIRST = "backbone.detail.detail_branch.0.0.conv.weight"


def file_of(tensors: dict[str, Tensor]) -> ForeignFile:
    return ForeignFile(Path("file.pth"), tensors, (), "ab" * 32)


def conversion_of(tensors: dict[str, Tensor], **options: Any) -> Conversion:
    return convert(file_of(tensors), **options)


def refusal(tensors: dict[str, Tensor], **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        conversion_of(tensors, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def without_boosters(name: str) -> dict[str, Tensor]:
    return {k: v for k, v in golden.tensors(name).items() if not k.startswith("aux")}


# Names in wrappers, and parts of networks


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.net.", "student.model."])
@pytest.mark.parametrize("name", ["coincheung-2021-07", "mmseg", "paddleseg"])
def test_a_prefix_before_every_name_is_stripped(prefix: str, name: str) -> None:
    plain = without_boosters(name)
    conversion = conversion_of({prefix + key: tensor for key, tensor in plain.items()})
    assert conversion.family.reading == name
    state = conversion_of(plain).network.state_dict()
    assert all(torch.equal(t, state[k]) for k, t in conversion.network.state_dict().items())


def test_two_networks_in_one_file_are_refused() -> None:
    plain = without_boosters("paddleseg")
    both = {**{f"a.{k}": v for k, v in plain.items()}, **{f"b.{k}": v for k, v in plain.items()}}
    message = refusal(both)
    assert "holds 2 networks" in message and "'a.'" in message and "'b.'" in message
    mixed = {f"a.{k}": v for k, v in plain.items()} | {"head.conv_1x1.bias": torch.zeros(19)}
    assert "names with and without 'a.'" in refusal(mixed)


def test_a_trunk_file_gets_a_new_head_that_is_the_same_each_time() -> None:
    trunk = {
        key: tensor
        for key, tensor in golden.tensors("coincheung-2021-07").items()
        if key.startswith(("detail.", "segment.", "bga."))
    }
    conversion = conversion_of(trunk)
    assert conversion.family.reading == "coincheung-2021-07"
    assert set(conversion.used) | conversion.left_out.keys() == trunk.keys()
    assert all(name.startswith("head.") for name in conversion.new) and len(conversion.new) == 7
    assert conversion.network.config.num_classes == 1
    again = conversion_of(trunk).network.head.state_dict()
    assert all(torch.equal(again[k], v) for k, v in conversion.network.head.state_dict().items())
    older = conversion_of(trunk, family="coincheung-2020-05")
    assert older.network.config.upsample == "bilinear-corners"


# Read off the tensors


def test_the_first_network_of_may_2020_is_told_by_its_head() -> None:
    widths = {"head": 256, "aux2": 32, "aux3": 64, "aux4": 128, "aux5_4": 256}
    old = {"head": 1024, "aux2": 128, "aux3": 128, "aux4": 128, "aux5_4": 128}
    tensors = {}
    for entry in golden.entries("coincheung-2020-05"):
        key, shape = entry["key"], list(entry["shape"])
        part = key.partition(".")[0]
        if part in widths:
            if "conv_out" in key and len(shape) == 4:
                shape[1] = widths[part]
            elif shape and shape[0] == old[part] and "conv_out" not in key:
                shape[0] = widths[part]
        tensors[key] = torch.from_numpy(np.asarray(golden.fill(key, tuple(shape))))
    conversion = conversion_of(tensors)
    config = conversion.network.config
    assert conversion.family.reading == "coincheung-first"
    assert not config.gather_relu and not config.aggregation_relu
    assert config.upsample == "bilinear-corners" and config.context_tail == "bn-relu"
    assert (config.head_width, config.booster_width) == (256, (32, 64, 128, 256))
    parameters = conversion.network.without_boosters().parameters()
    assert sum(p.numel() for p in parameters) == 2_457_763


@pytest.mark.parametrize("name", golden.NAMES)
def test_class_count_and_head_width_are_those_of_the_tensors(name: str) -> None:
    classes = {"coincheung-2020-09": (1216, 7 * 64)}.get(name, (19, 7))
    width = (128, 48) if name == "paddleseg" else (1024, 48)
    head = {"mmseg": "decode_head."}.get(name, "head.")
    tensors = {}
    for entry in golden.entries(name):
        shape = list(entry["shape"])
        if entry["key"].startswith("aux"):
            continue
        if entry["key"].startswith(head):
            sides = dict((classes, width))
            # A 3×3 convolution of PaddleSeg's head has 128 channels on both sides.
            ahead = 1 if shape[-2:] == [3, 3] else 2
            shape = [sides.get(n, n) if i < ahead else n for i, n in enumerate(shape)]
        tensors[entry["key"]] = torch.from_numpy(
            np.asarray(golden.fill(entry["key"], tuple(shape)))
        )
    config = conversion_of(tensors).network.config
    assert (config.num_classes, config.head_width, config.boosters) == (7, 48, ())


def test_half_precision_becomes_float32() -> None:
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in
               without_boosters("paddleseg").items()}  # fmt: skip
    network = conversion_of(tensors).network
    assert all(p.dtype == torch.float32 for p in network.parameters())


# Refusals


@pytest.mark.parametrize("name", ["coincheung-2021-07", "mmseg", "paddleseg"])
def test_a_tensor_without_a_place_is_refused_and_named(name: str) -> None:
    tensors = {**without_boosters(name), "extra.weight": torch.zeros(1)}
    assert "1 tensors have no place in the network" in refusal(tensors)
    assert "extra.weight" in refusal(tensors)


@pytest.mark.parametrize("name", golden.NAMES)
def test_any_missing_tensor_is_refused(name: str) -> None:
    whole = without_boosters(name)
    weights = [k for k in whole if not k.endswith("num_batches_tracked")]
    for key in weights[1::37]:
        rest = {k: v for k, v in whole.items() if k != key}
        message = refusal(rest)
        assert "missing" in message or "no convolution that stands for" in message


def test_a_misshaped_tensor_is_refused() -> None:
    tensors = {**without_boosters("paddleseg"), "sb.ce.bn.weight": torch.zeros(64)}
    assert "misshaped (semantic.CE.bn.weight)" in refusal(tensors)
    tensors["head.conv_1x1.weight"] = torch.zeros(19)
    assert "no convolution that stands for head.classifier.weight" in refusal(tensors)


def test_a_value_that_is_not_finite_is_refused() -> None:
    tensors = {**without_boosters("paddleseg"), "sb.ce.bn.weight": torch.full((128,), torch.nan)}
    assert "not finite in sb.ce.bn.weight" in refusal(tensors)


def test_a_pixel_shuffle_head_has_64_rows_a_class() -> None:
    tensors = without_boosters("coincheung-2020-09")
    tensors["head.conv_out.0.weight"] = torch.zeros(100, 1024, 1, 1)
    assert "classifier of 100 rows, not a multiple of 64" in refusal(tensors)


def test_another_network_is_not_known() -> None:
    message = refusal({"layer1.0.conv1.weight": torch.zeros(1)})
    assert "not a BiSeNet V2 of a known project (layer1.0.conv1.weight, …)" in message
    assert all(family.reading in message for family in FAMILIES)


def test_a_family_named_wrongly_is_refused() -> None:
    tensors = without_boosters("coincheung-2021-07")
    message = refusal(tensors, family="coincheung-2020-05")
    assert "have no place in the network coincheung-2020-05" in message
    assert "head.conv_out.1.weight" in message
    assert "unknown family 'timm'" in refusal(tensors, family="timm")


def test_two_names_for_one_place_are_refused() -> None:
    tensors = without_boosters("coincheung-2021-07")
    tensors["segment.S3.0.dwconv.0.weight"] = tensors["segment.S3.0.dwconv1.0.weight"]
    assert "stands for what another tensor stands for too" in refusal(tensors)


# Order of colours


def test_a_network_turned_to_rgb_sees_turned_frames_as_before() -> None:
    torch.manual_seed(0)
    network = BiSeNetV2(BiSeNetV2Config(width=0.25, head_width=8, boosters=())).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = network(image)
        turn_to_rgb(network)
        torch.testing.assert_close(network(image.flip(1)), before, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(network(image), before, atol=1e-3)


# Labels and cards


def test_labels_follow_from_the_number_of_classes_unless_named(tmp_path: Path) -> None:
    assert find_labels(None, 19) == ("cityscapes", CITYSCAPES)
    assert find_labels(None, 171) == ("coco-stuff", COCO_STUFF)
    assert find_labels(None, 150) == ("ade20k", ADE20K)
    for unnamed in (1, 11):  # a network of a single class; one that merely has as many as CamVid
        with pytest.raises(UserError, match=f"{unnamed} classes: name their labels"):
            find_labels(None, unnamed)
    own = Labels(names=("road", "rest"), palette=((1, 2, 3), (4, 5, 6)))
    (tmp_path / "own.json").write_text(own.to_json(), encoding="utf-8")
    assert find_labels(str(tmp_path / "own.json"), 2) == ("", own)


@pytest.mark.parametrize(
    ("named", "classes", "message"),
    [
        (None, 7, "7 classes: name their labels with --labels"),
        ("cityscapes", 20, "labels cityscapes: 19 classes for a network of 20"),
        ("kitti", 19, "labels kitti: no readable file and none of camvid, cityscapes"),
    ],
)
def test_labels_that_do_not_fit_are_refused(named: str | None, classes: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_labels(named, classes)


def test_the_labels_shown_in_the_documentation_are_labels() -> None:
    page = (Path(__file__).parents[1] / "docs" / "checkpoints.md").read_text()
    _, _, rest = page.partition("```json\n")
    assert Labels.from_json(rest.partition("```")[0]).names == ("road", "rest")


def test_every_family_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "checkpoints.md").read_text()
    assert all(f"`{family.reading}`" in page for family in FAMILIES)


def test_a_file_that_holds_no_labels_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"names": ["a"]}')
    with pytest.raises(UserError, match=r"own\.json: not a JSON file of labels"):
        find_labels(str(tmp_path / "own.json"), 1)


def test_each_project_feeds_its_networks_as_the_specification_says() -> None:
    means = {family.reading: expected_input(family, "cityscapes").mean for family in FAMILIES}
    assert means.pop("mmseg") == (123.675, 116.28, 103.53)
    assert means.pop("paddleseg") == (127.5,) * 3
    assert set(means.values()) == {(83.0535, 94.095, 82.1865)}
    newest = FAMILIES[0]
    stds = [expected_input(newest, name).std for name in ("cityscapes", "coco-stuff", "ade20k")]
    assert len(set(stds)) == 3
    assert expected_input(newest, "").mean == expected_input(newest, "cityscapes").mean


def test_the_card_says_where_the_weights_come_from_and_how_to_feed_them() -> None:
    conversion = conversion_of(without_boosters("coincheung-2020-09"))
    card = describe(conversion, file_of({}), "cityscapes", CITYSCAPES)
    assert (card.labels, card.logits_stride) == (CITYSCAPES, 1)
    assert (card.frame_size, card.input_scale) == ((1024, 2048), 1.0)
    for part in ("coincheung-2020-09", "file.pth", "ab" * 32, "CoinCheung/BiSeNet", "MIT"):
        assert part in card.origin
    assert "the terms of Cityscapes hold for the weights too" in card.data_licence
    assert card.merit == ""  # not measured here
    other = describe(conversion, file_of({}), "", CITYSCAPES, (360, 480), 0.5)
    assert (other.frame_size, other.input_scale) == ((360, 480), 0.5)


# The command


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as mmsegmentation writes it."""
    path = tmp_path_factory.mktemp("import") / "mmseg.pth"
    weights = golden.tensors("mmseg")
    torch.save({"meta": {"CLASSES": ("a", "b"), "epoch": 3}, "state_dict": weights}, path)
    return path


def test_the_command_writes_a_checkpoint_and_accounts_for_the_file(
    wrapped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "city.safetensors"
    assert main(["import", str(wrapped), "-o", str(target)]) == 0
    said = capsys.readouterr().out
    for line in (
        "mmseg.pth: mmseg (open-mmlab/mmsegmentation",
        "19 classes, head width 1024, logits at stride 8, 3,358,883 parameters for inference",
        "used: 275 of 385 tensors",
        "auxiliary_head.* (48): booster heads of another layout",
        "*.num_batches_tracked (62): counters",
        "left out: meta: no weights",
        "labels: cityscapes, 19 classes",
        "the terms of Cityscapes hold for the weights too",
        "code: Apache-2.0",
    ):
        assert line in said
    model, card = load_checkpoint(target)
    assert model.normalization.mean == (123.675, 116.28, 103.53)
    assert model.network.config.pointwise_bias
    assert card == read_card(target)
    first = model.network.detail.S1[0].conv.weight
    assert torch.equal(first, golden.tensors("mmseg")[MMSEG_FIRST])


def test_the_command_takes_the_average_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = golden.tensors("mmseg")
    average = {name: tensor * 1 for name, tensor in weights.items()}
    average[MMSEG_FIRST] = average[MMSEG_FIRST] + 1
    file, target = tmp_path / "both.pth", tmp_path / "average.safetensors"
    torch.save({"state_dict": weights, "ema": average, "epoch": 3}, file)
    assert main(["import", str(file), "-o", str(target), "--entry", "ema"]) == 0
    said = capsys.readouterr().out
    assert "left out: epoch: no weights" in said
    assert "left out: state_dict: other weights, each taken by --entry NAME" in said
    model, card = load_checkpoint(target)
    assert torch.equal(model.network.detail.S1[0].conv.weight, average[MMSEG_FIRST])
    assert "from both.pth, entry ema, SHA-256" in card.origin


def test_the_input_can_be_described_otherwise(wrapped: Path, tmp_path: Path) -> None:
    labels = Labels(tuple(f"c{i}" for i in range(19)), tuple((i, i, 1) for i in range(19)))
    (tmp_path / "labels.json").write_text(labels.to_json())
    target = tmp_path / "own.safetensors"
    words = "--mean 1 2 3 --std 4 5 6 --bgr --frame-size 360 480 --input-scale 0.5"
    words += f" --labels {tmp_path / 'labels.json'} --family mmseg"
    assert main(["import", str(wrapped), "-o", str(target), *words.split()]) == 0
    model, card = load_checkpoint(target)
    assert (model.normalization.mean, model.normalization.std) == ((1, 2, 3), (4, 5, 6))
    assert (card.frame_size, card.input_scale, card.labels) == ((360, 480), 0.5, labels)
    first = model.network.detail.S1[0].conv.weight
    assert torch.equal(first, golden.tensors("mmseg")[MMSEG_FIRST].flip(1))


def test_the_command_refuses_in_one_line_and_writes_nothing(
    wrapped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "city.safetensors"
    for words in (
        [str(tmp_path / "absent.pth")],
        [str(wrapped), "--labels", "voc"],
        [str(wrapped), "--family", "paddleseg"],
        [str(wrapped), "--std", "1", "0", "1"],
        [str(wrapped), "--input-scale", "0"],
    ):
        assert main(["import", *words, "-o", str(target)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("bisenetv2 import: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert main(["import", str(wrapped), "-o", str(wrapped)]) == 2


def test_a_trunk_comes_in_for_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts: dict[str, dict[str, Tensor]] = {"detail": {}, "segment": {}, "bga": {}}
    for key, tensor in golden.tensors("coincheung-2021-07").items():
        part, _, rest = key.partition(".")
        if part in parts:
            parts[part][rest] = tensor
    torch.save(parts, tmp_path / "backbone_v2.pth")
    assert main(["import", str(tmp_path / "backbone_v2.pth")]) == 0
    said = capsys.readouterr().out
    assert "new: head.conv.conv.weight" in said and "no head in the file" in said
    card = read_card(tmp_path / "backbone_v2.safetensors")
    assert "its head is untrained" in card.data_licence
    assert card.labels.names == ("untrained",)
    assert main(["import", str(tmp_path / "backbone_v2.pth"), "--labels", "cityscapes"]) == 2
    assert "has no head" in capsys.readouterr().err
    assert json.loads(card.to_json())["network"]["head_width"] == 1024
