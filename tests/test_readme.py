"""README and docs keep their promises: commands exist, Python runs, links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from bisenetv2 import Segmenter
from bisenetv2.cli import VERBS, main

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
README = "\n".join(page.read_text() for page in PAGES)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    line.split("&&")[-1].strip()
    for block in blocks("sh")
    for line in block.splitlines()
    if "bisenetv2 " in line
]
# Those in text and tables, with more than a verb; some are broken over lines.
COMMANDS += re.findall(r"`((?:torchrun [^`]*)?bisenetv2\s+[^`\s]+\s[^`…]+)`", README)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_and_its_options_exist(command, capsys):
    words = shlex.split(command)
    verb, *words = words[words.index("bisenetv2") + 1 :]  # torchrun may stand before it
    assert verb in VERBS
    # A run folder takes the options of any recipe.
    recipe = ["folder" if "/" in words[0] else words[0]] if verb == "train" else []
    with pytest.raises(SystemExit) as stop:
        main([verb, *recipe, "--help"])
    assert stop.value.code == 0
    options = capsys.readouterr().out
    for word in words:
        if word.startswith("-"):
            assert word in options


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"@[A-Z]+@|TODO|FIXME", README)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if "BiSeNetV2(" in code:
        pytest.importorskip("torch")
    if "onnxruntime" in code:
        pytest.importorskip("onnxruntime")
    exec(compile(code, "README.md or docs", "exec"), {})


@pytest.mark.parametrize("size", [(360, 480), (720, 960), (1080, 1920), (200, 300)])
def test_the_documented_way_without_us_gives_our_mask(size):
    pytest.importorskip("onnxruntime")
    found = {}
    code = next(code for code in blocks("python") if "onnxruntime" in code)
    assert "(720, 960)" in code
    exec(code.replace("(720, 960)", str(size)), found)
    ours = Segmenter("camvid", "onnxruntime")(found["frame"])
    assert (found["mask"] == ours).mean() > 0.999


LINKS = [
    (page.relative_to(ROOT), link)
    for page in PAGES
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    if ":" not in link
]


@pytest.mark.parametrize(("page", "link"), LINKS, ids=str)
def test_link_leads_to_a_file(page, link):
    assert (ROOT / page.parent / link).exists()
