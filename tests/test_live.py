"""Live sources: what is late is dropped and counted, what breaks is opened again."""

from __future__ import annotations

import http.server
import socketserver
import threading
import time
from fractions import Fraction
from functools import partial
from itertools import count, islice, pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from bisenetv2.errors import UserError
from bisenetv2.inference.video import sources
from bisenetv2.inference.video.frames import Frame, Sound, Source
from bisenetv2.inference.video.live import LiveSource
from bisenetv2.inference.video.pipeline import (
    FRAMES_AHEAD,
    FRAMES_BEHIND,
    ReadAhead,
    WriteBehind,
    convert,
    segment_video,
)
from bisenetv2.inference.video.sources import (
    Camera,
    open_source,
    short_name,
    without_file_scheme,
    without_secrets,
)
from clips import LABELS, Files, picture, read_clip, red_segmenter, write_clip

TICK = Fraction(1, 1000)


class Connection(Source):
    """A live connection of a few frames, as fast as they are taken."""

    live = True
    rate = Fraction(25)
    time_base = TICK

    def __init__(self, frames=5, start=0, pause=0.0, why="", time_base=TICK, true_rate=25):
        super().__init__("fake")
        self.time_base = time_base
        if why:
            self.damage.append(why)
        self.pause, self.closed = pause, False
        step, duration = (int(1 / rate / time_base) for rate in (Fraction(true_rate), self.rate))
        self.frames = [
            Frame(picture(n), start + step * n, duration, time_base, time.perf_counter())
            for n in range(frames)
        ]
        self.first = self.frames[0]

    def __iter__(self):
        for frame in self.frames:
            if self._stopped.wait(self.pause):
                return
            yield frame

    def close(self):
        self.closed = True


def connecting(*outcomes):
    """A `connect` that returns or raises one after the other."""
    left = iter(outcomes)

    def connect():
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome() if callable(outcome) else outcome

    return connect


class TestDropping:
    def test_a_live_source_drops_the_oldest_and_counts_it(self):
        source = Connection(50)
        taken = []
        with ReadAhead(source) as ahead:
            time.sleep(0.2)  # long enough for all 50 to have come
            taken += [item.picture[80, 100, 1] for item in ahead]
        assert ahead.dropped == 50 - len(taken)
        assert taken == [40 + 4 * 48, 40 + 4 * 49]

    def test_a_file_waits(self):
        source = Connection(50)
        source.live = False
        with ReadAhead(source) as ahead:
            time.sleep(0.2)
            taken = [item.pts for item in ahead]
        assert taken == [frame.pts for frame in source.frames]
        assert ahead.dropped == 0

    def test_a_file_s_reader_waits_for_room(self):
        class Counting(Connection):
            live, drawn = False, 0

            def __iter__(self):
                for frame in self.frames:
                    self.drawn += 1
                    yield frame

        source = Counting(50)
        with ReadAhead(source) as ahead:
            time.sleep(0.2)
            assert source.drawn <= FRAMES_AHEAD + 1
            assert len(list(ahead)) == 50

    def test_who_writes_is_waited_for(self):
        class Slow:
            def __init__(self):
                self.may, self.written = threading.Semaphore(0), []

            def write(self, frame, _):
                self.may.acquire()
                self.written.append(frame.pts)

        writer, put = Slow(), []

        def fill():
            with WriteBehind([writer]) as behind:
                for frame in source.frames:
                    behind.put((frame, None))
                    put.append(frame.pts)

        source = Connection(30)
        thread = threading.Thread(target=fill)
        thread.start()
        time.sleep(0.2)
        assert 0 < len(put) <= FRAMES_BEHIND + 2  # one is being written
        writer.may.release(30)
        thread.join()
        assert writer.written == put == [frame.pts for frame in source.frames]

    def test_an_error_throws_away_what_waits_but_not_what_is_being_written(self):
        class Slow:
            written = 0

            def write(self, *_):
                time.sleep(0.2)
                self.written += 1

        writer = Slow()
        with pytest.raises(KeyboardInterrupt), WriteBehind([writer]) as behind:
            for frame in Connection(4).frames:
                behind.put((frame, None))
            time.sleep(0.05)
            raise KeyboardInterrupt
        assert writer.written == 1

    def test_what_is_dropped_and_what_is_written_are_all_there_were(self, tmp_path):
        pytest.importorskip("av")
        from bisenetv2.inference.video.writers import overlay_writer

        source = Connection(60, pause=0.002)
        segmenter, tallies = red_segmenter(), []
        engine = segmenter.engine.logits
        segmenter.engine.logits = lambda frames: (time.sleep(0.02), engine(frames))[1]
        with overlay_writer(tmp_path / "out.mp4", source, LABELS) as writer:
            tally = convert(source, segmenter, [writer], report=lambda t: tallies.append(t.frames))
        _, times = read_clip(tmp_path / "out.mp4")
        assert tally.dropped > 0
        assert tally.frames + tally.dropped == 60
        assert len(times) == tally.frames == tallies[-1]
        assert (np.diff(times) > 0).all()
        assert tally.latency > 0

    def test_stopping_does_not_wait_for_the_source(self):
        stop = threading.Event()
        with ReadAhead(Connection(2, pause=60), stop) as ahead:
            threading.Timer(0.1, stop.set).start()
            began = time.monotonic()
            assert list(ahead) == []
            assert time.monotonic() - began < 5

    def test_so_many_seconds_of_a_live_source_are_over_though_no_frame_comes(self):
        source = LiveSource(
            connecting(Connection(3, why="no route")), lambda _: None, first_delay=60
        )
        tally = convert(source, red_segmenter(), [], seconds=0.5)
        assert tally.frames + tally.dropped == 3
        assert source.damage == ["the connection was lost (no route)"]

    def test_so_many_seconds_are_over_where_sound_goes_on_without_pictures(self):
        class Frozen(Connection):
            def __iter__(self):
                yield self.first
                for _ in range(1000):
                    if self._stopped.wait(0.02):
                        return
                    yield Sound(None, 0)

        source = Frozen()
        assert convert(source, red_segmenter(), [], seconds=0.3).frames == 1
        assert source._stopped.is_set()

    def test_an_error_of_the_source_comes_through(self):
        class Broken(Connection):
            def __iter__(self):
                yield self.first
                raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"), ReadAhead(Broken()) as ahead:
            list(ahead)


class TestReconnection:
    def test_it_goes_on_after_failures_and_says_so(self):
        first, lines = Connection(3, why="connection reset"), []
        source = LiveSource(
            connecting(
                first,
                UserError("fake: no route"),
                UserError("fake: no route"),
                lambda: Connection(4),
            ),
            lines.append,
            first_delay=0.01,
            attempts=3,
        )
        frames = []
        for frame in source:
            frames.append(frame)
            if len(frames) == 7:
                source.stop()
        assert len(frames) == 7
        assert first.closed
        assert "connection reset; connecting again in 0.01 s" in lines[0]
        assert "no route; connecting again in 0.02 s" in lines[1]
        assert "no route; connecting again in 0.04 s" in lines[2]
        assert "connected again after" in lines[3]
        assert source.damage == []

    def test_the_time_without_connection_is_a_gap(self):
        source = LiveSource(
            connecting(Connection(3), lambda: Connection(3, start=7_000_000)),
            lambda _: None,
            first_delay=0.4,
            attempts=1,
        )
        stamps = [frame.pts for frame in islice(source, 6)]
        assert all(a < b for a, b in pairwise(stamps))
        assert stamps[3] - stamps[0] == pytest.approx(400, abs=150)
        assert stamps[4] - stamps[3] == 40

    def test_frames_that_come_faster_than_stated_keep_their_pace(self):
        source = LiveSource(
            connecting(Connection(3, true_rate=100), lambda: Connection(9, true_rate=100)),
            lambda _: None,
            first_delay=0.01,
            attempts=1,
        )
        stamps = [frame.pts for frame in islice(source, 12)]
        assert stamps[3] >= stamps[2] + 40  # a new connection waits for the last frame's end
        assert stamps[11] - stamps[3] == 80

    def test_times_never_stand_still(self):
        """Where the new connection's ticks are finer than the source's."""
        source = LiveSource(
            connecting(
                Connection(2),
                lambda: Connection(5, time_base=Fraction(1, 90_000), true_rate=5000),
            ),
            lambda _: None,
            first_delay=0.01,
            attempts=1,
        )
        stamps = [frame.pts for frame in islice(source, 7)]
        assert all(a < b for a, b in pairwise(stamps))

    def test_another_time_base_is_converted(self):
        source = LiveSource(
            connecting(Connection(2), lambda: Connection(3, time_base=Fraction(1, 90_000))),
            lambda _: None,
            first_delay=0.01,
            attempts=1,
        )
        frames = list(islice(source, 5))
        assert {frame.time_base for frame in frames} == {TICK}
        assert frames[4].pts - frames[3].pts == 40

    def test_it_gives_up_and_reports(self):
        source = LiveSource(
            connecting(Connection(2), *[UserError("fake: no route")] * 3),
            lambda _: None,
            first_delay=0.001,
            attempts=3,
        )
        assert len(list(source)) == 2
        assert source.damage == ["no route; given up after 3 attempts"]

    def test_a_first_connection_that_fails_is_the_users_mistake(self):
        with pytest.raises(UserError, match="no route"):
            LiveSource(connecting(UserError("fake: no route")))

    def test_it_can_be_stopped_while_it_waits(self):
        source = LiveSource(connecting(Connection(1)), lambda _: None, first_delay=60)
        threading.Timer(0.1, source.stop).start()
        began = time.monotonic()
        assert len(list(source)) == 1
        assert time.monotonic() - began < 5


class FakeCapture:
    """Stands in for OpenCV's camera."""

    def __init__(self, number):
        self.frames, self.released = 4 if number == 0 else 0, False

    def read(self):
        self.frames -= 1
        return (True, picture(0)[..., ::-1].copy()) if self.frames >= 0 else (False, None)

    def get(self, _):
        return 15.0

    def set(self, *_):
        return True

    def release(self):
        self.released = True


class TestCamera:
    @pytest.fixture(autouse=True)
    def fake(self, monkeypatch):
        monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)

    def test_frames_come_in_rgb_with_the_time_of_arrival(self, monkeypatch):
        clock = count(10, 0.25)
        monkeypatch.setattr(sources, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
        camera = Camera(0)
        frames = list(camera)
        assert camera.rate == 15
        assert len(frames) == 4
        assert np.array_equal(frames[0].image, picture(0))
        assert [frame.pts * frame.time_base for frame in frames] == [0, 0.25, 0.5, 0.75]
        assert "no more pictures" in camera.damage[0]

    def test_no_camera(self):
        with pytest.raises(UserError, match="camera:3: gives no picture"):
            open_source("camera:3")

    def test_it_is_live(self):
        assert open_source("camera:0").live


def test_a_camera_that_is_not_there_is_one_line(capfd):
    with pytest.raises(UserError, match="camera:97"):
        open_source("camera:97")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("camera:2", "camera_2"),
        ("rtsp://user:secret@10.0.0.7:554/live/1?token=x", "10_0_0_7_554_live_1"),
        ("rtsp://admin:p@ss@10.0.0.7/live", "10_0_0_7_live"),
        ("rtsp://admin:pa/s?s@10.0.0.7/live", "10_0_0_7_live"),
        ("http://example.org/", "example_org"),
        ("frames/%05d.png", "frames"),
        ("frames/street_%d.png", "street"),
    ],
)
def test_outputs_are_named_after_the_source_without_its_secrets(name, short):
    assert sources.is_moving(name)
    assert short_name(name) == short


class TestNetworkCamera:
    def test_it_comes_back_after_the_line_broke(self, network_camera):
        lines = []
        source = open_source(
            f"http://127.0.0.1:{network_camera.server_address[1]}/", notice=lines.append
        )
        assert source.live
        with ReadAhead(source) as ahead:
            frames = []
            for frame in ahead:
                frames.append(frame)
                if len(frames) + ahead.dropped >= 20:
                    break
        assert network_camera.visits >= 2
        assert any("connecting again" in line for line in lines)
        assert any("connected again" in line for line in lines)
        assert all(a.pts < b.pts for a, b in pairwise(frames))
        # MJPEG tells no times: those of arrival stand in.
        assert frames[-1].seconds > 0.2

    def test_it_may_be_faster_than_the_rate_that_is_invented_for_it(
        self, network_camera, monkeypatch
    ):
        from bisenetv2.inference.video import containers

        clock = count(10, 1 / 64)
        monkeypatch.setattr(containers, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
        url = f"http://127.0.0.1:{network_camera.server_address[1]}/"
        connection = containers.ContainerSource(url)
        seconds = [frame.seconds for frame in connection]
        connection.close()
        assert seconds == pytest.approx([n / 64 for n in range(12)], abs=1e-4)
        assert connection.time_base == connection.first.time_base == sources.CLOCK

    @pytest.mark.parametrize("path", ["", "faststream.jpg"])
    def test_the_iterator_takes_it(self, network_camera, path):
        url = f"http://127.0.0.1:{network_camera.server_address[1]}/{path}"
        for frame, mask in segment_video(url, red_segmenter()):
            assert frame.shape == (*mask.shape, 3)
            break

    def test_a_server_that_is_not_there(self):
        pytest.importorskip("av")
        with pytest.raises(UserError, match="no connection"):
            open_source("http://127.0.0.1:9/stream")

    def test_no_password_is_shown(self):
        pytest.importorskip("av")
        with pytest.raises(UserError, match=r"^rtsp://127\.0\.0\.1:9/stream: no") as error:
            open_source("rtsp://admin:hush/hu?sh@127.0.0.1:9/stream")
        assert "hu" not in str(error.value)


def test_a_file_behind_a_url_loses_no_frame(tmp_path):
    pytest.importorskip("av")
    write_clip(tmp_path / "clip.mp4", 30, options={"movflags": "faststart"})

    def handler(*words):
        return Files(*words, directory=str(tmp_path))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_address[1]}/clip.mp4")
        assert not source.live
        assert len(list(source)) == 30
        assert source.damage == []
        server.shutdown()


def test_a_remote_file_without_a_stated_duration_is_no_live_stream(tmp_path):
    pytest.importorskip("av")
    frames = [cv2.imencode(".jpg", picture(n))[1].tobytes() for n in range(5)]
    (tmp_path / "film.mjpeg").write_bytes(b"".join(frames))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/film.mjpeg?password=p")
        assert not source.live
        assert source.name == f"http://127.0.0.1:{server.server_port}/film.mjpeg"
        assert len(list(source)) == 5
        source.close()
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://host/clip.mp4?sig=a@SECRET", "http://host/clip.mp4"),
        ("https://host/@user/clip.mp4", "https://host/@user/clip.mp4"),
        ("http://host:80/path@2x/clip.mp4?tok=1#a", "http://host:80/path@2x/clip.mp4"),
        ("rtsp://me:p@ss@host/1", "rtsp://host/1"),
        ("rtsp://me:pa/s?s@host:554/1", "rtsp://host:554/1"),
        ("rtsp://me:hush@[::1]:554/1", "rtsp://[::1]:554/1"),
        ("camera:0", "camera:0"),
    ],
)
def test_what_is_shown_of_a_url_is_no_secret_and_all_else(address, shown):
    assert without_secrets(address) == shown


def test_file_addresses_are_paths_as_they_stand_or_as_file_managers_write_them(tmp_path):
    (tmp_path / "my clip.mp4").touch()
    (tmp_path / "my%20own.mp4").touch()
    for name, path in (
        (f"file://{tmp_path}/my%20clip.mp4", f"{tmp_path}/my clip.mp4"),
        (f"file://localhost{tmp_path}/my%20own.mp4", f"{tmp_path}/my%20own.mp4"),
        (f"FILE://{tmp_path}/%05d.png", f"{tmp_path}/%05d.png"),
        ("file://", "file://"),
        ("clip.mp4", "clip.mp4"),
    ):
        assert without_file_scheme(name) == path
