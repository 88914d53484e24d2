"""The network has the shapes, switches, gradients and arithmetic that the paper's figures draw."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.network.aggregation import (  # noqa: E402
    BilateralGuidedAggregation,
    PlainAggregation,
)
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.blocks import ConvBN  # noqa: E402
from bisenetv2.network.config import STAGES, BiSeNetV2Config  # noqa: E402
from bisenetv2.network.context import ContextEmbedding  # noqa: E402
from bisenetv2.network.frames import MEAN, STD, FrameNetwork, Normalization  # noqa: E402
from bisenetv2.network.gather import GatherExpansion  # noqa: E402
from bisenetv2.network.head import SegmentationHead  # noqa: E402
from bisenetv2.network.stem import StemBlock  # noqa: E402

SMALL: dict[str, Any] = {"num_classes": 3, "width": 0.25, "head_width": 8, "booster_width": 4}
"""A network of the paper's layout with a quarter of its channels: stem 4, S3 8, S4 16, S5 32."""

# What each switch changes among names and shapes of the tensors, as a pattern of the names.
SHAPE_SWITCHES: dict[str, tuple[dict[str, Any], str]] = {
    "classes": ({"num_classes": 5}, r"(head|boosters\.S\d)\.classifier\."),
    "input channels": ({"in_channels": 1}, r"(detail\.S1\.0|semantic\.S2\.first)\.conv\.weight"),
    "head width": ({"head_width": 16}, r"head\."),
    "booster width": ({"booster_width": 16}, r"boosters\."),
    "no booster": ({"boosters": ()}, r"boosters\."),
    "booster after CE": ({"boosters": STAGES}, r"boosters\.CE\."),
    "lambda": ({"semantic_ratio": 1 / 2}, r"semantic\.S[234]\.|boosters\.S[23]\.conv\.conv"),
    "epsilon": ({"expansion": 2}, r"semantic\.S\d\.\d\.(depthwise|project\.conv)"),
    "depth": ({"depth": 2}, r"semantic\.(S3\.[23]|S4\.[23]|S5\.[4-7])\."),
    "detail alone": (
        {"branches": "detail", "boosters": ()},
        r"semantic\.|boosters\.|aggregation\.",
    ),
    "semantic alone": ({"branches": "semantic"}, r"detail\.|aggregation\."),
    "sum": ({"aggregation": "sum"}, r"aggregation\."),
    "concatenation": ({"aggregation": "concat"}, r"aggregation\."),
    "no CE": ({"context_embedding": False}, r"semantic\.CE\."),
    "gather 1x1": ({"gather_kernel": 1}, r"semantic\.S\d\.\d\.gather\.conv\.weight"),
    "single depthwise": (
        {"double_depthwise": False},
        r"semantic\.S\d\.0\.depthwise\.(0\.conv\.weight|1\.)",
    ),
    "expand in gather": (
        {"expand_in": "gather"},
        r"semantic\.S\d\.\d\.gather\.",
    ),
    "stem fuse 1x1": ({"stem_fuse_kernel": 1}, r"semantic\.S2\.fuse\.conv\.weight"),
    "refine": ({"refine": True}, r"refine\."),
    "context tail": ({"context_tail": "bn-relu"}, r"semantic\.CE\.mix\."),
    "convolution bias": ({"conv_bias": True}, r".*\.bias"),
    "pixel shuffle": ({"logits_stride": 1}, r"head\.classifier\."),
    "booster widths": ({"booster_width": (4, 5, 4, 6)}, r"boosters\.S[35]\."),
    "pointwise bias": (
        {"pointwise_bias": True},
        r"aggregation\.(detail|semantic)_keep\.1\.bias",
    ),
}

# Switches of a function without tensors: weights fit, logits differ.
FUNCTION_SWITCHES: dict[str, dict[str, Any]] = {
    "gather ReLU": {"gather_relu": True},
    "aggregation ReLU": {"aggregation_relu": True},
    "upsampling": {"upsample": "nearest"},
    "aligned corners": {"upsample": "bilinear-corners"},
    "padding at the end": {"stride2_padding": "end"},
    "pooling without padding": {"pool_counts_padding": False},
}


def build(seed: int = 0, **options: Any) -> BiSeNetV2:
    """A small network whose BN statistics are those of a trained one: not 0 and 1."""
    torch.manual_seed(seed)
    network = BiSeNetV2(BiSeNetV2Config(**{**SMALL, **options}))
    return randomise(network).eval()


def randomise(module: nn.Module) -> Any:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.3)
    return module


def picture(batch: int, height: int, width: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(height * width + batch)
    return torch.randn(batch, channels, height, width, generator=generator)


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in network.state_dict().items()}


# Shapes


@settings(max_examples=8)
@given(batch=st.integers(1, 2), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_logits_are_at_an_eighth_of_any_size_divisible_by_32(
    batch: int, rows: int, columns: int
) -> None:
    with torch.no_grad():
        logits = build()(picture(batch, 32 * rows, 32 * columns))
    assert logits.shape == (batch, 3, 4 * rows, 4 * columns)


def test_in_training_booster_logits_follow_at_the_strides_of_their_stages() -> None:
    outputs = build(boosters=STAGES).train()(picture(2, 64, 96))
    sizes = [tuple(logits.shape) for logits in outputs]
    assert sizes == [(2, 3, 64 // stride, 96 // stride) for stride in (8, 4, 8, 16, 32, 32)]


def test_in_training_without_boosters_a_tuple_of_the_logits_alone_comes() -> None:
    (logits,) = build(boosters=()).train()(picture(2, 32, 32))
    assert logits.shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    ("height", "width", "message"),
    [
        (721, 960, "height 721 is not a multiple of 32: the nearest usable is 736"),
        (64, 719, "width 719 is not a multiple of 32: the nearest usable is 704"),
        (64, 720, "width 720 is not a multiple of 32: the nearest usable is 736"),
        (5, 64, "height 5 is not a multiple of 32: the nearest usable is 32"),
        (64, 0, "width 0 is not a multiple of 32: the nearest usable is 32"),
    ],
)
def test_another_size_is_refused_with_the_nearest_usable_one(
    height: int, width: int, message: str
) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        build()(torch.zeros(1, 3, height, width))


# Switches


@pytest.mark.parametrize("switch", SHAPE_SWITCHES)
def test_a_switch_changes_what_it_names_and_nothing_else(switch: str) -> None:
    options, pattern = SHAPE_SWITCHES[switch]
    base, other = shapes(build()), shapes(build(**options))
    changed = {name for name in base.keys() | other.keys() if base.get(name) != other.get(name)}
    assert changed
    assert [name for name in sorted(changed) if not re.match(pattern, name)] == []


@pytest.mark.parametrize("switch", SHAPE_SWITCHES)
def test_every_switch_gives_logits_at_its_stride(switch: str) -> None:
    options, _ = SHAPE_SWITCHES[switch]
    network = build(**options)
    config = network.config
    image = picture(1, 64, 32, config.in_channels)
    with torch.no_grad():
        sides = 64 // config.logits_stride, 32 // config.logits_stride
        assert network(image).shape == (1, config.num_classes, *sides)
        outputs = network.train()(torch.cat((image, -image)))
    assert len(outputs) == 1 + len(config.boosters)


@st.composite
def configs(draw: st.DrawFn) -> BiSeNetV2Config:
    """Any network that can be, at few channels: every switch in every combination."""
    branches = draw(st.sampled_from(("both", "detail", "semantic")))
    context_embedding = draw(st.booleans())
    places = () if branches == "detail" else STAGES if context_embedding else STAGES[:-1]
    taken = [stage for stage in places if draw(st.booleans())]
    options = {
        "num_classes": st.integers(1, 4),
        "in_channels": st.integers(1, 4),
        "semantic_ratio": st.sampled_from((1 / 16, 0.3, 1)),
        "expansion": st.integers(1, 3),
        "width": st.sampled_from((0.5, 0.7)),
        "depth": st.integers(1, 2),
        "aggregation": st.sampled_from(("bga", "sum", "concat")),
        "gather_kernel": st.sampled_from((1, 3)),
        "expand_in": st.sampled_from(("depthwise", "gather")),
        "stem_fuse_kernel": st.sampled_from((1, 3)),
        "context_tail": st.sampled_from(("bare", "bn-relu")),
        "upsample": st.sampled_from(("bilinear", "nearest")),
    }
    switches = ("double_depthwise", "refine", "gather_relu", "aggregation_relu")
    options |= {name: st.booleans() for name in (*switches, "conv_bias", "pointwise_bias")}
    return BiSeNetV2Config(
        branches=branches,
        context_embedding=context_embedding,
        boosters=tuple(taken),
        head_width=8,
        booster_width=4,
        **draw(st.fixed_dictionaries(options)),
    )


@settings(max_examples=10)
@given(config=configs())
def test_switches_go_together_in_every_combination(config: BiSeNetV2Config) -> None:
    strides = {"S2": 4, "S3": 8, "S4": 16, "S5": 32, "CE": 32}
    with torch.device("meta"):  # shapes cost no arithmetic there
        network = BiSeNetV2(config)
        image = torch.empty(2, config.in_channels, 64, 96)
        sizes = [tuple(logits.shape) for logits in network(image)]
        lean = network.without_boosters().eval()(image)
    wanted = [(2, config.num_classes, 8, 12)]
    wanted += [(2, config.num_classes, 64 // s, 96 // s) for s in map(strides.get, config.boosters)]
    assert sizes == wanted
    assert tuple(lean.shape) == wanted[0]


@pytest.mark.parametrize("switch", FUNCTION_SWITCHES)
def test_a_switch_without_tensors_changes_the_logits_of_the_same_weights(switch: str) -> None:
    base, other = build(), build(seed=1, **FUNCTION_SWITCHES[switch])
    other.load_state_dict(base.state_dict())
    image = picture(1, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(base(image), other(image), atol=1e-4)


def test_convolution_bias_reaches_every_convolution_of_the_network() -> None:
    network = build(conv_bias=True, refine=True)
    assert all(m.bias is not None for m in network.modules() if isinstance(m, nn.Conv2d))


def test_only_the_classifiers_have_a_bias_as_a_rule() -> None:
    with_bias = [
        name
        for name, m in build().named_modules()
        if isinstance(m, nn.Conv2d) and m.bias is not None
    ]
    assert with_bias and all(name.endswith("classifier") for name in with_bias)


def test_kernels_are_those_the_switches_ask_for() -> None:
    network = build(gather_kernel=1, double_depthwise=False, stem_fuse_kernel=1)
    layer = network.semantic.S3[0]
    assert layer.gather.conv.kernel_size == (1, 1)
    assert [unit.conv.kernel_size for unit in layer.depthwise] == [(5, 5)]
    assert network.semantic.S2.fuse.conv.kernel_size == (1, 1)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_multiplies_the_gather_and_expansion_layers(depth: int) -> None:
    semantic = build(depth=depth).semantic
    assert [len(s) for s in (semantic.S3, semantic.S4, semantic.S5)] == [
        2 * depth,
        2 * depth,
        4 * depth,
    ]


@pytest.mark.parametrize("width", [0.25, 0.3, 1.25, 2.0])
def test_width_multiplies_every_channel_count(width: int) -> None:
    with torch.device("meta"):
        network = BiSeNetV2(BiSeNetV2Config(width=width))
    outs = [
        network.detail.S1[0],
        network.detail.S3[0],
        network.semantic.S2.fuse,
        network.semantic.S3[0].project,
        network.semantic.S4[0].project,
        network.semantic.S5[0].project,
    ]
    wanted = [int(channels * width) for channels in (64, 128, 16, 32, 64, 128)]
    assert [unit.conv.out_channels for unit in outs] == wanted


def test_where_the_channels_expand_is_a_switch() -> None:
    for expand_in, gathered in (("depthwise", 8), ("gather", 48)):
        layer = build(expand_in=expand_in).semantic.S3[1]
        assert layer.gather.conv.out_channels == gathered
        assert layer.depthwise[0].conv.groups == gathered
        assert layer.depthwise[0].conv.out_channels == layer.project.conv.in_channels == 48


def test_refinement_is_one_layer_that_doubles_the_channels_inside() -> None:
    refine = build(refine=True).refine
    assert isinstance(refine, GatherExpansion)
    assert refine.project.conv.in_channels == 2 * refine.project.conv.out_channels == 64


def test_padding_at_the_end_is_that_of_the_frameworks_that_say_same() -> None:
    image, config = picture(1, 64, 96), BiSeNetV2Config(stride2_padding="end")
    for kernel in (3, 5):
        unit = ConvBN(config, 3, 4, kernel, stride=2).eval()
        around = (kernel - 2) // 2  # 'same' on an even side: kernel - stride in all, more behind
        padded = F.pad(image, (around, kernel - 2 - around) * 2)
        expected = unit.bn(F.conv2d(padded, unit.conv.weight, unit.conv.bias, stride=2))
        torch.testing.assert_close(unit(image), expected)
        assert unit(image).shape == (1, 4, 32, 48)
    plain = ConvBN(config, 3, 4, 3)
    assert plain.conv.padding == (1, 1) and isinstance(plain.pad, nn.Identity)


def test_a_pixel_shuffle_lays_a_square_of_logits_in_the_place_of_each_position() -> None:
    network = build(logits_stride=1)
    seen: list[Tensor] = []
    network.head.classifier.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        logits = network(picture(1, 32, 64))
    assert logits.shape == (1, 3, 32, 64)
    (values,) = seen  # 1, 3·64, 4, 8
    for y, x, c in ((0, 0, 0), (9, 17, 1), (31, 63, 2)):
        row = 64 * c + 8 * (y % 8) + x % 8
        assert logits[0, c, y, x] == values[0, row, y // 8, x // 8]


# Boosters


def test_dropping_the_boosters_drops_all_their_tensors_and_moves_no_logit() -> None:
    network = build(boosters=STAGES)
    lean = network.without_boosters()
    image = picture(2, 64, 96)
    with torch.no_grad():
        assert torch.equal(lean(image), network(image))
    gone = shapes(network).keys() - shapes(lean).keys()
    assert gone and gone == {name for name in shapes(network) if name.startswith("boosters.")}
    assert lean.config.boosters == () and network.config.boosters == STAGES
    assert all(parameter.requires_grad for parameter in lean.parameters())
    pairs = zip(lean.detail.parameters(), network.detail.parameters(), strict=True)
    assert all(mine.data_ptr() == its.data_ptr() for mine, its in pairs)


@pytest.mark.parametrize("training", [False, True])
def test_dropping_the_boosters_keeps_the_mode(training: bool) -> None:
    assert build().train(training).without_boosters().training is training


# Training, compiling, layouts


@pytest.mark.parametrize(
    "options", [{}, {"expand_in": "gather", "refine": True}, {"aggregation": "concat"}]
)
def test_in_training_a_gradient_reaches_every_parameter(options: dict[str, Any]) -> None:
    network = build(**options).train()
    sum(logits.square().mean() for logits in network(picture(4, 64, 64))).backward()
    without = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert without == []


def test_channels_last_gives_the_same_logits() -> None:
    network, image = build(), picture(2, 64, 96)
    with torch.no_grad():
        expected = network(image)
        network.to(memory_format=torch.channels_last)
        logits = network(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_it_compiles_into_one_graph() -> None:
    network, image = build(), picture(1, 64, 32)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(image), network(image))


def test_it_is_built_and_run_on_the_meta_device() -> None:
    with torch.device("meta"):
        logits = BiSeNetV2(BiSeNetV2Config.preset("figures", "large")).eval()(
            torch.zeros(1, 3, 512, 1024)
        )
    assert logits.is_meta and logits.shape == (1, 19, 64, 128)


def test_convolutions_start_by_he_s_rule_and_normalisations_at_one_and_zero() -> None:
    torch.manual_seed(0)
    for name, part in BiSeNetV2().named_modules():
        if isinstance(part, nn.BatchNorm2d):
            assert bool((part.weight == 1).all() and (part.bias == 0).all()), name
        if isinstance(part, nn.Conv2d):
            assert part.bias is None or bool((part.bias == 0).all()), name
            count, fan_in = part.weight.numel(), part.weight[0].numel()
            expected = (2 / fan_in) ** 0.5
            # Five standard errors of a sample's mean and deviation.
            assert abs(part.weight.mean().item()) < 5 * expected / count**0.5, name
            assert abs(part.weight.std().item() / expected - 1) < 5 / (2 * count) ** 0.5, name


def test_frames_are_normalised_by_channel_in_rgb() -> None:
    frames = torch.randint(0, 256, (2, 32, 64, 3), dtype=torch.uint8)
    image = Normalization()(frames)
    assert image.shape == (2, 3, 32, 64) and image.dtype == torch.float32
    assert image.is_contiguous(memory_format=torch.channels_last)
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
        expected = (frames[..., channel].double() - mean) / std
        torch.testing.assert_close(image[:, channel].double(), expected, rtol=1e-5, atol=1e-5)


def test_a_frame_network_is_normalisation_then_network() -> None:
    network = build()
    frames = torch.randint(0, 256, (1, 32, 64, 3), dtype=torch.uint8)
    normalization = Normalization((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    with torch.no_grad():
        logits = FrameNetwork(network, normalization)(frames)
        assert torch.equal(logits, network(normalization(frames)))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_normalisation_of_other_channels_than_the_network_s_is_refused(channels: int) -> None:
    normalization = Normalization((1.0,) * channels, (2.0,) * channels)
    with pytest.raises(UserError, match=f"normalisation of {channels} channels for .* of 3"):
        FrameNetwork(build(), normalization)


# Configuration


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes 0: expected 1 to 255"),
        ({"num_classes": 256}, "num_classes 256: expected 1 to 255"),
        ({"in_channels": 0}, "in_channels 0: expected 1 to 1024"),
        ({"head_width": 0}, "head_width 0: expected 1 to 8192"),
        ({"booster_width": -1}, "booster_width -1: expected 1 to 8192"),
        ({"semantic_ratio": 2}, "semantic_ratio 2: expected 0.015625 to 1"),
        ({"expansion": 0}, "expansion 0: expected 1 to 64"),
        ({"width": float("nan")}, "width nan: expected 0.0625 to 16"),
        ({"depth": 0}, "depth 0: expected 1 to 64"),
        ({"depth": 1.5}, "depth 1.5: expected a whole number"),
        ({"num_classes": 11.0}, "num_classes 11.0: expected a whole number"),
        ({"gather_kernel": 3.0}, "gather_kernel 3.0: expected one of 1, 3"),
        ({"refine": "false"}, "refine 'false': expected one of True, False"),
        ({"branches": "one"}, "branches 'one': expected one of both, detail, semantic"),
        ({"aggregation": "mean"}, "aggregation 'mean': expected one of bga, sum, concat"),
        ({"gather_kernel": 2}, "gather_kernel 2: expected one of 1, 3"),
        ({"stem_fuse_kernel": 5}, "stem_fuse_kernel 5: expected one of 1, 3"),
        ({"expand_in": "both"}, "expand_in 'both': expected one of depthwise, gather"),
        ({"context_tail": "relu"}, "context_tail 'relu': expected one of bare, bn-relu"),
        (
            {"upsample": "cubic"},
            "upsample 'cubic': expected one of bilinear, bilinear-corners, nearest",
        ),
        ({"boosters": ("S3", "S2")}, "take some of"),
        ({"boosters": ("S1",)}, "take some of"),
        ({"boosters": ("S2", "S2")}, "take some of"),
        ({"branches": "detail"}, "boosters sit on the Semantic Branch: without one have none"),
        ({"boosters": ("CE",), "context_embedding": False}, "there is no CE block"),
        ({"width": 1 / 16}, "the stem would have 1 channels; it needs 2 or more"),
        ({"stride2_padding": "same"}, "stride2_padding 'same': expected one of both, end"),
        ({"pool_counts_padding": 2}, "pool_counts_padding 2: expected one of True, False"),
        ({"logits_stride": 4}, "logits_stride 4: expected one of 1, 8"),
        ({"booster_width": (8, 8)}, "booster_width (8, 8) for boosters ('S2', 'S3', 'S4', 'S5')"),
        ({"booster_width": (8, 8, 8, 0)}, "booster_width 0: expected 1 to 8192"),
        ({"booster_width": (8, 8, 8, 1.5)}, "booster_width (8, 8, 8, 1.5): expected a whole"),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_one_line(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        BiSeNetV2Config(**options)
    assert "\n" not in str(caught.value)


def test_presets_are_the_networks_they_name() -> None:
    preset = BiSeNetV2Config.preset
    assert preset() == preset("figures", "base") == BiSeNetV2Config()
    printed = preset("printed-cost")
    assert (printed.head_width, printed.stem_fuse_kernel) == (64, 1)
    assert printed.expand_in == "gather" and printed.refine
    common = preset("common-code")
    assert common.gather_relu and common.aggregation_relu and common.upsample == "nearest"
    assert (common.context_tail, common.head_width) == ("bn-relu", 1024)
    for reading, head_width in (("figures", 256), ("printed-cost", 256), ("common-code", 1024)):
        large = preset(reading, "large")
        assert (large.width, large.depth, large.head_width) == (2.0, 3, head_width)
    assert preset("figures", "large", num_classes=11, width=1.5).width == 1.5


@pytest.mark.parametrize(
    ("reading", "inference", "training"),
    [
        ("coincheung-first", 2_457_763, None),
        ("coincheung-2020-05", 3_358_627, 3_645_935),
        ("coincheung-2020-09", 4_585_552, None),
        ("coincheung-2021-07", 3_358_627, None),
        ("mmseg", 3_358_883, None),
        ("paddleseg", 2_315_259, 2_516_455),
    ],
)
def test_networks_of_public_code_have_its_number_of_parameters(
    reading: Any, inference: int, training: int | None
) -> None:
    with torch.device("meta"):
        network = BiSeNetV2(BiSeNetV2Config.preset(reading))
    assert sum(p.numel() for p in network.without_boosters().parameters()) == inference
    if training is not None:  # where its booster heads are laid out as in Fig. 7
        assert sum(p.numel() for p in network.parameters()) == training


def test_common_code_is_the_newest_generation_of_the_most_used_project() -> None:
    assert BiSeNetV2Config.preset("common-code") == BiSeNetV2Config.preset("coincheung-2021-07")


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="figures, printed-cost, common-code"):
        BiSeNetV2Config.preset("paper")
    with pytest.raises(UserError, match="base, large"):
        BiSeNetV2Config.preset("figures", "huge")


# The figures' arithmetic, written once more in plain functions


class Weights:
    """The tensors of a module, with the paper's units as functions of the unit's name."""

    def __init__(self, module: nn.Module) -> None:
        self.tensors = module.state_dict()

    def norm(self, name: str, x: Tensor) -> Tensor:
        scale, shift, mean, var = (
            self.tensors[f"{name}.{part}"].view(1, -1, 1, 1)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift

    def conv(self, name: str, x: Tensor, stride: int = 1, depthwise: bool = False) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        groups = x.shape[1] if depthwise else 1
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)

    def conv_bn(self, name: str, x: Tensor, stride: int = 1, depthwise: bool = False) -> Tensor:
        return self.norm(f"{name}.bn", self.conv(f"{name}.conv", x, stride, depthwise))


def stem(w: Weights, image: Tensor) -> Tensor:
    x = F.relu(w.conv_bn("first", image, stride=2))
    left = F.relu(w.conv_bn("left.1", F.relu(w.conv_bn("left.0", x)), stride=2))
    right = F.max_pool2d(x, 3, 2, 1)
    return F.relu(w.conv_bn("fuse", torch.cat((left, right), 1)))


def gather_stride_1(w: Weights, x: Tensor) -> Tensor:
    y = F.relu(w.conv_bn("gather", x))
    y = w.conv_bn("depthwise.0", y, depthwise=True)
    return F.relu(w.conv_bn("project", y) + x)


def gather_stride_2(w: Weights, x: Tensor) -> Tensor:
    y = F.relu(w.conv_bn("gather", x))
    y = w.conv_bn("depthwise.0", y, stride=2, depthwise=True)
    y = w.conv_bn("depthwise.1", y, depthwise=True)
    aside = w.conv_bn("shortcut.0", x, stride=2, depthwise=True)
    return F.relu(w.conv_bn("project", y) + w.conv_bn("shortcut.1", aside))


def context(w: Weights, x: Tensor) -> Tensor:
    pooled = w.norm("bn", F.adaptive_avg_pool2d(x, 1))
    return w.conv("mix", x + F.relu(w.conv_bn("embed", pooled)))


def head(w: Weights, x: Tensor) -> Tensor:
    return w.conv("classifier", F.relu(w.conv_bn("conv", x)))


def up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


def summed(w: Weights, detail: Tensor, semantic: Tensor) -> Tensor:
    return w.conv_bn("fuse", w.conv_bn("detail", detail) + up(w.conv_bn("semantic", semantic)))


def concatenated(w: Weights, detail: Tensor, semantic: Tensor) -> Tensor:
    roads = w.conv_bn("detail", detail), up(w.conv_bn("semantic", semantic))
    return w.conv_bn("fuse", torch.cat(roads, 1))


def bga(w: Weights, detail: Tensor, semantic: Tensor) -> Tensor:
    d_keep = w.conv("detail_keep.1", w.conv_bn("detail_keep.0", detail, depthwise=True))
    d_down = F.avg_pool2d(w.conv_bn("detail_down.0", detail, stride=2), 3, 2, 1)
    s_up = torch.sigmoid(up(w.conv_bn("semantic_up", semantic)))
    s_keep = torch.sigmoid(
        w.conv("semantic_keep.1", w.conv_bn("semantic_keep.0", semantic, depthwise=True))
    )
    return w.conv_bn("fuse", d_keep * s_up + up(d_down * s_keep))


CONFIG = BiSeNetV2Config(**SMALL)


@pytest.mark.parametrize(
    ("module", "figure", "inputs"),
    [
        (lambda: StemBlock(CONFIG), stem, [(2, 3, 32, 64)]),
        (lambda: GatherExpansion(CONFIG, 8, 8), gather_stride_1, [(2, 8, 8, 12)]),
        (lambda: GatherExpansion(CONFIG, 8, 16, stride=2), gather_stride_2, [(2, 8, 8, 12)]),
        (lambda: ContextEmbedding(CONFIG), context, [(2, 32, 3, 2)]),
        (
            lambda: BilateralGuidedAggregation(CONFIG),
            bga,
            [(2, 32, 12, 8), (2, 32, 3, 2)],
        ),
        (
            lambda: PlainAggregation(replace(CONFIG, aggregation="sum")),
            summed,
            [(2, 32, 12, 8), (2, 32, 3, 2)],
        ),
        (
            lambda: PlainAggregation(replace(CONFIG, aggregation="concat")),
            concatenated,
            [(2, 32, 12, 8), (2, 32, 3, 2)],
        ),
        (lambda: SegmentationHead(replace(CONFIG, num_classes=3), 32, 8), head, [(2, 32, 12, 8)]),
    ],
    ids=["stem", "gather 1", "gather 2", "context", "bga", "sum", "concat", "head"],
)
def test_a_block_computes_what_its_figure_draws(
    module: Callable[[], nn.Module],
    figure: Callable[..., Tensor],
    inputs: list[tuple[int, ...]],
) -> None:
    torch.manual_seed(3)
    block = randomise(module()).eval()
    tensors = [torch.randn(*shape) for shape in inputs]
    with torch.no_grad():
        expected = figure(Weights(block), *tensors)
        out = block(*[tensor.clone() for tensor in tensors])
    assert expected.std() > 0.05
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
