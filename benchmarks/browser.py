"""Runs the embedded models in WebAssembly, as a browser does, and compares with ONNX Runtime.

    npm install --no-save onnxruntime-web
    python benchmarks/browser.py

Node.js runs the same WebAssembly, on one thread, since pages get more only from servers that send
certain headers.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bisenetv2 import Segmenter
from bisenetv2.data.streets import render_street
from bisenetv2.inference.machine import describe_machine
from bisenetv2.inference.model_file import EMBEDDED_MODELS, find_model

SCRIPT = """
import fs from "node:fs";
import * as ort from "onnxruntime-web";
const [model, frame, height, width, logits] = process.argv.slice(1);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(model)));
const shape = [1, Number(height), Number(width), 3];
const input = new ort.Tensor("uint8", new Uint8Array(fs.readFileSync(frame)), shape);
const times = [];
let output;
for (let run = 0; run < 6; run++) {
  const start = performance.now();
  output = (await session.run({frame: input})).logits;
  times.push(performance.now() - start);
}
fs.writeFileSync(logits, new Uint8Array(output.data.buffer));
console.log(times.slice(1).sort((a, b) => a - b)[2]);
"""


def main() -> None:
    """Runs each embedded model and prints how far it agrees."""
    node = shutil.which("node")
    if node is None or not Path("node_modules/onnxruntime-web").is_dir():
        sys.exit("this needs Node.js, and `npm install --no-save onnxruntime-web` in this folder")
    print(f"{describe_machine()}, onnxruntime-web in WebAssembly, one thread\n")
    print("| model | network's input | ms | cells with the class of ONNX Runtime | "
          "largest difference of a logit |\n|---|---|---:|---:|---:|")  # fmt: skip
    for name in EMBEDDED_MODELS:
        segmenter = Segmenter(name, "onnxruntime")
        frame = segmenter.prepare(render_street(0, 0, (360, 480)).image)  # 1, H', W', 3
        expected = segmenter.infer(frame)  # C, H'/8, W'/8
        with tempfile.TemporaryDirectory() as folder:
            sent, answer = Path(folder) / "frame", Path(folder) / "logits"
            sent.write_bytes(frame.tobytes())
            sizes = [str(side) for side in frame.shape[1:3]]
            words = [node, "--input-type=module", "-e", SCRIPT, "--"]
            words += [str(find_model(name)), str(sent), *sizes, str(answer)]
            milliseconds = float(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
            logits = np.fromfile(answer, np.float32).reshape(expected.shape)
        same = np.mean(logits.argmax(0) == expected.argmax(0))
        print(f"| {name} | {sizes[1]}×{sizes[0]} | {milliseconds:.0f} | {100 * same:.3f} % | "
              f"{np.abs(logits - expected).max():.2g} |")  # fmt: skip


if __name__ == "__main__":
    main()
