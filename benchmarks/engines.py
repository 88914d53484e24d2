"""Every engine at the paper's three operating points, V2 and V2-Large.

    python benchmarks/engines.py
    python benchmarks/engines.py --model model.onnx --runs 20

For each row it runs `bisenetv2 benchmark --engines all`. V2 is the given (or the embedded) model;
V2-Large is untrained, which its times of the network do not feel.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from bisenetv2.cli import main as bisenetv2
from bisenetv2.inference.benchmark import PRESETS


def main(
    *,
    model: Path | None = None,
    threads: int | None = None,
    runs: int = 50,
    large_runs: int = 10,
) -> int:
    """Prints the tables of every row; ends with the first exit code that is not 0.

    Args:
        model: V2; the embedded model if left out.
        threads: CPU threads of every engine.
        runs: Frames of V2 to time.
        large_runs: Frames of V2-Large to time.
    """
    base = [*([str(model)] if model else []), "--runs", str(runs)]
    large = ["--size", "large", "--warmup", "2", "--runs", str(large_runs)]
    common = ["--engines", "all", *(["--threads", str(threads)] if threads else [])]
    for preset in PRESETS:
        for network, options in (("V2", base), ("V2-Large", large)):
            words = [*options, "--preset", preset, *common]
            command = " ".join(["bisenetv2", "benchmark", *words])
            print(f"### {network}, {preset}\n\n    {command}\n", flush=True)
            code = bisenetv2(["benchmark", *words])
            if code:
                return code
            print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
