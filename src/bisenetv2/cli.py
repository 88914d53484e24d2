"""bisenetv2: real-time semantic segmentation with BiSeNet V2.

  bisenetv2 demo                                        segment a rendered street: no data needed
  bisenetv2 predict street.jpg -o out                   segment an image, a folder or a glob
  bisenetv2 predict clip.mp4 -o out                     segment a video, camera:0, rtsp://…
  bisenetv2 serve                                       segment images that come over HTTP
  bisenetv2 info model.onnx                             what a model file says of itself
  bisenetv2 evaluate --data ../shared/camvid            score a model on CamVid's test split
  bisenetv2 compare camvid-fp32 camvid --data DATA      two models on the same frames
  bisenetv2 check ../shared/camvid                      what is wrong with a data set
  bisenetv2 convert-labels labelme/ -o own              labelme, COCO, YOLO, colours to masks
  bisenetv2 train camvid --data ../shared/camvid        train on CamVid
  bisenetv2 train streets --iterations 200              train on rendered streets: no data needed
  bisenetv2 recipes                                     what can be trained by name, by the paper
  bisenetv2 cooldown runs/x                             ship from a trunk (train --schedule trunk)
  bisenetv2 runs                                        list and compare what was trained
  bisenetv2 average a.safetensors b.safetensors -o c.safetensors   mean of two runs' weights
  bisenetv2 export runs/camvid/best.safetensors         write a model file and prove it agrees
  bisenetv2 import model_final_v2_city.pth              bring in a checkpoint of another project
  bisenetv2 benchmark --against plain                   time every stage on this machine

Options of a verb: bisenetv2 VERB --help. Any verb takes --debug, which shows tracebacks.
Exit codes: 0 done, 1 done in part, 2 a mistake in what was given, 130 and 143 stopped by a signal.
"""

from __future__ import annotations

import difflib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from textwrap import indent

from bisenetv2 import __version__
from bisenetv2.errors import StoppedError, UserError, require

# A verb is a module of `commands`, imported when it runs. Its function, which is called like the
# module, declares the options; the module's docstring has examples.

HELP = __doc__ or ""

VERBS = (
    "demo", "predict", "serve", "info", "evaluate", "compare", "check", "train", "recipes",
    "cooldown", "runs", "average", "export", "import", "convert-labels", "benchmark",
)  # fmt: skip

MODULES = {"import": "import_checkpoint", "convert-labels": "convert_labels"}
"""Modules of verbs that are no names in Python; the others are called like their verb."""

EXTRA_OF_PACKAGE = {
    **dict.fromkeys(("torch", "safetensors", "onnx", "onnxscript", "matplotlib"), "train"),
    "onnxruntime": "onnxruntime",
    "av": "video",
}
"""Which extra brings an optional package."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Words after the program's name; `None` takes them from the process.

    Returns:
        Exit code: 0, 1 if only a part was done, 2 if what was given cannot be used.
    """
    # Windows writes files in an old encoding, which lacks what tables and class names are made of.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    # Pillow warns at half the size at which `images` refuses, and of what it cannot read.
    warnings.filterwarnings("ignore", r"Image size \(\d+ pixels\) exceeds limit")
    warnings.filterwarnings("ignore", r"Corrupt EXIF data")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what fails is said in a line of ours
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        print(__version__)
        return 0
    verb, *rest = words
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"did you mean {close[0]}?" if close else f"the verbs are {', '.join(VERBS)}"
        print(f"bisenetv2: unknown verb {verb!r}: {hint}", file=sys.stderr)
        return 2
    try:
        return _run(verb, [word for word in rest if word != "--debug"])
    except BrokenPipeError:  # whoever reads the output has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (UserError, ModuleNotFoundError, MemoryError, OSError) as error:
        line = _in_one_line(error)
        if "--debug" in rest or not line:
            raise
        print(f"bisenetv2 {verb}: {line}", file=sys.stderr)
        return 2
    except StoppedError as error:
        print(f"bisenetv2 {verb}: {error}", file=sys.stderr)
        return 128 + error.signal
    except KeyboardInterrupt:
        print(f"bisenetv2 {verb}: interrupted", file=sys.stderr)
        return 130


def _run(verb: str, words: list[str]) -> int:
    """Runs a verb with the words after it; returns its exit code."""
    name = MODULES.get(verb, verb)
    command = import_module(f"bisenetv2.commands.{name}")
    if "-h" in words or "--help" in words:
        _, _, examples = (command.__doc__ or "").partition("\n\n")
        print(indent(examples, "  "))
    if hasattr(command, "main"):  # reads its arguments itself
        code: int = command.main(words)
    else:
        import tyro

        code = tyro.cli(getattr(command, name), prog=f"bisenetv2 {verb}", args=words)
    return code


def _in_one_line(error: Exception) -> str:
    """Says what the user can do about an error; empty if it is none of the user's."""
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        extra = EXTRA_OF_PACKAGE.get(package)
        return str(require(package, extra)) if extra else ""
    if isinstance(error, MemoryError):
        return f"there is not enough memory {error}".rstrip()
    if isinstance(error, OSError):  # a path that cannot even be looked at, or a disk that fails
        what = f"{error.filename}: " if error.filename is not None else ""
        return f"{what}{error.strerror}; check the path" if error.strerror else ""
    return str(error)
