from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

FILES = ("labels", "builtin_labels", "files", "images", "card", "errors", "cli")
FOLDERS = ("data", "inference", "evaluation", "cli")


def modules_without_torch() -> list[str]:
    """Every module that has to work without torch, except torch's own lazy adapters."""
    names = [f"bisenetv2.{name}" for name in FILES if find_spec(f"bisenetv2.{name}")]
    for folder in FOLDERS:
        spec = find_spec(f"bisenetv2.{folder}")
        if spec is None or spec.submodule_search_locations is None:
            continue
        names += [f"bisenetv2.{folder}"]
        found = pkgutil.walk_packages(spec.submodule_search_locations, f"bisenetv2.{folder}.")
        names += [module.name for module in found]
    adapters = {name for name in names if "torch" in name.rpartition(".")[2]}
    return sorted(set(names) - adapters)


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    """Runs lines of Python in a fresh interpreter."""
    code = "\n".join(("import importlib, sys", *lines))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


IMPORT_ALL = "for name in {names}: importlib.import_module(name)"


def test_the_walk_finds_the_rooms_of_the_house() -> None:
    found = modules_without_torch()
    assert {"bisenetv2.labels", "bisenetv2.images", "bisenetv2.data.dataset"} <= set(found)


def test_everything_that_runs_a_model_imports_where_torch_is_not_installed() -> None:
    names = ["bisenetv2", *modules_without_torch()]
    # `None` in sys.modules makes every `import torch` fail, as on a machine without it.
    outcome = run("sys.modules['torch'] = None", IMPORT_ALL.format(names=names))
    assert outcome.returncode == 0, outcome.stderr


def test_importing_it_all_does_not_load_torch() -> None:
    names = ["bisenetv2", *modules_without_torch()]
    outcome = run(IMPORT_ALL.format(names=names), "assert 'torch' not in sys.modules")
    assert outcome.returncode == 0, outcome.stderr


def test_the_package_itself_loads_neither_numpy_nor_opencv() -> None:
    outcome = run("import bisenetv2", "assert not {'numpy', 'cv2', 'PIL'} & set(sys.modules)")
    assert outcome.returncode == 0, outcome.stderr


def test_the_package_lends_its_labels_lazily_and_denies_what_it_has_not() -> None:
    package = importlib.import_module("bisenetv2")
    assert package.Labels is importlib.import_module("bisenetv2.labels").Labels
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = package.Nothing
