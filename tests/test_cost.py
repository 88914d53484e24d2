"""The printed-cost reading costs what the paper prints; parameter counts are exact."""

import pytest

torch = pytest.importorskip("torch")

from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.cost import network_cost  # noqa: E402

PRINTED_GFLOPS = {
    "detail only": (15.26, {"branches": "detail", "boosters": ()}),
    "semantic only": (7.63, {"branches": "semantic"}),
    "sum": (20.77, {"aggregation": "sum"}),
    "concat": (21.98, {"aggregation": "concat"}),
    "bga": (21.15, {}),
    "lambda 1/2": (25.84, {"semantic_ratio": 1 / 2}),
    "lambda 1/8": (19.93, {"semantic_ratio": 1 / 8}),
    "lambda 1/16": (19.61, {"semantic_ratio": 1 / 16}),
    "epsilon 1": (17.78, {"expansion": 1}),
    "epsilon 2": (18.45, {"expansion": 2}),
    "epsilon 4": (19.80, {"expansion": 4}),
    "epsilon 8": (22.49, {"expansion": 8}),
    "gather 1x1": (15.78, {"gather_kernel": 1}),
    "no context embedding": (21.07, {"context_embedding": False}),
    "alpha 1.25": (34.98, {"width": 1.25, "head_width": 256}),
    "alpha 1.5": (49.46, {"width": 1.5, "head_width": 256}),
    "alpha 1.75": (66.45, {"width": 1.75, "head_width": 256}),
    "alpha 2": (85.94, {"width": 2.0, "head_width": 256}),
    "d 2": (25.26, {"depth": 2}),
    "d 3": (29.38, {"depth": 3}),
    "d 4": (33.50, {"depth": 4}),
    "large": (118.51, {"width": 2.0, "depth": 3, "head_width": 256}),
}


@pytest.mark.parametrize("row", PRINTED_GFLOPS)
def test_printed_cost_reading_costs_what_the_paper_prints(row):
    printed, options = PRINTED_GFLOPS[row]
    config = BiSeNetV2Config.preset("printed-cost", **options)
    assert network_cost(config).operations / 1e9 == pytest.approx(printed, abs=0.02)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (BiSeNetV2Config(head_width=64), 2_232_291),
        (BiSeNetV2Config(head_width=128), 2_307_363),
        (BiSeNetV2Config(head_width=256), 2_457_507),
        (BiSeNetV2Config.preset("figures", "large"), 18_397_235),
        (BiSeNetV2Config.preset("common-code"), 3_358_627),
        (BiSeNetV2Config.preset("printed-cost"), 5_249_539),
        (BiSeNetV2Config.preset("printed-cost", "large"), 57_754_739),
    ],
)
def test_parameters_are_counted_exactly(config, parameters):
    assert network_cost(config).parameters == parameters


@pytest.mark.parametrize(("head_width", "gmacs"), [(64, 15.39), (128, 16.01), (256, 17.24)])
def test_figures_reading_has_the_specified_macs(head_width, gmacs):
    assert network_cost(BiSeNetV2Config(head_width=head_width)).macs / 1e9 == pytest.approx(
        gmacs, abs=0.01
    )


def test_cost_grows_with_the_area():
    small = network_cost(BiSeNetV2Config(), (256, 512))
    large = network_cost(BiSeNetV2Config(), (512, 1024))
    assert large.macs == pytest.approx(4 * small.macs, rel=0.01)
