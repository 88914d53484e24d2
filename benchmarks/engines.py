"""Every engine at the paper's three operating points, V2 and V2-Large.

    python benchmarks/engines.py
    python benchmarks/engines.py --model model.onnx --runs 20

For each row it runs `bisenetv2 benchmark --engines all`. V2 is the given (or the embedded) model;
V2-Large is untrained, which its times of the network do not feel.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bisenetv2.cli import main as bisenetv2
from bisenetv2.inference.benchmark import PRESETS


def main() -> int:
    """Prints the tables of every row; ends with the first exit code that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="V2; the embedded model if left out")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--large-runs", type=int, default=10)
    options = parser.parse_args()
    threads = ["--threads", str(options.threads)] if options.threads else []
    model = [str(options.model)] if options.model else []
    for preset in PRESETS:
        common = ["--preset", preset, "--engines", "all", *threads]
        rows = {
            f"V2, {preset}": [*model, *common, "--runs", str(options.runs)],
            f"V2-Large, {preset}": [
                *common,
                "--size",
                "large",
                "--warmup",
                "2",
                "--runs",
                str(options.large_runs),
            ],
        }
        for title, words in rows.items():
            print(f"### {title}\n\n    bisenetv2 benchmark {' '.join(words)}\n", flush=True)
            code = bisenetv2(["benchmark", *words])
            if code:
                return code
            print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
