"""The model inside the package: small, documented, and as good as its card says."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bisenetv2.data.camvid import open_camvid
from bisenetv2.evaluation.evaluate import evaluate
from bisenetv2.evaluation.protocols import FrameProtocol
from bisenetv2.inference.model_file import EMBEDDED_MODELS, find_model, read_card
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.upsample import upsample_argmax
from bisenetv2.labels import CAMVID

TWELVE_MEGABYTES = 12_000_000


@pytest.mark.parametrize("name", EMBEDDED_MODELS)
def test_embedded_model_fits_the_wheel(name):
    assert find_model(name).stat().st_size < TWELVE_MEGABYTES


@pytest.mark.parametrize("name", EMBEDDED_MODELS)
def test_embedded_model_says_what_it_is(name):
    card = read_card(find_model(name))
    assert card.labels == CAMVID
    assert card.frame_size == (360, 480)
    assert card.data.startswith("CamVid")
    assert "research" in card.data_licence
    assert "% mIoU on CamVid" in card.merit


@pytest.mark.parametrize("size", [(360, 480), (1024, 2048), (117, 333)])
def test_fast_decoding_of_real_logits_equals_interpolation(camvid_root, size):
    torch = pytest.importorskip("torch")
    segmenter = Segmenter()
    frame = open_camvid(camvid_root, "val")[17].image
    logits = segmenter.infer(segmenter.prepare(frame))
    planes = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None].double(), size, mode="bilinear"
    )[0]
    best, second = planes.topk(2, dim=0).values
    clear = (best - second > 1e-4).numpy()  # elsewhere rounding may decide
    assert clear.mean() > 0.999
    expected = planes.argmax(0).numpy()
    assert np.array_equal(upsample_argmax(logits, size)[clear], expected[clear])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tolerance"), [("camvid-fp32", 0.05), ("camvid", 0.3)])
def test_embedded_model_scores_what_its_card_says(camvid_root, name, tolerance):
    merit = read_card(find_model(name)).merit
    percent, split = re.match(r"([\d.]+) % mIoU on CamVid (\w+)", merit).groups()
    result = evaluate(FrameProtocol(Segmenter(name)), open_camvid(camvid_root, split))
    assert 100 * result.matrix.mean_iou == pytest.approx(float(percent), abs=tolerance)
