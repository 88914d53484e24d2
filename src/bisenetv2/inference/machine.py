"""What a timing was taken on: processor, cores this process may use, memory, system, Python."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")

INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_int8": "AMX",
    "asimd": "NEON",
    "asimddp": "dot product",
    "i8mm": "I8MM",
}
"""Linux's names of the instruction sets that decide a network's speed, and their common names."""

CGROUP_LIMITS = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
"""Where a container's share of the processors stands, in versions 2 and 1 of Linux's cgroups."""


@dataclass(frozen=True)
class Machine:
    """A description short enough to stand beside every figure."""

    processor: str
    """Name of the processor, as the system gives it; a virtual machine may give a vague one."""

    instructions: tuple[str, ...]
    """Instruction sets that decide a network's speed; empty where the system does not tell."""

    cores: int
    """Logical processors this process may use: affinity and a container's limit count."""

    memory: int | None
    """Bytes of main memory, `None` if unknown."""

    system: str
    """Operating system with its version."""

    python: str
    """Version of Python."""

    def __str__(self) -> str:
        sets = f" ({', '.join(self.instructions)})" if self.instructions else ""
        memory = f", {self.memory / 2**30:.0f} GiB" if self.memory else ""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{self.processor}{sets}, {cores}{memory}, {self.system}, Python {self.python}"


def describe_machine() -> Machine:
    """Describes the machine this process runs on."""
    facts = _cpu_facts()
    flags = facts.get("flags", facts.get("Features", "")).split()
    return Machine(
        processor=_processor(facts),
        instructions=tuple(name for flag, name in INSTRUCTIONS.items() if flag in flags),
        cores=available_cores(),
        memory=_memory(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def available_cores() -> int:
    """Counts the logical processors this process may use, at least 1."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    limit = _cgroup_limit()
    return max(1, cores if limit is None else min(cores, int(limit)))


def _cgroup_limit() -> float | None:
    """Processors a container may keep busy, `None` without a limit."""
    unified, quota = CGROUP_LIMITS
    try:
        files = [unified] if unified.is_file() else [quota, quota.with_name("cpu.cfs_period_us")]
        busy, period = " ".join(file.read_text() for file in files).split()
        return float(busy) / float(period) if busy not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _cpu_facts() -> dict[str, str]:
    """Reads what Linux tells of its first processor; empty elsewhere."""
    try:
        first = CPU_INFO.read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _processor(facts: dict[str, str]) -> str:
    if "model name" in facts:
        # Clouds shorten the name; family and model still tell the generation.
        family = f"family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"
        return f"{facts['model name']} {family}"
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return done.stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, others not these names
        return None
