"""`bisenetv2 predict` on moving pictures, as a user types it."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bisenetv2.cli import main
from bisenetv2.commands.signals import stop_on_signal
from bisenetv2.images import read_mask, write_image
from bisenetv2.inference.video.pipeline import Tally
from bisenetv2.inference.video.sources import open_source
from clips import Files, break_sound, picture, read_clip, red_segmenter, write_clip

av = pytest.importorskip("av")


@pytest.fixture(autouse=True)
def fast_segmenter(monkeypatch):
    monkeypatch.setattr("bisenetv2.commands.predict.Segmenter", lambda *_, **__: red_segmenter())


def run(capsys, *words):
    """Runs `predict`; returns exit code, stdout and stderr."""
    code = main(["predict", *map(str, words)])
    return code, *capsys.readouterr()


def refused(capsys, *words):
    """Runs what must be refused; returns its one line."""
    code, _, err = run(capsys, *words)
    assert code == 2
    assert len(err.strip().splitlines()) == 1, err
    return err


def test_a_file_url_is_a_path(capsys, tmp_path):
    for number in range(2):
        write_image(tmp_path / "in" / f"{number}.png", picture(0))
    code, out, _ = run(capsys, f"file://{tmp_path}/in/0.png", "-o", tmp_path / "out")
    assert code == 0
    assert (tmp_path / "out" / "0_mask.png").exists()
    code, out, _ = run(capsys, f"FILE://{tmp_path}/in/%d.png", "-o", tmp_path / "out.mp4")
    assert (code, "2 frames" in out) == (0, True)


def test_a_video_gives_an_overlay(capsys, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 8, rate=Fraction(30000, 1001), sound=["aac"])
    code, out, err = run(capsys, clip, "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "8 frames" in out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip_overlay.mp4"]
    assert read_clip(tmp_path / "out" / "clip_overlay.mp4")[1] == read_clip(clip)[1]
    with av.open(str(tmp_path / "out" / "clip_overlay.mp4")) as container:
        assert len(container.streams.audio) == 1


def test_a_video_gives_one_json_object(capsys, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 3)
    code, out, _ = run(capsys, clip, "--json", "-o", tmp_path / "out")
    assert code == 0
    found = json.loads(out)
    assert found.pop("frames_per_second") > 0
    assert found == {
        "source": str(clip),
        "outputs": [str(tmp_path / "out/clip_overlay.mp4")],
        "frames": 3,
        "dropped": 0,
        "interrupted": False,
        "damage": [],
    }


@pytest.mark.parametrize("masks", ["png", "ffv1"])
def test_masks_come_with_or_without_the_overlay(capsys, tmp_path, masks):
    clip = write_clip(tmp_path / "clip.mkv", 3)
    code, _, _ = run(capsys, clip, "-o", tmp_path / "both", "--masks", masks)
    assert code == 0
    code, _, _ = run(capsys, clip, "-o", tmp_path / "masks", "--masks", masks, "--no-overlay")
    assert code == 0
    name = "clip_masks" if masks == "png" else "clip_masks.mkv"
    assert {p.name for p in (tmp_path / "both").iterdir()} == {"clip_overlay.mkv", name}
    assert {p.name for p in (tmp_path / "masks").iterdir()} == {name}
    if masks == "png":
        frames, _ = read_clip(clip)
        mask = read_mask(tmp_path / "masks" / name / "000002.png")
        assert np.array_equal(mask, red_segmenter()(frames[2]))


def test_output_may_name_the_video(capsys, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 3)
    code, _, _ = run(capsys, clip, "-o", tmp_path / "made.mkv", "--masks", "ffv1")
    assert code == 0
    assert (tmp_path / "made.mkv").exists()
    assert (tmp_path / "made_masks.mkv").exists()


def test_names_may_hold_dots_and_look_like_masks(capsys, tmp_path):
    clip = write_clip(tmp_path / "a.mp4.v2.mp4", 2)
    code, _, _ = run(capsys, clip, "-o", tmp_path / "out", "--masks", "png")
    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.mp4.v2_overlay.mp4",
        "a.mp4.v2_masks",
    }
    code, _, _ = run(capsys, clip, "-o", tmp_path / "my_masks.mkv")
    assert code == 0
    frames, _ = read_clip(tmp_path / "my_masks.mkv")
    assert frames[0][..., 0].max() > 100  # an overlay, no mask


def test_folders_may_hold_images_and_videos(capsys, tmp_path):
    write_clip(tmp_path / "in" / "a.mp4", 3)
    write_image(tmp_path / "in" / "a.png", picture(0))
    write_image(tmp_path / "in" / "b.png", picture(0))
    code, out, _ = run(capsys, tmp_path / "in", "-o", tmp_path / "out")
    assert code == 0
    assert "2 of 2" in out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"a_mp4_overlay.mp4", "a_png_mask.png", "b_mask.png"} <= names


@pytest.mark.parametrize("source", ["in", "in/*.png", "in/%d.png", ""])
def test_images_become_one_video_in_the_order_of_their_numbers(capsys, tmp_path, source):
    files = [tmp_path / "in" / f"{number}.png" for number in (8, 9, 10, 11)]
    for number, file in enumerate(files):
        write_image(file, picture(12 * number))
    given = [tmp_path / source] if source else sorted(files)  # as a shell hands a pattern over
    code, _, _ = run(capsys, *given, "--fps", "8", "-o", tmp_path / "out.mp4")
    assert code == 0
    frames, times = read_clip(tmp_path / "out.mp4")
    assert times == pytest.approx([0, 0.125, 0.25, 0.375])
    levels = [int(frame[80, 100, 1]) for frame in frames]
    assert levels == sorted(levels) and levels[3] - levels[0] > 20


@pytest.mark.parametrize(("count", "said"), [(1, "0.png: 1 frame,"), (2, "0.png to 1.png: 2 fr")])
def test_a_video_of_images_is_called_by_them(capsys, tmp_path, monkeypatch, count, said):
    monkeypatch.chdir(tmp_path)
    for number in range(count):
        write_image(Path(f"{number}.png"), picture(number))
    code, out, _ = run(capsys, ".", "-o", "out.mp4")
    assert (code, out.startswith(said)) == (0, True), out


def test_numbered_images_are_a_video_in_a_folder_too(capsys, tmp_path):
    for number in range(2):
        write_image(tmp_path / "in" / f"{number:02d}.png", picture(number))
    code, _, _ = run(capsys, tmp_path / "in" / "%02d.png", "-o", tmp_path / "out")
    assert code == 0
    assert (tmp_path / "out" / "in_overlay.mp4").exists()


def test_sound_that_mp4_cannot_hold_goes_to_another_container(capsys, tmp_path):
    clip = write_clip(tmp_path / "clip.avi", 10, sound=["pcm_u8"])
    code, out, _ = run(capsys, clip, "-o", tmp_path / "out")
    assert code == 0
    assert ".mp4 cannot hold its sound; writing .mkv" in out
    with av.open(str(tmp_path / "out" / "clip_overlay.mkv")) as container:
        assert len(container.streams.audio) == 1


def test_damaged_sound_is_exit_code_1(capsys, tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", 60, sound=["eac3"])
    break_sound(clip)
    code, out, err = run(capsys, clip, "-o", tmp_path / "out.mp4")
    assert code == 1
    assert re.search(rf"{clip}: 1 of \d+ sound packets damaged", err)
    assert "60 frames" in out
    assert len(read_clip(tmp_path / "out.mp4")[0]) == 60


def test_a_damaged_file_is_exit_code_1(capsys, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 60, options={"movflags": "faststart"})
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.7)])
    code, out, err = run(capsys, clip, "-o", tmp_path / "out")
    assert code == 1
    assert f"{clip}: truncated" in err
    assert "frames" in out
    assert len(read_clip(tmp_path / "out" / "clip_overlay.mp4")[0]) > 20


def test_one_bad_video_does_not_keep_the_others_from_being_done(capsys, tmp_path):
    good = write_clip(tmp_path / "good.mp4", 3)
    (tmp_path / "bad.mp4").write_text("nothing")
    code, _, err = run(capsys, tmp_path / "bad.mp4", good, "-o", tmp_path / "out")
    assert code == 1
    assert "bad.mp4" in err
    assert (tmp_path / "out" / "good_overlay.mp4").exists()


def test_it_stops_after_so_many_seconds(capsys, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 30, rate=10)
    code, out, _ = run(capsys, clip, "--seconds", "0.5", "-o", tmp_path / "out")
    assert code == 0
    assert "5 frames" in out


class TestBadInput:
    def test_missing_file(self, capsys, tmp_path):
        assert "nowhere.mp4" in refused(capsys, tmp_path / "nowhere.mp4")

    @pytest.mark.parametrize("content", [b"", b"no video"])
    def test_unreadable_file(self, capsys, tmp_path, content):
        (tmp_path / "clip.mp4").write_bytes(content)
        assert "clip.mp4" in refused(capsys, tmp_path / "clip.mp4", "-o", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_the_source_is_never_overwritten(self, capsys, tmp_path):
        clip = write_clip(tmp_path / "clip.mp4", 3)
        content = clip.read_bytes()
        assert "is a source" in refused(capsys, clip, "-o", clip)
        assert clip.read_bytes() == content

    def test_no_source_is_overwritten_by_another_s_overlay(self, capsys, tmp_path):
        for name in ("a.mp4", "a_overlay.mp4"):
            write_clip(tmp_path / name, 3)
        content = (tmp_path / "a_overlay.mp4").read_bytes()
        assert "a_overlay.mp4: is a source" in refused(capsys, tmp_path, "-o", tmp_path)
        assert (tmp_path / "a_overlay.mp4").read_bytes() == content

    @pytest.mark.parametrize("name", ["out.avi", "mask.png", "out.JPG"])
    def test_an_output_of_another_kind(self, capsys, tmp_path, name):
        clip = write_clip(tmp_path / "clip.mp4", 2)
        line = refused(capsys, clip, "-o", tmp_path / name)
        assert f"{name}: name a folder, or a video that ends in .mp4, .mkv, .mov" in line
        assert not (tmp_path / name).exists()

    def test_numbered_images_are_not_overwritten_by_their_masks(self, capsys, tmp_path):
        for n in range(2):
            write_image(tmp_path / "out_masks" / f"{n:06d}.png", picture(n))
        words = (tmp_path / "out_masks" / "%06d.png", "-o", tmp_path / "out.mp4")
        assert "out_masks: is a source, or the folder" in refused(capsys, *words, "--masks", "png")
        assert len(list((tmp_path / "out_masks").iterdir())) == 2
        assert run(capsys, *words)[0] == 0  # what is not written overwrites nothing

    def test_images_of_many_folders_are_not_overwritten_by_their_masks(self, capsys, tmp_path):
        images = [tmp_path / "a" / "000000.png", tmp_path / "out_masks" / "000001.png"]
        for image in images:
            write_image(image, picture(0))
        words = (*images, "-o", tmp_path / "out.mp4", "--masks", "png")
        assert "is a source" in refused(capsys, *words)
        assert all(image.exists() for image in images)

    def test_a_source_named_as_a_url_is_not_overwritten(self, capsys, tmp_path):
        clip = write_clip(tmp_path / "clip.mp4", 3)
        content = clip.read_bytes()
        assert "is a source" in refused(capsys, f"file://{clip}", "-o", clip)
        assert clip.read_bytes() == content

    @pytest.mark.parametrize("name", ["snap.jpg", "snap.png"])
    def test_an_image_behind_a_url_is_no_video(self, capsys, tmp_path, name):
        write_image(tmp_path / "in" / name, picture(0))
        handler = partial(Files, directory=tmp_path / "in")
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://me:secret@127.0.0.1:{server.server_port}/{name}"
            line = refused(capsys, url, "-o", tmp_path / "out")
            server.shutdown()
        assert f"/{name}: is an image, no video; download it first (curl -O)" in line
        assert "secret" not in line
        assert not (tmp_path / "out").exists()

    def test_a_source_of_another_name_is_not_overwritten(self, capsys, tmp_path):
        clip = write_clip(tmp_path / "clip.mp4", 3)
        (tmp_path / "link.mp4").hardlink_to(clip)
        assert "is a source" in refused(capsys, clip, "-o", tmp_path / "link.mp4")

    @pytest.mark.parametrize("output", ["d.mp4", "."])
    def test_a_folder_in_the_way_is_noticed_before_the_work(
        self, capsys, tmp_path, monkeypatch, output
    ):
        write_clip(tmp_path / "seq.mp4", 2)
        for name in ("d.mp4", "seq_overlay.mp4"):
            (tmp_path / name).mkdir()
        monkeypatch.setattr("bisenetv2.commands.predict_video.convert", None)
        line = refused(capsys, tmp_path / "seq.mp4", "-o", tmp_path / output)
        assert "mp4: is a folder" in line

    def test_names_that_look_like_addresses_are_files(self, capsys, tmp_path, monkeypatch):
        write_clip(tmp_path / "12:30.mp4", 3)
        monkeypatch.chdir(tmp_path)
        assert run(capsys, "12:30.mp4", "-o", "out")[0] == 0

    @pytest.mark.parametrize("words", [(), ("",), ("-o", "out.mp4")])
    def test_no_source(self, capsys, words):
        assert "no source" in refused(capsys, *words)

    def test_a_camera_of_a_number_that_none_has(self, capsys):
        assert "camera:99999999999: gives no picture" in refused(capsys, "camera:99999999999")

    def test_several_sources_in_one_video(self, capsys, tmp_path):
        clips = [write_clip(tmp_path / name, 2) for name in ("a.mp4", "b.mp4")]
        assert "one video" in refused(capsys, *clips, "-o", tmp_path / "out.mp4")

    def test_nothing_to_write(self, capsys, tmp_path):
        clip = write_clip(tmp_path / "clip.mp4", 2)
        assert "--masks" in refused(capsys, clip, "--no-overlay")

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--seconds", "0"),
            ("--seconds", "inf"),
            ("--fps", "0"),
            ("--crf", "99"),
            ("--alpha", "-1"),
        ],
    )
    def test_values_out_of_range(self, capsys, tmp_path, option, value):
        clip = write_clip(tmp_path / "clip.mp4", 2)
        line = refused(capsys, clip, f"{option}={value}", "-o", tmp_path / "out")
        assert option.strip("-") in line
        assert value in line

    def test_no_such_numbered_images(self, capsys, tmp_path):
        assert "f0001.png" in refused(capsys, tmp_path / "f%04d.png")

    def test_numbers_beyond_all_measure(self, capsys, tmp_path):
        assert "no such file" in refused(capsys, tmp_path / "x%5000000000d.png")
        assert "too long" in refused(capsys, f"camera:{'9' * 5000}")

    def test_pyav_missing(self, capsys, tmp_path, monkeypatch):
        clip = write_clip(tmp_path / "clip.mp4", 2)
        monkeypatch.setitem(sys.modules, "av", None)
        for name in ("containers", "planes", "writers"):
            monkeypatch.delitem(sys.modules, f"bisenetv2.inference.video.{name}", raising=False)
        assert "pip install 'bisenetv2[video]'" in refused(capsys, clip, "-o", tmp_path / "out")


def test_the_package_needs_pyav_only_to_open_a_video():
    code = (
        "import sys; sys.modules['av'] = None;"
        "import bisenetv2.inference.video.pipeline, bisenetv2.commands.predict_video;"
        "from bisenetv2 import segment_video"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop_and_a_second_one_is_no_longer_caught(number):
    before = signal.getsignal(number)
    with stop_on_signal() as stop:
        assert not stop.is_set()
        signal.getsignal(number)(number, None)
        assert stop.is_set()
        assert signal.getsignal(number) is before
    with stop_on_signal():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
class TestHangUp:
    @pytest.fixture(autouse=True)
    def caught_by_none(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        yield
        signal.signal(signal.SIGHUP, before)

    @pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGTERM])
    def test_it_asks_to_stop_however_often_it_comes(self, first):
        with stop_on_signal() as stop:
            signal.getsignal(first)(first, None)
            assert stop.is_set()
            signal.getsignal(signal.SIGHUP)(signal.SIGHUP, None)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL

    def test_nohup_is_respected(self):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with stop_on_signal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def test_a_terminal_that_goes_away_leaves_a_playable_file(self, tmp_path, network_camera):
        terminal, end = os.openpty()
        code = (
            "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            "from bisenetv2.cli import main; sys.exit(main(sys.argv[1:]))"
        )
        address = f"http://127.0.0.1:{network_camera.server_address[1]}/street"
        process = subprocess.Popen(
            [sys.executable, "-c", code, "predict", address, "-o", str(tmp_path)],
            stdin=end, stdout=end, stderr=end, start_new_session=True,
        )  # fmt: skip
        os.close(end)
        shown = b""
        while b"connected again" not in shown:  # long after the first frame
            shown += os.read(terminal, 4096)
        os.close(terminal)
        process.wait(60)
        (path,) = tmp_path.iterdir()
        assert len(read_clip(path)[0]) > 1


def signalled(number, begun, *words):
    """Runs `predict` in a process of its own and signals it a second after `begun()` is true."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bisenetv2", "predict", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not begun() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_live_source_is_ended_by_a_signal(tmp_path, network_camera, number):
    address = f"127.0.0.1:{network_camera.server_address[1]}/street"
    code, out, err = signalled(
        number,
        lambda: list(tmp_path.glob(".*.mp4")) and network_camera.visits > 1,
        f"http://someone:secret@{address}", "-o", tmp_path,
    )  # fmt: skip
    assert code == 0, err
    assert "dropped" in out
    assert "secret" not in out + err
    (path,) = tmp_path.iterdir()
    assert path.name == f"127_0_0_1_{network_camera.server_address[1]}_street_overlay.mp4"
    frames, times = read_clip(path)
    assert len(frames) > 1
    assert (np.diff(times) > 0).all()


def test_a_camera_that_is_lost_ends_in_time_and_is_kept(capsys, tmp_path, network_camera):
    network_camera.most_visits = 1
    address = f"http://127.0.0.1:{network_camera.server_address[1]}/street"
    code, out, err = run(capsys, address, "--seconds", "2", "-o", tmp_path)
    assert code == 1
    assert f"{address}: the connection was lost (" in err
    (path,) = tmp_path.iterdir()
    assert f" {len(read_clip(path)[0])} frames" in out


def test_no_recording_replaces_an_earlier_one(capsys, tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", 3)

    def camera(*_, **__):
        opened = open_source(clip)
        opened.live = True
        return opened

    monkeypatch.setattr("bisenetv2.commands.predict_video.open_source", camera)
    folder = tmp_path / "out"
    (folder / "camera_0_3_masks").mkdir(parents=True)
    for number in ("", "_2", "_4"):
        code, out, _ = run(capsys, "camera:0", "--masks", "png", "-o", folder)
        assert code == 0
        masks = folder / f"camera_0{number}_masks"
        assert out.endswith(f"camera_0{number}_overlay.mp4, {masks}\n")
    assert len(list(folder.glob("*.mp4"))) == 3
    for _ in range(2):  # whoever names a file wants that file
        assert run(capsys, "camera:0", "-o", folder / "named.mp4")[0] == 0
    assert len(list(folder.glob("*.mp4"))) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_before_the_first_frame_leaves_nothing(
    capsys, tmp_path, monkeypatch, number
):
    clip = write_clip(tmp_path / "clip.mp4", 2)

    def interrupted(*_, stop, **__):
        stop.number = number
        stop.set()
        return Tally()

    monkeypatch.setattr("bisenetv2.commands.predict_video.convert", interrupted)
    code, _, err = run(capsys, clip, "-o", tmp_path / "out")
    assert code == 128 + number
    assert "interrupted" in err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_polite_kill_leave_a_playable_file(tmp_path, number):
    clip = write_clip(tmp_path / "clip.mp4", 3000, sound=["aac"])
    code, out, err = signalled(
        number,
        lambda: list(tmp_path.glob("out/.*.mkv")),
        clip, "-o", tmp_path / "out", "--masks", "ffv1",
    )  # fmt: skip
    assert code == 128 + number, err
    assert "interrupted after" in out
    frames, _ = read_clip(tmp_path / "out" / "clip_overlay.mp4")
    masks, _ = read_clip(tmp_path / "out" / "clip_masks.mkv")
    assert 0 < len(frames) == len(masks) < 3000
    assert f"{len(frames)} frames" in out
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_the_benchmark_script_prints_both_rates():
    script = Path(__file__).parents[1] / "benchmarks" / "video.py"
    words = ["--size", "64", "96", "--frames", "3", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, script, *words], check=True, capture_output=True, text=True
    )
    assert "| `segmenter(frame)` |" in done.stdout
    assert "| H.264 in and out |" in done.stdout
    assert "Ratio: " in done.stdout
