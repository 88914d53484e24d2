"""A benchmark as text: Markdown tables that a person can paste, with all that qualifies them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

from bisenetv2.inference.benchmark import FILE_TO_PICTURE, FRAME_TO_MASK, NETWORK, READ, UPSAMPLE
from bisenetv2.inference.machine import Machine

WIDTH = 100
"""Columns of running text."""

SLOWEST = 12
"""Layers listed one by one."""


def report(result: Mapping[str, Any]) -> str:
    """Writes out what `bisenetv2 benchmark --json` prints as an object."""
    parts = [_heading(result), _stages(result), _roads(result)]
    if result.get("against"):
        parts.append(_ratios(result))
    if result["peak"]:
        parts.append(_peak(result))
    if result["layers"]:
        parts += _layers(result)
    return "\n\n".join(parts)


def _heading(result: Mapping[str, Any]) -> str:
    model, machine = result["model"], Machine(**result["machine"])
    preset = f"preset {result['preset']}, " if result["preset"] else ""
    frame, seen = _size(result["frame"]), _size(result["network_input"])
    lines = [
        f"{preset}frame {frame} → network {seen} → mask {frame}; {result['frames']}; "
        f"frames timed: {result['runs']}, after {result['warmup']} of warm-up; {_threads(result)}",
        f"model {model['file']}, trained on {model['trained_on']}: {_cost(model)}",
        f"machine {machine}",
        f"{result['date']}, bisenetv2 {result['bisenetv2']}",
    ]
    if not model["trained"]:
        lines.append(
            "untrained: timings of the network are valid, those of upsample-argmax are not "
            "(noise logits)"
        )
    lines += [f"left out: {name} ({why})" for name, why in result["left_out"].items()]
    return "\n".join(lines)


def _stages(result: Mapping[str, Any]) -> str:
    road = result["roads"][0]
    rows = []
    for name, summary in road["stages"].items():
        shown = name
        if name == READ:
            shown = f"{name} ({result['read_from']})"
        elif name == NETWORK and UPSAMPLE not in road["stages"]:
            shown = f"{name} with {UPSAMPLE}"
        elif name in (FRAME_TO_MASK, FILE_TO_PICTURE):
            shown = f"**{name}**"
        median, p95 = summary["median_ms"], summary["p95_ms"]
        rows.append((shown, f"{median:.2f}", f"{p95:.2f}", f"{1000 / median:.1f}"))
    heading = (f"{road['road']}, {road['precision']}", "median ms", "p95 ms", "frames/s")
    return _table(heading, rows)


def _roads(result: Mapping[str, Any]) -> str:
    model = result["model"]
    rows = []
    for road in result["roads"]:
        whole, network = road["stages"][FRAME_TO_MASK], road["stages"][NETWORK]
        equal = road["equal_to_first"]
        rows.append(
            {
                "road": road["road"],
                "version": road["version"],
                "precision": road["precision"],
                "GMAC": "?" if model["macs"] is None else f"{model['macs'] / 1e9:.2f}",
                "M parameters": f"{model['parameters'] / 1e6:.2f}" if model["parameters"] else "?",
                "head width": str(model["head_width"] or "?"),
                "network ms": f"{network['median_ms']:.1f}",
                "frame to mask ms": f"{whole['median_ms']:.1f}",
                "p95 ms": f"{whole['p95_ms']:.1f}",
                "frames/s": f"{1000 / whole['median_ms']:.1f}",
                "% of pixels as first": "" if equal is None else f"{100 * equal:.3f}",
            }
        )
    return _table(list(rows[0]), [list(row.values()) for row in rows])


def _ratios(result: Mapping[str, Any]) -> str:
    against = result["against"]
    ratios = against["ratios"]
    road = result["roads"][-1]
    text = (
        f"frame to mask is {against['median_ratio']:.2f} times as fast as the {road['road']} road "
        f"(median of {len(ratios)} frames, {min(ratios):.2f} to {max(ratios):.2f}). "
    )
    if road["equal_to_first"] is None:
        text += (
            "The plain road's network has the same shape and weights of its own, since the file's "
            "cannot be read back: its time is valid, its masks are not compared. "
        )
    text += "Frame by frame: " + " ".join(f"{ratio:.2f}" for ratio in ratios)
    return "\n".join(wrap(text, WIDTH))


def _peak(result: Mapping[str, Any]) -> str:
    peak, model = result["peak"], result["model"]
    floor = 1000 * model["macs"] / peak["macs_per_second"]
    text = (
        f"The network computes {peak['network_macs_per_second'] / 1e9:.1f} GMAC/s, "
        f"{100 * peak['network_share']:.0f} % of the machine's {peak['precision']} convolution "
        f"peak: {peak['macs_per_second'] / 1e9:.1f} GMAC/s, 3×3 convolutions of 128 to 128 "
        f"channels at 128×64, one after the other ({peak['kernel']}, {_threads(peak)}). "
        f"At the peak it would take {floor:.1f} ms."
    )
    return "\n".join(wrap(text, WIDTH))


def _layers(result: Mapping[str, Any]) -> list[str]:
    """Where the network's time goes: by kind, then layer by layer."""
    layers, peak = result["layers"], result["peak"]["macs_per_second"]
    whole = sum(layer["milliseconds"] for layer in layers)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for layer in layers:
        groups[layer["kind"], layer["kernel"]].append(layer)

    def row(name: str, kernel: str, members: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        milliseconds, macs = (
            sum(layer[key] for layer in members) for key in ("milliseconds", "macs")
        )
        gmac = f"{macs / 1e9:.2f}" if macs else ""
        share = f"{100 * macs / (milliseconds / 1000) / peak:.0f}" if macs else ""
        time = f"{milliseconds:.2f}", f"{100 * milliseconds / whole:.1f}"
        return name, kernel, *time, gmac, share

    slowest = sorted(groups.items(), key=lambda group: -sum(x["milliseconds"] for x in group[1]))
    kinds = [row(f"{len(m)} × {kind}", kernel, m) for (kind, kernel), m in slowest]
    heading = "kernel", "ms", "% of time", "GMAC", "% of peak"
    text = (
        f"Layer by layer, the clocks included, the network takes {whole:.1f} ms; by kind, then the "
        f"{SLOWEST} slowest:"
    )
    return [
        "\n".join(wrap(text, WIDTH)),
        _table(("layers", *heading), kinds),
        _table(
            ("layer", *heading),
            [row(layer["name"], layer["kernel"], [layer]) for layer in layers[:SLOWEST]],
        ),
    ]


def _cost(model: Mapping[str, Any]) -> str:
    cost = "cost unknown without openvino"
    if model["macs"] is not None:
        folded = " with batch normalisation folded in" if model["folded"] else ""
        cost = f"{model['macs'] / 1e9:.2f} GMAC, {model['parameters']:,} parameters{folded}"
    return f"{cost}, head width {model['head_width'] or 'unknown'}, {model['classes']} classes"


def _threads(result: Mapping[str, Any]) -> str:
    threads = result["threads"]
    if threads is None:
        return "threads as the engine chooses"
    return "1 thread" if threads == 1 else f"{threads} threads"


def _size(size: Sequence[int]) -> str:
    return f"{size[1]}×{size[0]}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Sets a Markdown table, its columns aligned for reading as plain text."""
    columns = list(zip(heading, *rows, strict=True))
    left, *right = (max(map(len, column)) for column in columns)
    cells = [[cell.ljust(left) for cell in columns[0]]]
    cells += [
        [c.rjust(width) for c in column] for column, width in zip(columns[1:], right, strict=True)
    ]
    top, *lines = (f"| {' | '.join(line)} |" for line in zip(*cells, strict=True))
    rule = "|".join(["-" * (left + 2), *("-" * (width + 1) + ":" for width in right)])
    return "\n".join([top, f"|{rule}|", *lines])
