"""The command as a user types it: what it writes, prints and refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from bisenetv2 import __version__
from bisenetv2.cli import HELP, VERBS, main
from bisenetv2.data.streets import render_street
from bisenetv2.images import read_image, read_mask, write_image, write_mask
from bisenetv2.inference.model_file import find_model, read_card
from bisenetv2.labels import CAMVID


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
    code, _, err = run(capsys, *words)
    assert code == 2
    assert len(err.strip().splitlines()) == 1, err
    assert "Traceback" not in err
    return err


@pytest.fixture
def camvid(tmp_path):
    """A folder laid out as CamVid's, three rendered streets a split."""
    root = tmp_path / "camvid"
    for number, split in enumerate(("train", "val", "test")):
        for index in range(3):
            image, mask = render_street(number, index, (96, 128))
            mask[mask == 255] = 11
            write_image(root / split / f"{index}.png", image)
            write_mask(root / f"{split}annot" / f"{index}.png", mask)
    return root


def test_lack_of_memory_is_one_line(capsys, monkeypatch):
    def fail(*_):
        raise MemoryError("for a network on 96×64 pixels; try a smaller --scale")

    monkeypatch.setattr("bisenetv2.inference.segmenter.Segmenter.__call__", fail)
    assert "there is not enough memory for a network on 96×64 pixels" in refused(capsys, "demo")


@pytest.mark.parametrize("words", [["predict"], ["check"], ["evaluate", "--data"]])
def test_a_path_that_cannot_be_looked_at_is_one_line(capsys, words):
    assert "File name too long" in refused(capsys, *words, "x" * 300)


def test_help_shows_a_runnable_line_for_every_verb(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert out == HELP
    for verb in VERBS:
        assert f"bisenetv2 {verb}" in out


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_begins_with_runnable_lines(capsys, verb):
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    assert out.lstrip().startswith(f"bisenetv2 {verb}")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from bisenetv2.cli import main; main(['--help']);"
        "heavy = {'torch', 'numpy', 'cv2', 'openvino', 'tyro', 'rich'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_python_m_runs_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "bisenetv2", "--version"], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == __version__


def test_unknown_verb_suggests_the_nearest(capsys):
    assert "did you mean predict?" in refused(capsys, "predictt", "x.png")


def test_predict_writes_mask_colours_and_overlay(capsys, tmp_path):
    image = render_street(1, 2, (75, 101)).image
    write_image(tmp_path / "street.png", image)
    code, out, _ = run(capsys, "predict", tmp_path / "street.png", "-o", tmp_path / "out")
    assert code == 0
    assert "%" in out
    mask = read_mask(tmp_path / "out" / "street_mask.png")
    assert mask.shape == (75, 101)
    assert mask.max() < len(CAMVID)
    colours = read_image(tmp_path / "out" / "street_color.png")
    assert np.array_equal(colours, CAMVID.colorize(mask))
    overlay = read_image(tmp_path / "out" / "street_overlay.png")
    assert overlay.shape[1] == 101


def test_predict_takes_folders_and_globs(capsys, tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "in" / name, render_street(1, 2, (33, 40)).image)
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    for source in (tmp_path / "in", tmp_path / "in" / "*.png"):
        code, out, _ = run(capsys, "predict", source, "-o", tmp_path / "out")
        assert code == 0
        assert "2 of 2" in out


def test_predict_finds_what_lies_below_by_two_stars_and_passes_over_the_rest(capsys, tmp_path):
    image = render_street(1, 2, (33, 40)).image
    for name in ("in/a.png", "in/a_mask.png", "in/.b.png", "in/below/deep/c.png"):
        write_image(tmp_path / name, image)
    (tmp_path / "in/._a.png").write_bytes(b"macOS")
    code, out, err = run(capsys, "predict", tmp_path / "in", "-o", tmp_path / "out")
    assert (code, "1 of 1" in out) == (0, True)
    assert "a_mask.png: passed over" in err
    code, out, _ = run(capsys, "predict", tmp_path / "in/**/*.png", "-o", tmp_path / "out")
    assert (code, "2 of 2" in out) == (0, True)
    assert "folders below is meant by" in refused(capsys, "predict", tmp_path / "in/below")


def test_predict_writes_no_overlay_of_images_where_none_is_wanted(capsys, tmp_path):
    write_image(tmp_path / "a.png", render_street(1, 2, (33, 40)).image)
    words = "predict", tmp_path / "a.png", "--no-overlay", "-o", tmp_path / "out"
    assert run(capsys, *words)[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_mask.png", "a_color.png"}


def test_predict_prints_one_json_object_a_source(capsys, tmp_path):
    for name in "ab":
        write_image(tmp_path / f"in/{name}.png", render_street(1, 2, (33, 40)).image)
    words = "predict", tmp_path / "in", "--json", "--no-overlay", "-o", tmp_path / "out"
    code, out, _ = run(capsys, *words)
    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert (first["source"], second["source"]) == tuple(str(tmp_path / f"in/{n}.png") for n in "ab")
    assert first["outputs"] == [str(tmp_path / f"out/a_{kind}.png") for kind in ("mask", "color")]
    assert sum(first["shares"].values()) == pytest.approx(1)


def test_predict_refuses_what_means_nothing_for_images(capsys, tmp_path):
    write_image(tmp_path / "a.png", render_street(1, 2, (33, 40)).image)
    words = "predict", tmp_path / "a.png", "--fps", 3, "--masks", "png", "-o", tmp_path / "out"
    assert "--masks, --fps: for videos" in refused(capsys, *words)
    assert "--seconds: for videos" in refused(capsys, *words[:2], "--seconds", 0)


def test_predict_tells_of_images_whose_upper_bits_are_empty(capsys, tmp_path):
    twelve_bits = render_street(1, 2, (33, 40)).image.astype(np.uint16) << 4
    cv2.imwrite(str(tmp_path / "a.png"), twelve_bits)
    code, _, err = run(capsys, "predict", tmp_path / "a.png", "-o", tmp_path / "out")
    assert code == 0
    assert "a.png: almost black, at most" in err


def test_predict_stops_where_pictures_cannot_be_written(capsys, tmp_path):
    for name in "abcdef":
        write_image(tmp_path / f"in/{name}.png", render_street(1, 2, (33, 40)).image)
    (tmp_path / "out/c_mask.png").mkdir(parents=True)
    assert "c_mask.png" in refused(capsys, "predict", tmp_path / "in", "-o", tmp_path / "out")


def test_what_an_old_encoding_lacks_does_not_stop_a_command(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}  # as on Windows, into a file
    command = [sys.executable, "-m", "bisenetv2", "benchmark", "--help"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "2048×1024 ?".encode("cp1252") in done.stdout  # the arrow is not in it


def test_predict_keeps_pictures_of_equal_stems_apart(capsys, tmp_path):
    image = render_street(1, 2, (33, 40)).image
    for name in ("in/a.png", "in/a.jpg", "other/a.png"):
        write_image(tmp_path / name, image)
    sources = tmp_path / "in", tmp_path / "other"
    code, _, _ = run(capsys, "predict", *sources, "-o", tmp_path / "out")
    assert code == 0
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == 3


def test_predict_names_unreadable_files_and_does_the_rest(capsys, tmp_path):
    write_image(tmp_path / "good.png", render_street(1, 2, (33, 40)).image)
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    code, out, err = run(capsys, "predict", tmp_path, "-o", tmp_path / "out")
    assert code == 1
    assert "bad.png" in err
    assert "1 of 2" in out
    assert (tmp_path / "out" / "good_mask.png").exists()
    assert not list((tmp_path / "out").glob("bad*"))


def test_predict_overwrites_no_source(capsys, tmp_path):
    for name in ("a.png", "a_mask.png"):
        write_image(tmp_path / name, np.zeros((32, 32, 3), np.uint8))
    before = (tmp_path / "a_mask.png").read_bytes()
    code, out, err = run(capsys, "predict", str(tmp_path), "-o", str(tmp_path))
    assert (code, out) == (2, "") and "a_mask.png: is a source, or the folder of one; choose" in err
    assert (tmp_path / "a_mask.png").read_bytes() == before


def test_predict_fails_where_no_file_is_readable(capsys, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    code, _, err = run(capsys, "predict", tmp_path / "bad.png", "-o", tmp_path / "out")
    assert code == 2
    assert "bad.png" in err


@pytest.mark.parametrize("source", ["missing.png", "empty", "none*.png", os.devnull])
def test_predict_refuses_sources_without_images(capsys, tmp_path, source):
    (tmp_path / "empty").mkdir()
    assert source in refused(capsys, "predict", tmp_path / source)


def test_predict_says_how_models_and_cameras_are_named(capsys, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    assert "give it by -m" in refused(capsys, "predict", tmp_path / "model.onnx")
    for source in ("0", "camera1"):
        assert "a camera is camera:0" in refused(capsys, "predict", source)


def test_info_tells_what_a_model_says_of_itself(capsys):
    code, out, _ = run(capsys, "info")
    card = read_card(find_model())
    assert code == 0
    assert f"11: {', '.join(CAMVID.names)}" in out
    assert "of 480×360 in training, seen at 736×544" in out and card.merit in out
    assert "origin:" not in out
    code, out, _ = run(capsys, "info", "camvid-fp32", "--json")
    assert json.loads(out)["labels"]["names"] == list(CAMVID.names)
    assert json.loads(out)["file"] == str(find_model("camvid-fp32"))
    assert "no such file" in refused(capsys, "info", "camvit")


def test_memorising_a_few_samples_needs_no_split_to_validate_on(capsys, camvid):
    pytest.importorskip("torch")
    shutil.rmtree(camvid / "val")
    shutil.rmtree(camvid / "valannot")
    words = ("train", "camvid", "--data", camvid, "--run", camvid.parent / "run", "--iterations", 1)
    small = ("--crop", 32, 32, "--batch", 2, "--progressive-share", 0, "--streets-share", 0)
    assert "val" in refused(capsys, *words, *small)
    assert run(capsys, *words, *small, "--overfit", 2, "--val-every", 9)[0] == 0


def test_evaluate_prints_a_row_a_class(capsys, camvid):
    code, out, _ = run(capsys, "evaluate", "--data", camvid)
    assert code == 0
    for name in CAMVID.names:
        assert name in out


def test_evaluate_prints_one_json_object(capsys, camvid):
    code, out, _ = run(capsys, "evaluate", "--data", camvid, "--split", "val", "--json")
    assert code == 0
    scores = json.loads(out)
    assert 0 <= scores["miou"] <= 1
    assert 0 <= scores["pixel_accuracy"] <= 1
    assert set(scores["per_class"]) == set(CAMVID.names)
    assert scores["images"] == 3


def test_evaluate_runs_on_rendered_streets_without_data(capsys, monkeypatch):
    monkeypatch.setattr("bisenetv2.data.catalogue._STREET_SPLITS", {"test": (2, 3)})
    code, out, _ = run(capsys, "evaluate", "--data", "streets", "--json")
    assert code == 0
    assert json.loads(out)["images"] == 2


def test_demo_scores_no_model_of_other_classes(capsys, tmp_path):
    onnx = pytest.importorskip("onnx")
    from bisenetv2.export.onnx_file import write_card

    labels = replace(CAMVID, names=CAMVID.names[::-1])
    card = replace(read_card(find_model("camvid-fp32")), labels=labels)
    model = onnx.load(find_model("camvid-fp32"))
    write_card(model, card)
    onnx.save(model, tmp_path / "other.onnx")
    words = ("demo", "-m", tmp_path / "other.onnx", "--size", "64", "128", "-o", tmp_path)
    code, out, _ = run(capsys, *words)
    assert code == 0 and "% IoU" not in out and "the model has others" in out


def test_demo_writes_pictures_and_prints_times_and_scores(capsys, tmp_path):
    code, out, _ = run(capsys, "demo", "--size", "64", "128", "-o", tmp_path)
    assert code == 0
    for word in ("resize", "network", "upsample-argmax", "Road", "mean"):
        assert word in out
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"street_0.png", "street_0_mask.png", "street_0_overlay.png"}
    assert all(str(tmp_path / name) in out for name in names)


class TestBadInput:
    """One line with path, value and remedy, exit code 2, nothing half-written."""

    def test_missing_data_folder(self, capsys, tmp_path):
        assert "nowhere" in refused(capsys, "evaluate", "--data", tmp_path / "nowhere")

    def test_empty_data_folder(self, capsys, tmp_path):
        assert "no images with masks in it" in refused(capsys, "evaluate", "--data", tmp_path)

    def test_unknown_split(self, capsys, camvid):
        line = refused(capsys, "evaluate", "--data", camvid, "--split", "tset")
        assert "tset" in line
        assert "trainval" in line

    def test_image_without_mask(self, capsys, camvid):
        (camvid / "testannot" / "1.png").unlink()
        assert "test/1.png: this image has no mask" in refused(capsys, "evaluate", "--data", camvid)

    def test_size_mismatch(self, capsys, camvid):
        write_mask(camvid / "testannot" / "1.png", np.zeros((5, 7), np.uint8))
        line = refused(capsys, "evaluate", "--data", camvid)
        assert "7×5" in line
        assert "128×96" in line

    def test_label_out_of_range(self, capsys, camvid):
        write_mask(camvid / "testannot" / "1.png", np.full((96, 128), 77, np.uint8))
        line = refused(capsys, "evaluate", "--data", camvid)
        assert "label 77" in line
        assert "1.png" in line

    def test_truncated_image(self, capsys, camvid):
        path = camvid / "test" / "1.png"
        path.write_bytes(path.read_bytes()[:300])
        assert str(path) in refused(capsys, "evaluate", "--data", camvid)

    def test_missing_model(self, capsys, camvid):
        assert "no.onnx" in refused(capsys, "evaluate", "no.onnx", "--data", camvid)

    def test_damaged_model(self, capsys, camvid, tmp_path):
        path = tmp_path / "damaged.onnx"
        path.write_bytes(find_model("camvid-fp32").read_bytes()[:100_000])
        assert str(path) in refused(capsys, "evaluate", path, "--data", camvid)

    def test_file_that_is_no_model(self, capsys, camvid, tmp_path):
        path = tmp_path / "model.txt"
        path.write_text("hello")
        assert str(path) in refused(capsys, "evaluate", path, "--data", camvid)

    def test_damaged_checkpoint(self, capsys, tmp_path):
        pytest.importorskip("torch")
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
        output = tmp_path / "model.onnx"
        assert str(path) in refused(capsys, "export", path, "-o", output)
        assert not output.exists()

    def test_alpha_out_of_range(self, capsys, tmp_path):
        write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
        assert "alpha 2" in refused(capsys, "predict", tmp_path / "a.png", "--alpha", "2")

    def test_unknown_recipe(self, capsys):
        assert "camvid-paper" in refused(capsys, "train", "camvidd")

    def test_training_without_data(self, capsys, tmp_path):
        pytest.importorskip("torch")
        assert "--data" in refused(capsys, "train", "camvid", "--run", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_unknown_rare_class(self, capsys, camvid, tmp_path):
        pytest.importorskip("torch")
        line = refused(
            capsys, "train", "camvid", "--data", camvid, "--run", tmp_path / "run",
            "--rare-classes", "Unicorn", "--iterations", "1", "--no-check",
        )  # fmt: skip
        assert "Unicorn" in line

    def test_missing_package_names_its_extra(self, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        for name in [name for name in sys.modules if name.startswith("bisenetv2.training.loop")]:
            monkeypatch.delitem(sys.modules, name)
        line = refused(capsys, "train", "streets")
        assert "pip install 'bisenetv2[train]'" in line

    def test_debug_shows_the_traceback(self, camvid):
        with pytest.raises(Exception, match="tset"):
            main(["evaluate", "--data", str(camvid), "--split", "tset", "--debug"])
