"""Clips for tests, and a segmenter that tells bright red from dark."""

from __future__ import annotations

import http.server
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from bisenetv2.card import ModelCard
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.video.frames import Frame
from bisenetv2.labels import Labels

LABELS = Labels(names=("dark", "red"), palette=((0, 80, 200), (200, 160, 0)))
SIZE = 96, 128


class RedEngine:
    """Class 1 where red is above half."""

    name = "fake"

    def logits(self, frames):
        n, h, w, _ = frames.shape
        red = frames[..., 0].reshape(n, h // 8, 8, w // 8, 8).mean(axis=(2, 4), dtype=np.float32)
        return np.stack([np.full_like(red, 128), red], axis=1)


def red_segmenter() -> Segmenter:
    return Segmenter.from_engine(RedEngine(), ModelCard(labels=LABELS, frame_size=SIZE))


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Dark with a red quarter above left, and a level below right that counts the frames."""
    height, width = size
    image = np.full((height, width, 3), 40, np.uint8)
    image[: height // 2, : width // 2] = 230, 30, 30
    image[height // 2 :, width // 2 :] = 40, 40 + 4 * (number % 50), 40
    return image


def write_clip(
    path: Path,
    frames: int = 6,
    *,
    size: tuple[int, int] = SIZE,
    rate: Fraction | int = 30,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: Sequence[str] = (),
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    colours: tuple[int, int] = (2, 0),
) -> Path:
    """Writes a clip of `picture`s.

    Args:
        path: Where to.
        frames: How many.
        size: Height and width.
        rate: Frames a second.
        times: Times of the frames in ticks; evenly spaced if left out.
        time_base: Seconds a tick.
        codec: Encoder.
        pixels: Pixel format.
        sound: Encoders of sound tracks with a sine as long as the video.
        options: The container's.
        aspect: Width of a pixel over its height.
        colours: Numbers of colour matrix and range.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.time_base = time_base or 1 / Fraction(rate)
        context.colorspace, context.color_range = colours
        if codec == "libx264":
            stream.options = {"g": "12", "crf": "10"}
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        tracks = [container.add_stream(name, rate=44100) for name in sound]
        times = list(range(frames)) if times is None else times
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = times[number], context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for track in tracks:
            write_sine(container, track, frames / float(rate))
    return path


def write_sine(container, track, seconds: float) -> None:
    import av

    samples = np.arange(int(44100 * seconds))
    wave = (12000 * np.sin(samples * 0.0627)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(
        np.repeat(wave, 2)[None], format="s16", layout=track.codec_context.layout.name
    )
    frame.sample_rate, frame.pts, frame.time_base = 44100, 0, Fraction(1, 44100)
    resampler = av.AudioResampler(
        track.codec_context.format, track.codec_context.layout, 44100, track.frame_size or None
    )
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(track.encode(piece))
    container.mux(track.encode(None))


def break_sound(path: Path, last: bool = False) -> None:
    """Spoils the beginning of one packet of sound, half-way or last."""
    import av

    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        starts = [bytes(p)[:12] for p in container.demux(audio=0) if p.size]
    unique = [start for start in starts if content.count(start) == 1]
    place = content.index(unique[-1 if last else len(unique) // 2])
    content[place + 1 : place + 3] = b"\x00\x3f"
    path.write_bytes(content)


def rotate_clip(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Writes a display matrix into an MP4 of one track, as a phone does."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    content[start : start + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in matrix)
    path.write_bytes(content)
    return path


def read_clip(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Decodes a clip without the product's sources: RGB frames, and their times in seconds."""
    import av

    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        images = [Frame(f, 0, 1, Fraction(1)).image for f in frames]
        return images, [float(f.time) for f in frames]


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a folder and says nothing."""

    def log_message(self, *_):
        pass


class Mjpeg(http.server.BaseHTTPRequestHandler):
    """Serves a few pictures as a network camera does, then hangs up."""

    def do_GET(self):
        self.server.visits += 1
        if self.server.visits > self.server.most_visits:
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=next")
        self.end_headers()
        for number in range(self.server.pictures):
            _, jpeg = cv2.imencode(".jpg", picture(number)[..., ::-1])
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg.tobytes() + b"\r\n")
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.02)

    def log_message(self, *_):
        pass
