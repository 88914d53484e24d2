"""`evaluate` and `compare` as a user types them: what they write, print and refuse."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bisenetv2 import __version__
from bisenetv2.cli import main
from bisenetv2.data.streets import render_street
from bisenetv2.images import write_image, write_mask
from bisenetv2.inference.model_file import find_model


def run(capsys, *words):
    """Runs the command line; returns exit code, stdout and stderr."""
    try:
        code = main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *words):
    """Runs a command that must be refused; returns its one line."""
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1, err
    return err


@pytest.fixture(scope="module")
def camvid(tmp_path_factory):
    """A folder laid out as CamVid's, three rendered streets in its test split."""
    root = tmp_path_factory.mktemp("camvid")
    for index in range(3):
        image, mask = render_street(0, index, (96, 128))
        mask[mask == 255] = 11
        write_image(root / "test" / f"{index}.png", image)
        write_mask(root / "testannot" / f"{index}.png", mask)
    return root


@pytest.fixture
def cityscapes(tmp_path):
    """A folder laid out as Cityscapes', a frame in val."""
    image = np.zeros((32, 64, 3), np.uint8)
    write_image(tmp_path / "leftImg8bit/val/bonn/bonn_000000_000000_leftImg8bit.png", image)
    mask = np.full((32, 64), 7, np.uint8)
    write_mask(tmp_path / "gtFine/val/bonn/bonn_000000_000000_gtFine_labelIds.png", mask)
    return tmp_path


def test_everything_that_can_be_asked_for_is_written(capsys, camvid, tmp_path):
    page, table = tmp_path / "report.html", tmp_path / "images.csv"
    code, out, _ = run(
        capsys, "evaluate", "--data", camvid, "--html", page, "--csv", table, "--json"
    )
    assert code == 0
    content = json.loads(out)
    assert {"miou", "pixel_accuracy", "per_class", "images"} <= set(content)
    assert (content["model"], content["version"]) == ("embedded model camvid", __version__)
    assert content["engine"] in ("openvino", "onnxruntime")
    assert np.shape(content["confusion"]) == (11, 11)
    assert np.sum(content["confusion"]) == content["labelled_pixels"]
    (seen,) = content["seen"]
    assert (seen["frame"], seen["network"], seen["scale"]) == ([96, 128], [[160, 192]], 1.5)
    assert "frames of 128×96 seen at 192×160 (scale 1.5)" in content["protocol"]
    assert content["boundary"]["distance"] == "3 px, 2 % of the diagonal"
    assert 0 < content["expected_calibration_error"] < 1
    assert "<h2>Calibration</h2>" in page.read_text()
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(camvid / f"test/{i}.png") for i in range(3)]


def test_a_file_name_that_is_not_utf_8_does_not_lose_the_evaluation(capsys, camvid, tmp_path):
    root, page, table = tmp_path / "camvid", tmp_path / "report.html", tmp_path / "images.csv"
    for folder in ("test", "testannot"):
        (root / folder).mkdir(parents=True)
        try:
            shutil.copy(camvid / folder / "0.png", root / folder / "stra\udcdfe.png")
        except (OSError, UnicodeError):
            pytest.skip("the file system takes no such name")
    words = ("evaluate", "--data", root, "--html", page, "--csv", table)
    assert run(capsys, *words)[0] == 0
    for file in (page, table):
        assert r"stra\udcdfe.png" in file.read_text(encoding="utf-8")


def test_processes_of_torchrun_find_what_one_finds(capsys, camvid, tmp_path):
    pytest.importorskip("torch")

    def words(count):
        page, table = tmp_path / f"{count}.html", tmp_path / f"{count}.csv"
        return ["evaluate", "--data", camvid, "--html", page, "--csv", table, "--json"]

    expected = json.loads(run(capsys, *words(1))[1])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", "2", "-m", "bisenetv2"]
    done = subprocess.run([*torchrun, *words(2)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for content in (expected, found):
        del content["images_per_second"], content["time_shares"]
    error = "expected_calibration_error"
    assert found.pop(error) == pytest.approx(expected.pop(error))
    assert found == expected
    pages = [(tmp_path / f"{count}.html").read_text() for count in (1, 2)]
    assert pages[0].count("<img") == pages[1].count("<img") > 0
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


@pytest.mark.parametrize("protocol", ["full", "sliding", "multiscale", "flip", "multiscale-flip"])
def test_every_protocol_runs_and_is_named(capsys, camvid, protocol):
    code, out, _ = run(capsys, "evaluate", "--data", camvid, "--protocol", protocol, "--json")
    assert code == 0
    assert json.loads(out)["protocol"].startswith(f"{protocol}: ")


def test_a_model_of_other_classes_is_refused_and_reconciled_on_demand(capsys, cityscapes):
    words = ("evaluate", "--data", cityscapes, "--split", "val")
    line = refused(capsys, *words)
    assert "0 Sky | road, 1 Building | sidewalk" in line
    assert "11 - | person" in line
    assert "--map" in line
    assert "no counterpart for Pavement" in refused(capsys, *words, "--map", "by-name")
    pairs = "Pavement=sidewalk Tree=vegetation SignSymbol=nothing Pedestrian=person Bicyclist=rider"
    ignored = ("wall", "traffic light", "traffic sign", "terrain", "truck", "bus", "train")
    more = [f"nothing={name}" for name in (*ignored, "motorcycle", "bicycle")]
    code, out, _ = run(capsys, *words, "--json", "--map", *pairs.split(), *more)
    assert code == 0
    assert json.loads(out)["labelled_pixels"] == 32 * 64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--boundary", "0.9"), "boundary 0.9: give a share of the frame's diagonal"),
        (("--protocol", "full", "--scale", "0.5"), "scale 0.5: the protocol full fixes it"),
        (("--window", "64", "64"), "a window goes with the protocol sliding"),
        (("--map", "car"), "--map car: write MODEL=DATA"),
        (("--submit", "x", "--split", "val"), "val: no such folder"),
    ],
)
def test_mistakes_are_refused_in_one_line(capsys, camvid, words, message):
    assert message in refused(capsys, "evaluate", "--data", camvid, *words)


def test_places_that_cannot_be_written_are_refused_before_the_work(capsys, camvid, tmp_path):
    (tmp_path / "file").touch()
    line = refused(capsys, "evaluate", "--data", camvid, "--html", tmp_path / "file" / "r.html")
    assert "cannot be written" in line
    for option in ("--html", "--csv"):
        line = refused(capsys, "evaluate", "--data", camvid, option, tmp_path)
        assert f"{tmp_path}: is a folder; name the file to write" in line
    assert "is a folder" in refused(
        capsys, "compare", "camvid", "camvid", "--data", camvid, "--html", tmp_path
    )


def test_what_is_read_is_not_written_over(capsys, camvid, tmp_path):
    image = camvid / "test" / "0.png"
    model = tmp_path / "model.onnx"
    model.write_bytes(find_model("camvid").read_bytes())
    before = image.read_bytes(), model.read_bytes()
    for words in (
        ("evaluate", "--data", camvid, "--csv", image),
        ("evaluate", model, "--data", camvid, "--html", model),
        ("compare", model, "camvid", "--data", camvid, "--html", model),
    ):
        assert f"{words[-1]}: is there, among what is read" in refused(capsys, *words)
    assert (image.read_bytes(), model.read_bytes()) == before
    (camvid / "report.html").write_text("of an earlier run")
    words = ("--data", camvid, "--html", camvid / "report.html", "--engine", "onnxruntime")
    assert run(capsys, "evaluate", *words)[0] == 0
    (camvid / "report.html").unlink()
    both = ("--html", tmp_path / "x.html", "--csv", tmp_path / "x.html")
    assert "is given to --html and to --csv" in refused(capsys, "evaluate", "--data", camvid, *both)


def test_a_submission_needs_cityscapes(capsys, camvid, cityscapes, tmp_path):
    out = tmp_path / "out"
    line = refused(capsys, "evaluate", "--data", camvid, "--submit", out)
    assert "leftImg8bit/test: holds no" in line
    write_image(
        cityscapes / "leftImg8bit/test/bonn/bonn_000000_000000_leftImg8bit.png",
        np.zeros((32, 64, 3), np.uint8),
    )
    line = refused(capsys, "evaluate", "--data", cityscapes, "--submit", out)
    assert "not the 19 of Cityscapes test" in line
    assert not out.exists()


def test_two_models_are_compared(capsys, camvid, tmp_path):
    page = tmp_path / "compare.html"
    words = ("compare", "camvid-fp32", "camvid", "--data", camvid)
    code, out, _ = run(capsys, *words, "--html", page)
    assert code == 0
    assert "B: camvid (" in out
    assert "Frames they agree on least" in page.read_text()
    code, out, _ = run(capsys, *words, "--protocol", "resized", "flip", "--json")
    assert code == 0
    content = json.loads(out)
    assert [text.partition(":")[0] for text in content["protocols"]] == ["resized", "flip"]
    assert content["models"] == ["camvid-fp32", "camvid"]
    assert content["engines"][0] == content["engines"][1] != ""
    assert content["version"] == __version__
    assert np.shape(content["confusion"]) == (2, 11, 11)
    assert [seen[0]["network"] for seen in content["seen"]] == [[[160, 192]]] * 2


def test_two_scales_are_compared(capsys, camvid):
    words = ("compare", "camvid", "camvid", "--data", camvid, "--json")
    for scales, networks in (
        (("1", "1.5"), [[96, 128], [160, 192]]),
        (("0.5",), [[64, 64], [64, 64]]),
    ):
        code, out, _ = run(capsys, *words, "--scale", *scales)
        assert code == 0
        content = json.loads(out)
        assert [seen[0]["network"] for seen in content["seen"]] == [[size] for size in networks]
        assert len(set(content["protocols"])) == len(scales)


def test_a_comparison_is_not_shared_out(capsys, camvid, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    line = refused(capsys, "compare", "camvid", "camvid", "--data", camvid)
    assert "compare runs in one process" in line


def test_a_comparison_of_three_is_refused(capsys, camvid):
    words = ("compare", "camvid", "camvid", "--data", camvid)
    for option, *values in (("--engine", "auto", "openvino", "auto"), ("--scale", "1", "1", "2")):
        line = refused(capsys, *words, option, *values)
        assert f"{option}: give one for both models or one for each" in line
    assert "no.onnx" in refused(capsys, "compare", "camvid", "no.onnx", "--data", camvid)
