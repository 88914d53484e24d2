"""Runs the commands that stand in a results file and puts what they print in place of the old.

    python benchmarks/write_results.py
    python benchmarks/write_results.py Training "Cold start"
    python benchmarks/write_results.py --to benchmarks/RESULTS_AVX2.md

A section of the file is a heading, a sentence, a command, and what it printed, with machine and
date; named by their headings, some run and the others stay as they are. For another kind of machine
begin with a copy of a file. All of `RESULTS.md` takes up to forty minutes on two cores; leave the
machine alone meanwhile. A trial of recipes takes half an hour or more.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import tyro
from tyro.conf import Positional

from bisenetv2 import __version__
from bisenetv2.files import write_bytes
from bisenetv2.inference.machine import describe_machine

ROOT = Path(__file__).resolve().parents[1]


def main(
    sections: Positional[tuple[str, ...]] = (), *, to: Path = ROOT / "benchmarks/RESULTS.md"
) -> None:
    """Runs sections and writes the file after each.

    Args:
        sections: Their headings; all of the file if left out.
        to: The results file.
    """
    header, *parts = to.read_text().split("\n## ")
    titles = [part.partition("\n")[0] for part in parts]
    if unknown := set(sections) - set(titles):
        sys.exit(f"no section {', '.join(unknown)}: {to} has {', '.join(titles)}")
    for index, title in enumerate(titles):
        if not sections or title in sections:
            print(title, file=sys.stderr, flush=True)
            parts[index] = run_again(parts[index])
            write_bytes(to, "\n## ".join([header, *parts]).encode())


def run_again(section: str) -> str:
    """Runs a section's command and returns the section with what it printed."""
    found = re.match(r".*?```sh\n(.*?)\n```\n", section, re.DOTALL)
    assert found is not None, section
    program, *words = shlex.split(found[1])
    module = ["-m", "bisenetv2"] if program == "bisenetv2" else []
    command = [sys.executable, *module, *words]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    stand = f"{date.today().isoformat()}, bisenetv2 {__version__}, {describe_machine()}:"
    printed = done.stdout.strip().replace(f"{ROOT}/", "")  # the same wherever the copy lies
    return f"{found[0]}\n{stand}\n\n{printed}\n"


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
