"""Imported networks answer what the original code answered, at four points and at full size."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import golden

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from bisenetv2.importing.convert import Conversion, convert  # noqa: E402
from bisenetv2.importing.foreign_file import ForeignFile  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MOST = 2e-4
"""Largest difference allowed in float32, over the largest magnitude (specification, 5.4)."""


@cache
def converted(name: str) -> Conversion:
    return convert(ForeignFile(Path(name), golden.tensors(name), (), ""))


def points(network: BiSeNetV2, image: Tensor, align_corners: bool) -> dict[str, Tensor]:
    """What the network answers at the points that the golden files hold."""
    seen: dict[str, Tensor] = {}
    watched = {
        "detail": network.detail,
        "semantic": network.semantic.CE,
        "bga": network.aggregation,
        "head_logits": network.head.classifier,
    }
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
        for name, module in watched.items()
    ]
    with torch.no_grad():
        logits = network(image)
    for hook in hooks:
        hook.remove()
    if network.config.logits_stride != 1:
        # The last step is the decoder's here; the first generation aligned the corners.
        logits = F.interpolate(
            logits, image.shape[-2:], mode="bilinear", align_corners=align_corners
        )
    return {**seen, "logits": logits}


def difference(found: Tensor, expected: Any) -> float:
    """Largest difference over the largest magnitude."""
    return float(np.abs(found.numpy() - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", golden.NAMES)
def test_an_imported_network_answers_as_the_original_did(name: str) -> None:
    expected, network = golden.answers(name), converted(name).network
    found = points(network, golden.image(), name == "coincheung-2020-05")
    assert found.keys() == expected.keys()
    for point, values in expected.items():
        assert found[point].shape == values.shape
        assert difference(found[point], values) <= MOST, point


@pytest.mark.parametrize("name", golden.NAMES)
def test_in_float64_nothing_but_the_rounding_of_the_originals_is_left(name: str) -> None:
    expected, described = golden.answers(name), golden.description(name)["arrays"]
    network = BiSeNetV2(converted(name).network.config).eval()
    network.load_state_dict(converted(name).network.state_dict())
    found = points(network.double(), golden.image().double(), name == "coincheung-2020-05")
    for point, values in expected.items():
        noise = described[point]["float32_noise"]
        assert np.abs(found[point].numpy() - values).max() <= 1.01 * noise, point


@pytest.mark.parametrize("name", golden.NAMES)
def test_every_tensor_is_used_or_has_its_reason(name: str) -> None:
    conversion, described = converted(name), golden.description(name)
    keys = {entry["key"] for entry in golden.entries(name)}
    assert not set(conversion.used) & conversion.left_out.keys()
    assert set(conversion.used) | conversion.left_out.keys() == keys
    assert len(conversion.used) == len(set(conversion.used))
    assert conversion.family.reading == name
    assert conversion.new == ()
    inference = {
        entry["key"]
        for entry in described["state_dict"]["inference"]
        if not entry["key"].endswith("num_batches_tracked")
    }
    assert inference <= set(conversion.used)

    network = conversion.network
    count = sum(p.numel() for p in network.without_boosters().parameters())
    assert count == described["parameters"]["inference"]
    if network.config.boosters:
        count = sum(p.numel() for p in network.parameters())
        assert count == described["parameters"]["training"]


@pytest.mark.parametrize("name", golden.NAMES)
def test_the_rule_rebuilds_the_weights_that_gave_the_answers(name: str) -> None:
    for entry in golden.entries(name)[::7]:
        content = np.ascontiguousarray(golden.arrays(name)[entry["key"]])
        assert f"{zlib.crc32(content.tobytes()):08x}" == entry["crc32"], entry["key"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("coincheung-2021-07", {"gather_relu": False}),
        ("coincheung-2021-07", {"aggregation_relu": False}),
        ("coincheung-2021-07", {"upsample": "bilinear"}),
        ("coincheung-2021-07", {"stride2_padding": "end"}),
        ("coincheung-2021-07", {"pool_counts_padding": False}),
        ("coincheung-2020-05", {"upsample": "bilinear"}),
        ("mmseg", {"upsample": "bilinear-corners"}),
        ("mmseg", {"upsample": "nearest"}),
        ("paddleseg", {"stride2_padding": "both"}),
        ("paddleseg", {"pool_counts_padding": True}),
        ("paddleseg", {"gather_relu": True}),
        ("paddleseg", {"aggregation_relu": True}),
    ],
)
def test_each_switch_is_told_apart_by_the_answers(name: str, changes: dict[str, Any]) -> None:
    expected, network = golden.answers(name), converted(name).network
    other = BiSeNetV2(replace(network.config, **changes)).eval()
    other.load_state_dict(network.state_dict())
    found = points(other, golden.image(), name == "coincheung-2020-05")
    assert max(difference(found[point], values) for point, values in expected.items()) > 100 * MOST
