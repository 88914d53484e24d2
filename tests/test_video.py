"""Video files in and out: every frame, its time, size, sound and colours."""

from __future__ import annotations

import re
import threading
from fractions import Fraction
from shutil import rmtree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from bisenetv2 import segment_video
from bisenetv2.errors import UserError
from bisenetv2.files import TEMPORARY
from bisenetv2.images import read_image, read_mask, write_image
from bisenetv2.inference.overlay import overlay
from bisenetv2.inference.video.frames import Frame, Orientation
from bisenetv2.inference.video.pipeline import convert
from bisenetv2.inference.video.sources import open_source
from bisenetv2.labels import Labels
from clips import (
    LABELS,
    SIZE,
    break_sound,
    picture,
    read_clip,
    red_segmenter,
    rotate_clip,
    write_clip,
    write_sine,
)

av = pytest.importorskip("av")

from bisenetv2.inference.video.planes import (  # noqa: E402
    PictureFormat,
    blend,
    plane_views,
    to_planes,
)
from bisenetv2.inference.video.writers import (  # noqa: E402
    LAYOUTS,
    mask_folder_writer,
    mask_video_writer,
    overlay_writer,
)

SOUND_DAMAGED = r"(\d+) of (\d+) sound packets damaged"


def to_overlay(clip, out, **options):
    """Segments a clip into an overlay; returns the source's damage."""
    source = open_source(clip, sound=True)
    with overlay_writer(out, source, LABELS, **options) as writer:
        convert(source, red_segmenter(), [writer])
    return source.damage


def stream_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        return {
            "rate": stream.average_rate,
            "size": (context.height, context.width),
            "pixels": context.pix_fmt,
            "seconds": container.duration / av.time_base,
            "aspect": context.sample_aspect_ratio,
            "colours": (context.colorspace, context.color_range),
        }


def sound_packets(path):
    """The content and the time of each packet, track by track."""
    with av.open(str(path)) as container:
        tracks = [[] for _ in container.streams.audio]
        for packet in container.demux():
            if packet.size and packet.stream.type == "audio":
                number = container.streams.audio.index(packet.stream)
                tracks[number].append((bytes(packet), float(packet.pts * packet.time_base)))
        return tracks


RATES = [1, 12, 30, Fraction(30000, 1001), Fraction(24000, 1001), Fraction(59, 7), 120]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_every_frame_keeps_its_time(tmp_path, rate):
    clip = write_clip(tmp_path / "in.mp4", 9, rate=rate)
    assert to_overlay(clip, tmp_path / "out.mp4") == []
    _, times = read_clip(clip)
    frames, written = read_clip(tmp_path / "out.mp4")
    assert written == times
    assert len(frames) == 9
    before, after = stream_of(clip), stream_of(tmp_path / "out.mp4")
    assert after["rate"] == before["rate"]
    assert after["seconds"] == pytest.approx(before["seconds"], abs=1e-4)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".ts"])
@pytest.mark.parametrize("out", ["out.mp4", "out.mkv"])
def test_containers_keep_frames_and_times(tmp_path, suffix, out):
    clip = write_clip(tmp_path / f"in{suffix}", 20, rate=25)
    assert to_overlay(clip, tmp_path / out) == []
    frames, times = read_clip(tmp_path / out)
    assert len(frames) == 20
    assert np.diff(times) == pytest.approx(1 / 25, abs=0.0011)  # Matroska counts milliseconds


@pytest.mark.parametrize("preset", ["ultrafast", "medium"])
def test_a_variable_frame_rate_is_kept(tmp_path, preset):
    times = [0, 1, 2, 10, 11, 30, 31, 60]
    clip = write_clip(tmp_path / "in.mp4", 8, times=times, time_base=Fraction(1, 60))
    to_overlay(clip, tmp_path / "out.mp4", preset=preset)
    _, written = read_clip(tmp_path / "out.mp4")
    assert written == pytest.approx([t / 60 for t in times], abs=1e-6)
    assert stream_of(tmp_path / "out.mp4")["seconds"] == pytest.approx(61 / 60, abs=1e-3)


@pytest.mark.parametrize("size", [(96, 128), (95, 127), (96, 127), (33, 64), (1, 1), (17, 3)])
def test_every_size_is_kept(tmp_path, size):
    odd = size[0] % 2 or size[1] % 2
    clip = write_clip(tmp_path / "in.mp4", 3, size=size, pixels="yuv444p" if odd else "yuv420p")
    to_overlay(clip, tmp_path / "out.mp4")
    after = stream_of(tmp_path / "out.mp4")
    assert after["size"] == size
    assert after["pixels"] == ("yuv444p" if odd else "yuv420p")


def test_frames_stay_in_order(tmp_path):
    clip = write_clip(tmp_path / "in.mp4", 40)
    to_overlay(clip, tmp_path / "out.mp4", alpha=0.0, crf=5)
    frames, _ = read_clip(tmp_path / "out.mp4")
    levels = [frame[80, 100, 1] for frame in frames]
    assert levels == pytest.approx([40 + 4 * number for number in range(40)], abs=5)


def test_one_frame_keeps_its_duration(tmp_path):
    clip = write_clip(tmp_path / "in.mp4", 1, rate=4)
    to_overlay(clip, tmp_path / "out.mp4")
    frames, times = read_clip(tmp_path / "out.mp4")
    assert (len(frames), times) == (1, [0.0])
    assert stream_of(tmp_path / "out.mp4")["seconds"] == pytest.approx(0.25, abs=0.01)


def test_the_shape_of_pixels_is_kept(tmp_path):
    clip = write_clip(tmp_path / "in.mp4", 2, aspect=Fraction(4, 3))
    to_overlay(clip, tmp_path / "out.mp4")
    assert stream_of(tmp_path / "out.mp4")["aspect"] == Fraction(4, 3)


# Matrices as phones write them, and what they do to a picture.
TURNS = {
    (1, 0, 0, 1): lambda p: p,
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (-1, 0, 0, -1): lambda p: np.rot90(p, 2),
    (0, -1, 1, 0): lambda p: np.rot90(p, 1),
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, -1, -1, 0): lambda p: np.rot90(p, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", TURNS, ids=str)
@pytest.mark.parametrize("size", [SIZE, (95, 127)])
def test_rotated_videos_are_segmented_and_written_upright(tmp_path, matrix, size):
    odd = size[0] % 2
    clip = write_clip(tmp_path / "in.mp4", 2, size=size, pixels="yuv444p" if odd else "yuv420p")
    rotate_clip(clip, *matrix)
    upright = TURNS[matrix](picture(0, size))
    frame, mask = next(segment_video(clip, red_segmenter()))
    assert frame.flags.c_contiguous
    assert np.abs(frame.astype(int) - upright).mean() < 6
    assert np.array_equal(mask, red_segmenter()(frame))
    to_overlay(clip, tmp_path / "out.mp4", alpha=0.0, crf=5)
    (written, _), _ = read_clip(tmp_path / "out.mp4")
    assert written.shape == upright.shape
    assert np.abs(written.astype(int) - upright).mean() < 6
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert Orientation.of(next(container.decode(video=0))) == Orientation()


def test_a_turned_picture_has_its_pixels_shape_turned(tmp_path):
    clip = rotate_clip(write_clip(tmp_path / "in.mp4", 2, aspect=Fraction(4, 3)), 0, 1, -1, 0)
    to_overlay(clip, tmp_path / "out.mp4")
    assert stream_of(tmp_path / "out.mp4")["aspect"] == Fraction(3, 4)


class TestSound:
    def test_its_packets_pass_through_unchanged(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 30, sound=["aac"])
        to_overlay(clip, tmp_path / "out.mp4")
        (before,), (after,) = sound_packets(clip), sound_packets(tmp_path / "out.mp4")
        assert [content for content, _ in after] == [content for content, _ in before]
        assert [t for _, t in after] == pytest.approx([t for _, t in before], abs=1e-4)
        assert read_clip(tmp_path / "out.mp4")[1] == read_clip(clip)[1]

    def test_all_tracks_pass(self, tmp_path):
        clip = write_clip(tmp_path / "in.mkv", 20, sound=["flac", "ac3"])
        to_overlay(clip, tmp_path / "out.mkv")
        assert len(sound_packets(tmp_path / "out.mkv")) == 2
        for before, after in zip(
            sound_packets(clip), sound_packets(tmp_path / "out.mkv"), strict=True
        ):
            assert [content for content, _ in after] == [content for content, _ in before]

    @pytest.mark.parametrize("out", ["out.mp4", "out.mkv"])
    def test_it_comes_out_of_a_transport_stream_in_step(self, tmp_path, out):
        clip = write_clip(tmp_path / "in.ts", 60, sound=["aac"])
        to_overlay(clip, tmp_path / out)
        with av.open(str(tmp_path / out)) as container:
            samples = sum(frame.samples for frame in container.decode(audio=0))
        assert samples == pytest.approx(2 * 44100, abs=4096)
        _, times = read_clip(tmp_path / out)
        (packets,) = sound_packets(tmp_path / out)
        (before,) = sound_packets(clip)
        lead = read_clip(clip)[1][0] - before[0][1]
        assert times[0] - packets[0][1] == pytest.approx(lead, abs=0.03)

    def test_what_a_container_cannot_hold_is_named_and_left_out(self, tmp_path):
        clip = write_clip(tmp_path / "in.avi", 10, sound=["pcm_u8"])
        lines = []
        to_overlay(clip, tmp_path / "out.mp4", notice=lines.append)
        assert sound_packets(tmp_path / "out.mp4") == []
        assert len(lines) == 1
        assert "pcm_u8" in lines[0]

    def test_what_only_a_header_refuses_is_left_out_too(self, tmp_path):
        clip = write_clip(tmp_path / "in.mkv", 10, sound=["flac", "ac3"])
        lines = []
        to_overlay(clip, tmp_path / "out.mov", notice=lines.append)
        assert len(sound_packets(tmp_path / "out.mov")) == 1
        assert [line.partition(": ")[2] for line in lines] == [
            ".mov cannot hold flac sound, which is left out"
        ]

    @pytest.mark.parametrize("suffix", [".avi", ".mkv"])
    def test_channels_that_are_only_counted_get_their_usual_names(self, tmp_path, suffix):
        clip = write_clip(tmp_path / f"in{suffix}", 10, sound=["pcm_s16le"])
        with av.open(str(clip)) as container:
            assert container.streams.audio[0].codec_context.layout.name == "2 channels"
        lines = []
        to_overlay(clip, tmp_path / "out.mp4", notice=lines.append)
        assert lines == []
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert container.streams.audio[0].codec_context.layout.name == "stereo"
        (before,), (after,) = sound_packets(clip), sound_packets(tmp_path / "out.mp4")
        assert b"".join(c for c, _ in after) == b"".join(c for c, _ in before)

    def test_as_many_names_as_channels(self):
        counts = [av.AudioLayout(name).nb_channels for name in LAYOUTS]
        assert counts == list(range(1, len(LAYOUTS) + 1))


class TestMasks:
    @pytest.mark.parametrize("size", [SIZE, (95, 127)])
    def test_ffv1_holds_exactly_the_masks_of_the_frames(self, tmp_path, size):
        odd = size[0] % 2
        clip = write_clip(tmp_path / "in.mp4", 5, size=size, pixels="yuv444p" if odd else "yuv420p")
        source = open_source(clip)
        with mask_video_writer(tmp_path / "masks.mkv", source) as writer:
            convert(source, red_segmenter(), [writer])
        with av.open(str(tmp_path / "masks.mkv")) as container:
            written = [frame.to_ndarray() for frame in container.decode(video=0)]
        frames, _ = read_clip(clip)
        assert len(written) == 5
        for frame, mask in zip(frames, written, strict=True):
            assert np.array_equal(mask, red_segmenter()(frame))

    def test_png_holds_the_masks_and_the_times(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 4, times=[0, 1, 5, 6], rate=10)
        folder = tmp_path / "masks"
        folder.mkdir()
        (folder / "000009.png").write_bytes(b"of an earlier, longer run")
        (folder / "times.csv").write_text("file,seconds\n000009.png,0.9\n../in.mp4,1.0\n")
        (folder / "notes.txt").write_text("not ours")
        source = open_source(clip)
        with mask_folder_writer(folder) as writer:
            convert(source, red_segmenter(), [writer])
        frames, _ = read_clip(clip)
        names = [f"{number:06d}.png" for number in range(4)]
        assert sorted(path.name for path in folder.iterdir()) == [*names, "notes.txt", "times.csv"]
        for frame, name in zip(frames, names, strict=True):
            assert np.array_equal(read_mask(folder / name), red_segmenter()(frame))
        lines = (folder / "times.csv").read_text().splitlines()
        assert lines[0] == "file,seconds"
        assert [float(line.split(",")[1]) for line in lines[1:]] == [0, 0.1, 0.5, 0.6]

    def test_masks_of_another_origin_are_not_replaced(self, tmp_path):
        folder = tmp_path / "masks"
        folder.mkdir()
        (folder / "000003.png").write_bytes(b"drawn by hand")
        with pytest.raises(UserError, match=r"holds 000003\.png, which is in no times\.csv"):
            mask_folder_writer(folder).__enter__()
        assert [path.name for path in folder.iterdir()] == ["000003.png"]

    @pytest.mark.parametrize("before", [None, [], ["000000.png", "000001.png", "times.csv"]])
    def test_a_run_that_fails_leaves_the_folder_as_it_was(self, tmp_path, before):
        folder = tmp_path / "masks"
        if before is not None:
            folder.mkdir()
        for name in before or ():
            (folder / name).write_text("file,seconds\n000000.png,0\n000001.png,1\n")
        frame = open_source(write_clip(tmp_path / "in.mp4", 1)).first
        with pytest.raises(RuntimeError), mask_folder_writer(folder) as writer:
            writer.write(frame, red_segmenter()(frame.image))
            raise RuntimeError
        assert folder.exists() == (before is not None)
        assert sorted(path.name for path in folder.glob("*")) == (before or [])

    def test_two_runs_never_write_into_the_same_folder(self, tmp_path):
        pytest.importorskip("fcntl")
        frame, masks = open_source(write_clip(tmp_path / "in.mp4", 1)).first, tmp_path / "masks"
        with mask_folder_writer(masks) as writer:
            writer.write(frame, red_segmenter()(frame.image))
            with pytest.raises(UserError, match="masks: another run writes its masks there"):
                mask_folder_writer(masks).__enter__()
            writer.write(frame, red_segmenter()(frame.image))
        assert sorted(path.name for path in masks.iterdir()) == [
            "000000.png", "000001.png", "times.csv",
        ]  # fmt: skip

    def test_what_a_killed_run_left_is_removed(self, tmp_path):
        pytest.importorskip("fcntl")
        left = tmp_path / "masks" / f"{TEMPORARY}abc"
        left.mkdir(parents=True)
        with mask_folder_writer(tmp_path / "masks"):
            assert not left.exists()

    @pytest.mark.parametrize("then", [0, 1])
    def test_masks_that_are_removed_meanwhile_are_missed(self, tmp_path, then):
        frame, masks = open_source(write_clip(tmp_path / "in.mp4", 1)).first, tmp_path / "masks"
        message = f"masks: 1 of {1 + then} masks were removed"
        with pytest.raises(UserError, match=message), mask_folder_writer(masks) as writer:
            writer.write(frame, red_segmenter()(frame.image))
            for temporary in masks.iterdir():
                rmtree(temporary)
            for _ in range(then):
                writer.write(frame, red_segmenter()(frame.image))
        assert not masks.exists()

    def test_a_mask_that_cannot_be_written_is_named_where_it_was_to_be(self, tmp_path, monkeypatch):
        def full(path, mask):
            raise UserError(f"{path}: cannot be written (No space left on device)")

        monkeypatch.setattr("bisenetv2.inference.video.writers.write_mask", full)
        frame = open_source(write_clip(tmp_path / "in.mp4", 1)).first
        masks = tmp_path / "masks"
        message = f"^{masks / '000000.png'}: cannot be written"
        with pytest.raises(UserError, match=message), mask_folder_writer(masks) as writer:
            writer.write(frame, red_segmenter()(frame.image))


class TestOverlayInYuv:
    """Blending planes is blending in RGB, but for the rounding of the planes."""

    PALETTE = Labels(names=("a", "b", "c"), palette=((250, 20, 90), (10, 200, 30), (90, 90, 240)))

    @settings(max_examples=30)
    @given(
        st.integers(0, 2**32 - 1),
        st.floats(0, 1),
        st.sampled_from([(1, 1), (5, 1), (9, 1), (2, 0), (1, 2)]),
    )
    def test_it_looks_as_in_rgb(self, seed, alpha, colours):
        random = np.random.default_rng(seed)
        mask = cv2.resize(random.integers(0, 3, (5, 7), np.uint8), (71, 51), interpolation=0)
        coarse = random.integers(30, 220, (4, 5, 3), np.uint8)
        rgb = cv2.resize(coarse, (71, 51), interpolation=cv2.INTER_CUBIC)
        native = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            format="yuv444p",
            dst_colorspace=5 if colours[0] == 2 else colours[0],  # unspecified means BT.601
            dst_color_range="JPEG" if colours[1] == 2 else "MPEG",
        )
        native.colorspace, native.color_range = colours
        frame = Frame(native, 0, 1, Fraction(1, 25))
        target = PictureFormat.of(frame)
        assert target == PictureFormat((51, 71), "yuv444p", colours[0], colours[1] == 2)
        blended = blend(frame, mask, self.PALETTE, alpha, target)
        blended.colorspace, blended.color_range = colours
        expected = overlay(frame.image, mask, self.PALETTE, alpha, legend=False)
        got = Frame(blended, 0, 1, Fraction(1, 25)).image
        assert np.abs(got.astype(int) - expected).max() <= 8
        assert np.abs(got.astype(int) - expected).mean() <= 2.5

    def test_ignored_pixels_stay_exactly_as_they_were(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 1)
        frame = open_source(clip).first
        target = PictureFormat.of(frame)
        mask = np.zeros(SIZE, np.uint8)
        mask[:, 64:] = 255
        blended = plane_views(blend(frame, mask, LABELS, 0.5, target))
        for before, after in zip(to_planes(frame, target), blended, strict=True):
            half = before.shape[1] // 2
            assert np.array_equal(before[:, half:], after[:, half:])
            assert not np.array_equal(before[:, :half], after[:, :half])

    @pytest.mark.parametrize(
        ("pixels", "colours"),
        [("yuv420p", (1, 1)), ("yuv420p", (5, 1)), ("yuvj420p", (5, 2)), ("yuv444p", (1, 1))],
    )
    def test_colours_come_out_as_they_went_in(self, tmp_path, pixels, colours):
        clip = write_clip(tmp_path / "in.mp4", 3, pixels=pixels, colours=colours)
        to_overlay(clip, tmp_path / "out.mp4", alpha=0.0, crf=5)
        assert stream_of(tmp_path / "out.mp4")["colours"] == colours
        for before, after in zip(
            read_clip(clip)[0], read_clip(tmp_path / "out.mp4")[0], strict=True
        ):
            assert np.abs(before.astype(int) - after).mean() < 3

    @pytest.mark.parametrize(
        ("codec", "pixels"),
        [("ffv1", "yuv422p10le"), ("ffv1", "gray"), ("ffv1", "bgr0"), ("mjpeg", "yuvj422p")],
    )
    def test_other_pixel_formats_are_converted(self, tmp_path, codec, pixels):
        clip = write_clip(tmp_path / "in.mkv", 2, codec=codec, pixels=pixels)
        to_overlay(clip, tmp_path / "out.mp4", alpha=0.0, crf=5)
        assert stream_of(tmp_path / "out.mp4")["pixels"] == "yuv420p"
        for before, after in zip(
            read_clip(clip)[0], read_clip(tmp_path / "out.mp4")[0], strict=True
        ):
            assert np.abs(before.astype(int) - after).mean() < 6

    def test_a_frame_of_another_size_is_brought_to_the_films(self):
        first = Frame(picture(0), 0, 1, Fraction(1, 25))
        later = Frame(picture(0, (48, 64)), 1, 1, Fraction(1, 25))
        target = PictureFormat.of(first)
        blended = blend(later, np.zeros((48, 64), np.uint8), LABELS, 0.5, target)
        assert (blended.height, blended.width) == SIZE


@pytest.mark.parametrize(
    ("matrix", "full_range", "stored"),
    [
        (1, False, (145, 76, 55)),
        (5, False, (126, 84, 60)),
        (2, False, (126, 84, 60)),
        (9, False, (139, 80, 55)),
        (1, True, (150, 69, 45)),
    ],
)
def test_rgb_is_made_by_the_videos_own_matrix(matrix, full_range, stored):
    """The same green in every way of storing it: 20, 200, 40."""
    picture = av.VideoFrame(64, 48, "yuvj420p" if full_range else "yuv420p")
    for plane, value in zip(plane_views(picture), stored, strict=True):
        plane[:] = value
    picture.colorspace, picture.color_range = matrix, 2 if full_range else 1
    frame = Frame(picture, 0, 1, Fraction(1))
    assert frame.image[24, 32] == pytest.approx([20, 200, 40], abs=3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pictures_that_carry_exif_are_turned_as_images_are(tmp_path, orientation):
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    for name in ("0.jpg", "1.jpg"):
        PillowImage.fromarray(picture(0)).save(tmp_path / name, exif=exif, quality=95)
    film = tmp_path / "film.mjpeg"
    film.write_bytes(b"".join((tmp_path / name).read_bytes() for name in ("0.jpg", "1.jpg")))
    source = open_source(film)
    frames = list(source)
    assert len(frames) == 2
    expected = read_image(tmp_path / "0.jpg")
    for frame in frames:
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 6


class TestDamage:
    """What can be read is written, and it is said what could not."""

    def test_truncated_file(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 60, options={"movflags": "faststart"})
        clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.7)])
        damage = to_overlay(clip, tmp_path / "out.mp4")
        assert any("truncated" in line for line in damage)
        frames, _ = read_clip(tmp_path / "out.mp4")
        assert 20 < len(frames) < 60

    def test_truncated_matroska(self, tmp_path):
        clip = write_clip(tmp_path / "in.mkv", 90)
        clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
        assert any("truncated" in line for line in to_overlay(clip, tmp_path / "out.mkv"))

    @pytest.mark.parametrize("suffix", [".mkv", ".webm"])
    def test_truncated_matroska_of_which_little_is_missing(self, tmp_path, suffix):
        codec = "libx264" if suffix == ".mkv" else "libvpx-vp9"
        clip = write_clip(tmp_path / f"in{suffix}", 12, codec=codec)
        content = clip.read_bytes()
        clip.write_bytes(content[:-1])
        assert to_overlay(clip, tmp_path / "out.mkv") == [
            "truncated: the end of the file is missing"
        ]
        clip.write_bytes(content)
        assert to_overlay(clip, tmp_path / "out.mkv") == []

    def test_matroska_written_as_a_stream_is_whole(self, tmp_path):
        clip = write_clip(tmp_path / "in.mkv", 12, options={"live": "1"})
        assert to_overlay(clip, tmp_path / "out.mkv") == []

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
    def test_bytes_lost_in_the_middle(self, tmp_path, suffix):
        clip = write_clip(tmp_path / f"in{suffix}", 60)
        content = bytearray(clip.read_bytes())
        middle = len(content) // 2
        content[middle : middle + len(content) // 10] = bytes(len(content) // 10)
        clip.write_bytes(content)
        assert to_overlay(clip, tmp_path / "out.mp4")
        frames, times = read_clip(tmp_path / "out.mp4")
        assert len(frames) > 30
        assert (np.diff(times) > 0).all()

    @pytest.mark.parametrize("last", [False, True])
    @pytest.mark.parametrize(("name", "codec"), [("in.ts", "aac"), ("in.mkv", "eac3")])
    def test_sound_that_makes_no_sense_is_left_out(self, tmp_path, name, codec, last):
        """MP4 refuses AAC at once, but E-AC-3 when it is its turn, or at the end."""
        clip = write_clip(tmp_path / name, 60, sound=[codec])
        break_sound(clip, last)
        (line,) = to_overlay(clip, tmp_path / "out.mp4")
        refused, packets = map(int, re.fullmatch(SOUND_DAMAGED, line).groups())
        assert 1 <= refused <= 3  # a transport stream's packets are found anew by their beginnings
        assert len(sound_packets(tmp_path / "out.mp4")[0]) == packets - refused > 50
        assert len(read_clip(tmp_path / "out.mp4")[0]) == 60

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
    def test_a_title_in_an_old_encoding_is_no_damage(self, tmp_path, suffix):
        clip = write_clip(tmp_path / f"in{suffix}", 3)
        assert b"Lavf" in clip.read_bytes()  # the name of the program that wrote it
        clip.write_bytes(clip.read_bytes().replace(b"Lavf", b"L\xe4vf"))
        assert to_overlay(clip, tmp_path / "out.mp4") == []
        assert len(read_clip(tmp_path / "out.mp4")[0]) == 3

    def test_whole_files_are_not_called_damaged(self, tmp_path):
        clip = write_clip(tmp_path / "in.mkv", 10, sound=["flac"])
        source = open_source(clip)
        list(source)
        assert source.damage == []

    def test_the_iterator_warns(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 60, options={"movflags": "faststart"})
        clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.7)])
        with pytest.warns(match="truncated"), pytest.warns(match="packets damaged"):
            assert list(segment_video(clip, red_segmenter()))

    def test_a_clock_that_starts_anew_goes_on(self, tmp_path):
        clip = write_clip(tmp_path / "in.ts", 45)
        clip.write_bytes(clip.read_bytes() * 2)
        to_overlay(clip, tmp_path / "out.mp4")
        _, times = read_clip(tmp_path / "out.mp4")
        assert len(times) == 90
        assert np.diff(times) == pytest.approx(1 / 30, abs=0.034)


class TestNothingToRead:
    def refused(self, path):
        with pytest.raises(UserError) as caught:
            open_source(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    def test_empty_file(self, tmp_path):
        (tmp_path / "in.mp4").touch()
        assert "in.mp4: an empty file; replace" in self.refused(tmp_path / "in.mp4")

    def test_missing_file(self, tmp_path):
        assert "no such file" in self.refused(tmp_path / "in.mp4")

    def test_a_file_without_its_index(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 30)
        clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
        assert "damaged" in self.refused(clip)

    def test_no_video_at_all(self, tmp_path):
        (tmp_path / "in.mp4").write_text("hello " * 100)
        self.refused(tmp_path / "in.mp4")

    def test_sound_with_a_cover(self, tmp_path):
        jpeg = cv2.imencode(".jpg", np.zeros((40, 40, 3), np.uint8))[1].tobytes()
        with av.open(str(tmp_path / "song.mp4"), "w") as container:
            track = container.add_stream("aac", rate=44100)
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 40, 40, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            packet = av.Packet(jpeg)
            packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1)
            container.mux(packet)
            write_sine(container, track, 0.2)
        with av.open(str(tmp_path / "song.mp4")) as container:
            assert len(container.streams.video) == 1
        with pytest.raises(UserError, match="holds no video"):
            open_source(tmp_path / "song.mp4")

    def test_sound_alone(self, tmp_path):
        with av.open(str(tmp_path / "in.mp4"), "w") as container:
            write_sine(container, container.add_stream("aac", rate=44100), 0.5)
        assert "no video" in self.refused(tmp_path / "in.mp4")

    def test_a_header_without_frames(self, tmp_path):
        clip = write_clip(tmp_path / "in.mkv", 3)
        content = clip.read_bytes()
        clip.write_bytes(content[: content.index(b"\x1f\x43\xb6\x75")])  # the first cluster's id
        self.refused(clip)

    def test_a_film_of_no_frames(self, tmp_path):
        with av.open(str(tmp_path / "in.mp4"), "w") as container:
            container.add_stream("libx264", rate=30)
            container.start_encoding()
        assert "no video" in self.refused(tmp_path / "in.mp4")

    def test_no_frame_that_can_be_decoded(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 20)
        content = clip.read_bytes()
        start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
        clip.write_bytes(content[:start] + bytes(end - start) + content[end:])
        assert "no frame" in self.refused(clip)


class TestIterator:
    def test_it_yields_every_frame_with_its_mask(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 12)
        pairs = list(segment_video(clip, red_segmenter()))
        frames, _ = read_clip(clip)
        assert len(pairs) == 12
        for (frame, mask), expected in zip(pairs, frames, strict=True):
            assert np.array_equal(frame, expected)
            assert np.array_equal(mask, red_segmenter()(expected))

    def test_it_may_be_left_early(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 50)
        running = threading.active_count()
        for _ in segment_video(clip, red_segmenter()):
            break
        assert threading.active_count() == running

    def test_it_tells_the_time_of_each_frame(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 4, times=[0, 1, 5, 6], rate=10)
        video = segment_video(clip, red_segmenter())
        assert [video.seconds for _ in video] == [0, 0.1, 0.5, 0.6]

    def test_it_may_be_closed_before_the_first_frame(self, tmp_path):
        source = open_source(write_clip(tmp_path / "in.mp4", 4))
        closed = []
        source.close = lambda: closed.append(True)
        segment_video(source, red_segmenter()).close()
        assert closed

    def test_images_may_be_given(self, tmp_path):
        images = [tmp_path / f"{number}.png" for number in range(2)]
        for image in images:
            write_image(image, picture(0))
        assert len(list(segment_video(images, red_segmenter()))) == 2

    def test_a_model_may_be_given(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 1)
        assert len(list(segment_video(clip, "camvid"))) == 1
        with pytest.raises(UserError, match=r"nowhere\.onnx"):
            segment_video(clip, "nowhere.onnx")

    def test_an_opened_source_may_be_given(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 3)
        assert len(list(segment_video(open_source(clip), red_segmenter()))) == 3

    def test_an_error_of_the_engine_comes_through(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 20)
        segmenter = red_segmenter()
        segmenter.engine = None
        with pytest.raises(AttributeError):
            list(segment_video(clip, segmenter))


class TestImageSequence:
    @pytest.mark.parametrize("fps", [1000, 29.97, 1, 0.5, 0.0005, 1 / 3600])
    def test_any_rate_is_kept(self, tmp_path, fps):
        write_image(tmp_path / "0.png", picture(0))
        assert float(open_source(tmp_path / "%d.png", fps=fps).rate) == pytest.approx(fps, 1e-5)

    def test_a_rate_is_a_fraction_of_small_numbers(self, tmp_path):
        write_image(tmp_path / "0.png", picture(0))
        rates = [open_source(tmp_path / "%d.png", fps=fps).rate for fps in (29.97, 1 / 3600)]
        assert rates == [Fraction(2997, 100), Fraction(1, 3600)]

    def test_numbered_images_come_in_order_of_number(self, tmp_path):
        for number in (1, 2, 10, 9):
            write_image(tmp_path / f"frame_{number}.png", picture(number))
        write_image(tmp_path / "frame_x.png", picture(0))
        source = open_source(tmp_path / "frame_%d.png", fps=10)
        assert source.total == 4
        frames = list(source)
        assert [frame.image[80, 100, 1] for frame in frames] == [44, 48, 76, 80]
        assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3])

    def test_padding_must_fit(self, tmp_path):
        for name in ("f0001.png", "f01.png", "f12345.png"):
            write_image(tmp_path / name, picture(0))
        assert open_source(tmp_path / "f%04d.png").total == 2

    def test_no_match_names_an_example(self, tmp_path):
        with pytest.raises(UserError, match=r"f0001\.png"):
            open_source(tmp_path / "f%04d.png")

    def test_a_damaged_image_is_left_out_and_named(self, tmp_path):
        for number in range(3):
            write_image(tmp_path / f"{number}.png", picture(number))
        (tmp_path / "1.png").write_bytes(b"nothing")
        source = open_source(tmp_path / "%d.png")
        assert len(list(source)) == 2
        assert "1.png" in source.damage[0]

    @pytest.mark.parametrize("size", [SIZE, (95, 127)])
    def test_it_becomes_a_video(self, tmp_path, size):
        for number in range(5):
            write_image(tmp_path / f"{number:03d}.png", picture(number, size))
        source = open_source(tmp_path / "%03d.png", fps=12.5)
        with overlay_writer(tmp_path / "out.mp4", source, LABELS, alpha=0.0, crf=5) as writer:
            convert(source, red_segmenter(), [writer])
        frames, times = read_clip(tmp_path / "out.mp4")
        assert times == pytest.approx([0, 0.08, 0.16, 0.24, 0.32])
        assert frames[0].shape == (*size, 3)
        assert np.abs(frames[0].astype(int) - picture(0, size)).mean() < 6


class TestWriters:
    @pytest.mark.parametrize("opened", ["overlay", "masks"])
    def test_a_folder_of_the_files_name_is_noticed_before_the_first_frame(self, tmp_path, opened):
        source = open_source(write_clip(tmp_path / "in.mp4", 2))
        (tmp_path / "out.mkv").mkdir()
        path = tmp_path / "out.mkv"
        with pytest.raises(UserError, match=r"out\.mkv: is a folder"):
            if opened == "overlay":
                overlay_writer(path, source, LABELS).__enter__()
            else:
                mask_video_writer(path, source).__enter__()
        assert sorted(file.name for file in tmp_path.iterdir()) == ["in.mp4", "out.mkv"]

    def test_a_full_disk_ends_the_conversion_and_leaves_nothing(self, tmp_path):
        resource = pytest.importorskip("resource")
        clip = write_clip(tmp_path / "in.mp4", 100)
        source = open_source(clip)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
        try:
            with (
                pytest.raises(UserError, match=r"out\.mp4: cannot be written"),
                overlay_writer(tmp_path / "out.mp4", source, LABELS, crf=1) as writer,
            ):
                convert(source, red_segmenter(), [writer])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]

    @pytest.mark.parametrize(
        ("option", "value"), [("alpha", 1.5), ("crf", 52), ("preset", "quickest")]
    )
    def test_values_out_of_range_are_refused(self, tmp_path, option, value):
        source = open_source(write_clip(tmp_path / "in.mp4", 2))
        with (
            pytest.raises(UserError, match=str(value)),
            overlay_writer(tmp_path / "out.mp4", source, LABELS, **{option: value}),
        ):
            pass
        assert not (tmp_path / "out.mp4").exists()

    def test_it_may_stop_at_a_time(self, tmp_path):
        clip = write_clip(tmp_path / "in.mp4", 30, rate=10, sound=["aac"])
        source = open_source(clip, sound=True)
        with overlay_writer(tmp_path / "out.mp4", source, LABELS) as writer:
            tally = convert(source, red_segmenter(), [writer], seconds=1.0)
        assert tally.frames == 10
        assert len(read_clip(tmp_path / "out.mp4")[0]) == 10
