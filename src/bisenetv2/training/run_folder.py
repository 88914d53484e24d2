"""The folder of a run: what lies where, its log, and the configuration that starts it again."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from bisenetv2 import __version__
from bisenetv2.data.catalogue import STREETS
from bisenetv2.data.dataset import Dataset, SpreadSamples
from bisenetv2.errors import UserError
from bisenetv2.files import TEMPORARY, held_folder, write_bytes
from bisenetv2.training.recipe import Recipe

_SUFFIXES = (".safetensors", ".yaml", ".jsonl", ".png")
"""Of the files that a run writes."""

FINGERPRINTED = 4
"""Samples whose pixels a fingerprint covers, spread over the data; it covers all names."""


@dataclass(frozen=True)
class RunFolder:
    """Names of what a run writes, and its log."""

    path: Path

    @property
    def states(self) -> Path:
        """Folder of the states to resume from."""
        return self.path / "last"

    def held(self) -> AbstractContextManager[object]:
        """Keeps other processes from training in the folder; however this one ends, it lets go.

        Where the system locks no folders, as Windows and some network disks, it does nothing.

        Raises:
            UserError: If another process trains in it, or it cannot be made.
        """
        busy = "another process trains in it; stop that, or name another --run"
        return held_folder(self.path, busy)

    def has_state(self) -> bool:
        """Whether there is a state to resume from."""
        return any(self.states.glob("state-*.safetensors"))

    def holds(self) -> str:
        """Says what a new run would overwrite, and what to do; empty where there is nothing."""
        if self.has_state():
            return "a run already; add --resume to go on"
        if self.best.exists():
            return f"{self.best.name}, but no state to go on from; move it away"
        if self.config.exists():
            try:
                RunConfig.read(self.config)
            except UserError:
                return f"a {self.config.name} that is not of a run; move it away"
        return ""

    @property
    def best(self) -> Path:
        """Checkpoint with the best validation so far; the last one without validation."""
        return self.path / "best.safetensors"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def config(self) -> Path:
        """Recipe, data and versions; `bisenetv2 train` takes it for a recipe."""
        return self.path / "config.yaml"

    @property
    def curves(self) -> Path:
        """Picture of loss, rate and validation over the steps."""
        return self.path / "curves.png"

    def log(self, **entry: Any) -> None:
        """Appends a line to the metrics."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def logged(self) -> list[dict[str, Any]]:
        """Returns the metrics so far, in order; damaged lines are left out."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text(errors="replace").splitlines(keepends=True)
        return [json.loads(line) for line in lines if _is_entry(line)]

    def validations(self, split: str) -> list[dict[str, Any]]:
        """Returns those of the metrics that are of the last validation's split.

        Args:
            split: That of entries which do not name theirs, as earlier versions wrote them.
        """
        found = [{"split": split, **entry} for entry in self.logged() if "miou" in entry]
        return [entry for entry in found if entry["split"] == found[-1]["split"]]

    def tidy(self, step: int) -> None:
        """Clears what a killed run left: metrics of steps to be taken again, half-written files."""
        for folder in (self.path, self.states):
            for leftover in folder.glob(f"{TEMPORARY}*"):
                if leftover.suffix in _SUFFIXES:  # an export beside the run may be at work
                    leftover.unlink(missing_ok=True)
        if not self.metrics.exists():
            return
        kept = [json.dumps(entry) + "\n" for entry in self.logged() if entry["step"] <= step]
        write_bytes(self.metrics, "".join(kept).encode())


def _is_entry(line: str) -> bool:
    """Whether a line of the metrics is whole: numbers but for `split`, a step among them."""
    try:
        entry = json.loads(line)
        whole = line.endswith("\n") and "step" in entry and isinstance(entry.get("split", ""), str)
        return whole and all(math.isfinite(v) for name, v in entry.items() if name != "split")
    except (ValueError, TypeError, AttributeError):
        return False


@dataclass(frozen=True)
class RunConfig:
    """What starts a run again."""

    recipe: Recipe

    data: str | None = None
    """Data folder, or `streets`; `None` for data that Python code handed over."""

    init: Path | None = None
    """Checkpoint the run started from."""

    fingerprint: str = ""
    """Of the training data; empty where none was recorded."""

    device: str = ""
    """Model of the GPU or processor; empty where none was recorded."""

    precision: str = ""
    """`float32` or `bfloat16`, as it was computed in; empty where none was recorded."""

    init_sha256: str = ""
    """Hash of the checkpoint, hexadecimal; empty without one, or where none was recorded."""

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Reads a `config.yaml`, or that of a run folder.

        Raises:
            UserError: If it is missing, damaged or of another version.
        """
        path = path / "config.yaml" if path.is_dir() else path
        try:
            content = yaml.safe_load(path.read_text("utf-8"))
            init, data = content.get("init"), content.get("data")
            return cls(
                Recipe.from_fields(content["recipe"]),
                None if data is None else str(data),
                None if init is None else Path(init),
                str(content.get("fingerprint", "")),
                str(content.get("device", "")),
                str(content.get("precision", "")),
                str(content.get("init_sha256", "")),
            )
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the configuration of a run") from error

    def write(self, folder: RunFolder, dataset: Dataset, processes: int = 1) -> None:
        """Writes `config.yaml`: the fields, and what the run's outcome depends on besides."""
        content = {
            "recipe": json.loads(json.dumps(asdict(self.recipe))),
            "data": _absolute(self.data),
            "init": None if self.init is None else str(self.init.absolute()),
            "init_sha256": self.init_sha256,
            "dataset": dataset.name,
            "samples": len(dataset),
            "fingerprint": self.fingerprint,
            "device": self.device,
            "precision": self.precision,
            "processes": processes,
            "threads": torch.get_num_threads(),
            "versions": {
                "bisenetv2": __version__,
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "git": _git_state(),
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_bytes(folder.config, text.encode())


def _absolute(data: str | None) -> str | None:
    if data is None or data == STREETS or not Path(data).exists():
        return data
    return str(Path(data).absolute())


def fingerprint(dataset: Dataset) -> str:
    """Returns 16 hexadecimal digits that change with the samples' names, number or pixels.

    All names count, by their last part, so that a folder may move; of the pixels those of
    `FINGERPRINTED` samples.
    """
    digest = hashlib.blake2b(digest_size=8)
    for index in range(len(dataset)):
        digest.update(os.fsencode(f"{Path(dataset.sample_name(index)).name}\n"))
    spread = SpreadSamples(dataset, FINGERPRINTED)
    for sample in map(spread.__getitem__, range(len(spread))):
        digest.update(sample.image.tobytes() + sample.mask.tobytes())
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Returns the hash of a file, hexadecimal.

    Raises:
        UserError: If it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _git_state() -> str | None:
    """Commit of the repository the code lies in, `-dirty` with changes; `None` outside of one."""
    here = Path(__file__).parent
    command = ("git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
