"""`bisenetv2 predict`: segment images."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from bisenetv2.errors import UserError

if TYPE_CHECKING:
    from bisenetv2.images import Image
    from bisenetv2.labels import Labels, Mask

EXAMPLES = """\
  bisenetv2 predict street.jpg
  bisenetv2 predict photos/ -o masks
  bisenetv2 predict 'photos/*.png' -m runs/camvid/best.onnx
"""


def predict(
    sources: Annotated[Positional[tuple[str, ...]], arg(metavar="SOURCE ...")],
    *,
    model: Annotated[Path | None, arg(aliases=["-m"])] = None,
    output: Annotated[Path, arg(aliases=["-o"])] = Path("bisenetv2-output"),
    engine: Literal["auto", "openvino", "onnxruntime", "torch"] = "auto",
    threads: int | None = None,
    scale: float | None = None,
    alpha: float = 0.5,
) -> int:
    """Segment images; write NAME_mask.png (class indices), NAME_color.png and NAME_overlay.png.

    Args:
        sources: Images, folders of images, or glob patterns.
        model: Model file (.onnx) or checkpoint (.safetensors); the embedded model if left out.
        output: Folder to write to.
        engine: What runs the network.
        threads: CPU threads; all by default.
        scale: Side of the network's input over the frame's; by default as in training.
        alpha: Opacity of the colours in the overlay, 0 to 1.
    """
    from bisenetv2.images import read_image
    from bisenetv2.inference.segmenter import Segmenter
    from bisenetv2.progress import progress_bar

    if not 0 <= alpha <= 1:
        raise UserError(f"alpha {alpha}: expected 0 to 1")
    paths = [path for source in sources for path in find_images(source)]
    names = output_names(paths)
    segmenter = Segmenter(model, engine, threads=threads, scale=scale)
    failed = 0
    with progress_bar("predict", len(paths), enabled=len(paths) > 1) as bar:
        for path, name in zip(paths, names, strict=True):
            bar.advance()
            try:
                frame = read_image(path)
            except UserError as error:
                print(f"bisenetv2 predict: {error}", file=sys.stderr)
                failed += 1
                continue
            mask = segmenter(frame)
            write_pictures(output / name, frame, mask, segmenter.labels, alpha)
            print(f"{path}: {shares_line(mask, segmenter.labels)}")
    done = len(paths) - failed
    if failed and not done:
        return 2
    print(f"{done} of {len(paths)} segmented, pictures in {output}/")
    return 1 if failed else 0


def find_images(source: str) -> Iterator[Path]:
    """Yields the images behind a path, a folder or a glob pattern, sorted by name.

    Raises:
        UserError: If there is none.
    """
    from bisenetv2.images import IMAGE_SUFFIXES

    path = Path(source)
    if path.is_file():
        yield path
        return
    # Path.glob takes no absolute patterns.
    matches = path.iterdir() if path.is_dir() else map(Path, glob.glob(source))  # noqa: PTH207
    found = sorted(matches)
    images = [file for file in found if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        what = "holds no image" if path.is_dir() else "no such file, and no pattern that finds one"
        raise UserError(f"{source}: {what} ({', '.join(IMAGE_SUFFIXES)})")
    yield from images


def output_names(paths: Sequence[Path]) -> list[str]:
    """Names the outputs by stem, where stems collide by the whole name, then by number."""
    stems = [path.stem for path in paths]
    names: list[str] = []
    for path, stem in zip(paths, stems, strict=True):
        base = name = stem if stems.count(stem) == 1 else path.name.replace(".", "_")
        count = 1
        while name in names:
            count += 1
            name = f"{base}_{count}"
        names.append(name)
    return names


def write_pictures(
    stem: Path, frame: Image, mask: Mask, labels: Labels, alpha: float
) -> tuple[Path, Path, Path]:
    """Writes mask, colours and overlay; returns their paths."""
    from bisenetv2.images import write_image, write_mask
    from bisenetv2.inference.overlay import overlay

    indices, colours, blend = (
        stem.with_name(f"{stem.name}_{kind}.png") for kind in ("mask", "color", "overlay")
    )
    write_mask(indices, mask)
    write_image(colours, labels.colorize(mask))
    write_image(blend, overlay(frame, mask, labels, alpha))
    return indices, colours, blend


def shares_line(mask: Mask, labels: Labels) -> str:
    """Lists the classes of a mask with their shares of the pixels, largest first."""
    from bisenetv2.inference.overlay import class_shares

    return ", ".join(
        f"{name} {100 * share:.1f} %" for name, share in class_shares(mask, labels).items()
    )


def main(arguments: Sequence[str]) -> int:
    """Reads the arguments and runs the verb."""
    return tyro.cli(predict, prog="bisenetv2 predict", args=arguments)
