"""Memory that a training keeps between its steps."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")

STEPS = """
import resource, sys, torch
from bisenetv2.training.memory import keep_freed_memory

def step():
    tensors = [torch.ones(48, 1024, 256) for _ in range(3)]

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(40):  # until there are holes that fit, whatever small things lie between
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is kept is glibc's")
def test_steps_touch_no_new_memory() -> None:
    def faults(choice: str) -> int:
        command = [sys.executable, "-c", STEPS, choice]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # Above 32 MiB glibc never keeps by itself. 4 steps of 3 tensors of 48 MiB are 147,456 pages of
    # 4 KiB, fewer where pages are huge.
    assert faults("keep") * 10 < faults("give back")
