"""`bisenetv2 predict`: segment images, videos, cameras and streams.

bisenetv2 predict street.jpg
bisenetv2 predict 'photos/*.png' -m runs/camvid/best.onnx -o masks
bisenetv2 predict photos --no-overlay --json > shares.jsonl
bisenetv2 predict clip.mp4 -o segmented.mp4
bisenetv2 predict clip.mp4 --no-overlay --masks ffv1
bisenetv2 predict frames/%05d.png --fps 30 -o segmented.mp4
bisenetv2 predict camera:0 --seconds 60
bisenetv2 predict rtsp://192.168.1.20/stream
"""

from __future__ import annotations

import glob
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from bisenetv2.commands.predict_images import Options, picture_paths, predict_images
from bisenetv2.commands.predict_video import INTERRUPTED, predict_video, video_paths
from bisenetv2.commands.signals import stop_on_signal
from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES
from bisenetv2.inference.engines import EngineName
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.video.sources import (
    OVERLAY_SUFFIXES,
    VIDEO_SUFFIXES,
    is_moving,
    is_video_file,
    short_name,
    without_file_scheme,
)

USUAL = Options()


def predict(
    sources: Annotated[Positional[tuple[str, ...]], arg(metavar="SOURCE ...")],
    *,
    model: Annotated[Path | None, arg(aliases=["-m"])] = None,
    output: Annotated[Path, arg(aliases=["-o"])] = Path("bisenetv2-output"),
    engine: EngineName = "auto",
    threads: int | None = None,
    scale: float | None = None,
    writing: OmitArgPrefixes[Options] = USUAL,
) -> int:
    """Segment images, videos, cameras and streams.

    An image gives NAME_mask.png (class indices), NAME_color.png and NAME_overlay.png; files of such
    names in a folder are passed over where the image lies beside them. A video, a camera or a
    stream gives NAME_overlay.mp4 (.mkv of an .mkv or .webm, .mkv or .mov where MP4 cannot hold the
    sound) with the source's frame times, size and sound and, with --masks, the masks. Ctrl-C ends
    it with a whole file. A recording of a camera or a stream replaces no earlier one: the next is
    NAME_2_overlay.mp4.

    Args:
        sources: Images, videos, folders (not those below), glob patterns ('photos/**/*.jpg'),
            numbered images (frames/%05d.png), camera:N, or URLs (rtsp://, http://, ...).
        model: Model file, checkpoint, or embedded model: camvid (INT8, default) or camvid-fp32.
        output: Folder to write to; or, ending in .mp4, .mov or .mkv, the video to make of one
            source, also of a folder of images.
        engine: What runs the network.
        threads: CPU threads; by default one for each physical core.
        scale: Side of the network's input over the frame's; by default as the model's card says.
        writing: What to write, and how.
    """
    if not sources or "" in sources:
        raise UserError("no source: name an image, a folder, a video, camera:0 or a URL")
    if not 0 <= writing.alpha <= 1:
        raise UserError(f"alpha {writing.alpha}: expected 0 to 1")
    ending = output.suffix.lower()
    one_video = ending in OVERLAY_SUFFIXES
    if ending in IMAGE_SUFFIXES + VIDEO_SUFFIXES and not one_video and not output.is_dir():
        raise UserError(
            f"{output}: name a folder, or a video that ends in {', '.join(OVERLAY_SUFFIXES)}"
        )
    options = replace(writing, overlay_path=output if one_video else None)
    images, videos = find_jobs(sources, output, options)
    of_videos = ("masks", "fps", "seconds")
    given = [f"--{n}" for n in of_videos if getattr(options, n) != getattr(USUAL, n)]
    if given and not videos:
        raise UserError(f"{', '.join(given)}: for videos, and there is none; leave it out")
    segmenter = Segmenter(model, engine, threads=threads, scale=scale)
    codes = [predict_images(images, segmenter, options)] if images else []
    with stop_on_signal() as stop:  # until the files are closed
        for source, stem in videos:
            try:
                codes.append(predict_video(source, segmenter, stem, options, stop))
            except UserError as error:
                if len(images) + len(videos) == 1:
                    raise
                print(f"bisenetv2 predict: {error}", file=sys.stderr)
                codes.append(2)
            if stop.is_set():
                break
    if INTERRUPTED in codes:
        return 128 + stop.number
    return codes[0] if len(set(codes)) == 1 else 1


def find_jobs(
    sources: Sequence[str], output: Path, options: Options
) -> tuple[list[tuple[Path, Path]], list[tuple[str | Sequence[Path], Path]]]:
    """Sorts sources into images and moving pictures, each with the path of its outputs.

    Args:
        sources: As the user gave them.
        output: Folder, or the path of the one video to make.
        options: Say which of the two it is; images become one sequence in the latter.

    Returns:
        Images and moving pictures; the paths of outputs are without ending.

    Raises:
        UserError: If a source holds nothing, several are to go to one video, or one would be
            overwritten.
    """
    sources = [without_file_scheme(source) for source in sources]
    # What to open, a path to name its outputs by, and whether it moves.
    found: list[tuple[str, Path, bool]] = []
    passed_over: list[str] = []
    for source in sources:
        if is_moving(source):
            found.append((source, Path(short_name(source)), True))
            continue
        files = list(find_files(source))
        made = {picture for file in files for picture in picture_paths(file.with_suffix(""))}
        found += [(str(path), path, is_video_file(path)) for path in files if path not in made]
        passed_over += [str(path) for path in files if path in made]
    paths = [path for _, path, _ in found]
    images: list[tuple[Path, Path]] = []
    videos: list[tuple[str | Sequence[Path], Path]]
    if options.overlay_path is None:
        jobs = list(zip(found, output_names(paths), strict=True))
        images = [(path, output / name) for (_, path, moves), name in jobs if not moves]
        videos = [(source, output / name) for (source, _, moves), name in jobs if moves]
    elif not any(moves for *_, moves in found):
        if all(Path(source).is_file() for source in sources):  # a shell sorts by letters
            paths.sort(key=_by_numbers)
        videos = [(paths, output.with_suffix(""))]
    elif len(found) > 1:
        raise UserError(f"{output}: is one video, of {len(found)} sources; name a folder")
    else:
        videos = [(found[0][0], output.with_suffix(""))]
    outputs = [path for _, stem in images for path in picture_paths(stem)]
    outputs += [path for _, stem in videos for path in video_paths(stem, options)]
    refuse_sources(outputs, [*passed_over, *(source for source, *_ in found)])
    if passed_over:
        more = f" and {len(passed_over) - 1} more" if len(passed_over) > 1 else ""
        told = f"{passed_over[0]}{more}: passed over, as pictures of an earlier run"
        print(f"bisenetv2 predict: {told}", file=sys.stderr)
    return images, videos


def refuse_sources(outputs: Iterable[Path], sources: Iterable[str]) -> None:
    """Keeps sources from being overwritten, each by its own outputs or by another's.

    Raises:
        UserError: If an output is a source, under whatever name, or the folder of one.
    """
    places = [Path(source) for source in sources]
    # Numbered images are in their folder.
    known = {_identity(path) for path in {p for place in places for p in (place, place.parent)}}
    known.discard(None)
    for path in outputs:
        if _identity(path) in known:
            raise UserError(f"{path}: is a source, or the folder of one; choose another --output")


def _identity(path: Path) -> tuple[int, int] | None:
    """Tells files apart whatever their names, which links and letter case may hide."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def find_files(source: str) -> Iterator[Path]:
    """Yields the images and videos behind a path, a folder or a glob pattern, sorted by name.

    Numbers in names count as such: `frame_2` comes before `frame_10`.

    Raises:
        UserError: If there is none.
    """
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() in (".onnx", ".safetensors"):
            raise UserError(f"{source}: is a model; give it by -m {source}")
        yield path
        return
    # Path.glob takes no absolute patterns.
    matches = path.iterdir() if path.is_dir() else map(Path, glob.glob(source, recursive=True))  # noqa: PTH207
    files = (file for file in matches if file.is_file() and not file.name.startswith("."))
    usable = [f for f in files if f.suffix.lower() in IMAGE_SUFFIXES or is_video_file(f)]
    if not usable:
        kinds = f"({', '.join(IMAGE_SUFFIXES)}, .mp4, .mkv, ...)"
        if path.is_dir():
            raise UserError(
                f"{source}: holds no image or video {kinds}; what lies in folders below is meant "
                f"by '{path / '**' / '*.jpg'}'"
            )
        if path.exists():
            raise UserError(f"{source}: is a device or a pipe; name a file, or a camera: camera:0")
        hint = "; a camera is camera:0" if re.fullmatch(r"(camera)?\d+", source) else ""
        raise UserError(
            f"{source}: no such file, and no pattern that finds an image or video {kinds}{hint}"
        )
    yield from sorted(usable, key=_by_numbers)


def _by_numbers(path: Path) -> list[str | int]:
    parts = re.split(r"(\d+)", path.as_posix())  # text and numbers in turn
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def output_names(paths: Sequence[Path]) -> list[str]:
    """Names the outputs by stem, where stems collide by the whole name, then by number."""
    stems = Counter(path.stem for path in paths)
    names: dict[str, None] = {}
    for path in paths:
        base = name = path.stem if stems[path.stem] == 1 else path.name.replace(".", "_")
        count = 1
        while name in names:
            count += 1
            name = f"{base}_{count}"
        names[name] = None
    return list(names)
