"""`bisenetv2 import`: bring in a checkpoint of another project.

bisenetv2 import model_final_v2_city.pth -o city.safetensors
bisenetv2 import model.pdparams -o city.safetensors --labels cityscapes
bisenetv2 import mine.pth -o mine.safetensors --labels labels.json --mean 127.5 127.5 127.5
bisenetv2 import mine.pth -o mine.safetensors --entry state_dict_ema
bisenetv2 import backbone_v2.pth -o trunk.safetensors
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from bisenetv2.errors import UserError

if TYPE_CHECKING:
    from bisenetv2.importing.convert import Conversion
    from bisenetv2.importing.foreign_file import ForeignFile


def import_checkpoint(
    file: Annotated[Positional[Path], arg(metavar="FILE")],
    *,
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    entry: str | None = None,
    labels: str | None = None,
    family: str = "auto",
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    bgr: bool = False,
    frame_size: tuple[int, int] | None = None,
    input_scale: float | None = None,
) -> int:
    """Write a checkpoint (.safetensors) from one that another project trained.

    Every tensor of the file is used, or listed with the reason. No code in the file is run.

    Args:
        file: .pth of CoinCheung/BiSeNet or mmsegmentation, .pdparams of PaddleSeg.
        output: .safetensors to write; by default beside the file.
        entry: Name of the weights to take, where the file holds several, as `state_dict_ema`.
        labels: cityscapes, coco-stuff, ade20k, voc, camvid, or a JSON file of labels; by default
            the data set that has this number of classes.
        family: Whose network it is: coincheung-first, coincheung-2020-05, coincheung-2020-09,
            coincheung-2021-07, mmseg or paddleseg; auto finds it by names and shapes.
        mean: Mean of the input, RGB, 0 to 255; by default the project's.
        std: Deviation of the input, RGB, on the same scale.
        bgr: The network was trained on frames with blue first; it is turned to take RGB.
        frame_size: Height and width of the frames it was trained for; by default the project's.
        input_scale: Side of the network's input over such a frame's; by default as the project
            evaluates.
    """
    from bisenetv2.importing.convert import convert, turn_to_rgb
    from bisenetv2.importing.describe import describe, expected_input, find_labels
    from bisenetv2.importing.foreign_file import read_foreign
    from bisenetv2.network.checkpoint import save_checkpoint
    from bisenetv2.network.frames import FrameNetwork, Normalization

    target = output or file.with_suffix(".safetensors")
    if target.resolve() == file.resolve():
        raise UserError(f"{target}: is the file itself; name another with -o")
    foreign = read_foreign(file, entry)
    conversion = convert(foreign, family)
    network = conversion.network
    name, meaning = find_labels(labels, network.config.num_classes, bool(conversion.new))
    usual = expected_input(conversion.family, name)
    normalization = Normalization(mean or usual.mean, std or usual.std)
    if bgr:
        turn_to_rgb(network)
    card = describe(conversion, foreign, name, meaning, frame_size, input_scale)
    save_checkpoint(target, FrameNetwork(network, normalization), card)

    _tell_tensors(foreign, conversion)
    height, width = card.frame_size
    if not conversion.new:
        print(f"labels: {name or labels}, {len(meaning)} classes")
    print(
        f"input: RGB{' (turned from BGR)' if bgr else ''}, mean {_triple(normalization.mean)}, "
        f"deviation {_triple(normalization.std)}, {width}×{height} frames at scale "
        f"{card.input_scale:g}"
    )
    print(f"terms: {card.data_licence}; code: {conversion.family.project.licence}")
    if conversion.new:
        print(
            "no head in the file: it is new, and the family assumed, as generations differ only "
            "there; for `bisenetv2 train … --init`, not to be run"
        )
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


def _tell_tensors(file: ForeignFile, conversion: Conversion) -> None:
    """Prints the family and what became of each tensor."""
    family, network = conversion.family, conversion.network
    config = network.config
    parameters = sum(p.numel() for p in network.without_boosters().parameters())
    boosters = f", booster heads {', '.join(config.boosters)}" if config.boosters else ""
    print(f"{file.path}: {family.reading} ({family.project.name}, {family.when})")
    print(
        f"network: {'no' if conversion.new else config.num_classes} classes, head width "
        f"{config.head_width}, logits at stride {config.logits_stride}, {parameters:,} parameters "
        f"for inference{boosters}"
    )
    print(f"used: {len(conversion.used)} of {len(file.tensors)} tensors")
    groups = Counter((reason, _group(name)) for name, reason in conversion.left_out.items())
    for reason in dict.fromkeys(conversion.left_out.values()):
        names = ", ".join(f"{group} ({n})" for (why, group), n in groups.items() if why == reason)
        print(f"left out: {names}: {reason}")
    if file.beside:
        print(f"left out: {', '.join(file.beside)}: no weights")
    if file.others:
        print(f"left out: {', '.join(file.others)}: other weights, each taken by --entry NAME")
    if conversion.new:
        print(f"new: {', '.join(conversion.new)}: not in the file")


def _group(name: str) -> str:
    """Name of the head or branch a tensor belongs to, or for counters their common ending."""
    counter = "num_batches_tracked"
    return f"*.{counter}" if name.endswith(f".{counter}") else f"{name.partition('.')[0]}.*"


def _triple(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:.2f}" for value in values)
