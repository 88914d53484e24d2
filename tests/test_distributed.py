"""Several processes train as one would: the same losses, the same checkpoint, a clean end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from torch import nn  # noqa: E402

from bisenetv2.data.augment import Augmentation  # noqa: E402
from bisenetv2.data.streets import RenderedStreets  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.training.batch_norm import synchronised  # noqa: E402
from bisenetv2.training.loader import Batches, InMemory  # noqa: E402
from bisenetv2.training.phases import plan_phases  # noqa: E402
from bisenetv2.training.recipe import Recipe  # noqa: E402
from bisenetv2.training.run_folder import RunFolder  # noqa: E402
from bisenetv2.training.world import World  # noqa: E402

NETWORK = BiSeNetV2Config(width=0.25, head_width=16, booster_width=8, expansion=2)
STREETS = InMemory(RenderedStreets(5, (64, 96), seed=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ranks.py` left."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, str(Path(__file__).with_name("ranks.py")), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


def losses(run: Path, rank: int = 0) -> list[float]:
    content: list[float] = json.loads((run / f"losses-{rank}.json").read_text())
    return content


def test_two_processes_see_the_losses_of_one_at_the_same_global_batch(folder: Path) -> None:
    assert losses(folder / "two", 0) == losses(folder / "two", 1)
    np.testing.assert_allclose(losses(folder / "two"), losses(folder / "one"), atol=2e-3)


def test_two_processes_leave_the_checkpoint_of_one(folder: Path) -> None:
    for name in ("last/state-00000002.safetensors", "best.safetensors"):
        one, two = load_file(folder / "one" / name), load_file(folder / "two" / name)
        assert one.keys() == two.keys()
        for key in one:
            torch.testing.assert_close(one[key], two[key], rtol=1e-3, atol=1e-3, msg=key)
    scores = [[line["miou"] for line in RunFolder(folder / run).logged() if "miou" in line]
              for run in ("one", "two")]  # fmt: skip
    np.testing.assert_allclose(*scores, atol=2e-3)


def test_when_a_process_dies_the_other_ends_in_words_and_the_run_goes_on(folder: Path) -> None:
    said = (folder / "stderr").read_text()
    assert "0: process 0: another process of this run ended" in said and "--resume" in said
    expected = load_file(folder / "two" / "last/state-00000002.safetensors")
    found = load_file(folder / "died" / "last/state-00000002.safetensors")
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_shared_validation_counts_what_one_process_counts(folder: Path) -> None:
    count = 3  # one of them has no frame
    alone = np.load(folder / "matrix-1-0.npy")
    assert alone.dtype == np.int64 and alone.sum() > 0
    for rank in range(count):
        assert (np.load(folder / f"matrix-{count}-{rank}.npy") == alone).all()
    merits = [(folder / f"merit-{count}-0").read_text(), (folder / "merit-1-0").read_text()]
    assert merits[0] == merits[1] != ""


def test_parts_of_a_batch_count_alike_in_one_process_and_in_two(folder: Path) -> None:
    alone, shared = (load_file(folder / f"parts-{n}" / "last/state-00000001.safetensors")
                     for n in (1, 2))  # fmt: skip
    assert losses(folder / "parts-2") == pytest.approx(losses(folder / "parts-1"), rel=1e-3)
    names = [name for name in alone if name.startswith("momentum.")]  # after one step the gradient
    one, two = (torch.cat([state[name].flatten() for name in names]) for state in (alone, shared))
    # Not to the last bit: the pixels of a part are counted with those of another process's part.
    assert (one - two).norm() < 0.05 * one.norm()


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_shares_of_a_batch_are_the_batch_without_repeats(processes: int) -> None:
    def share(rank: int, count: int, step: int) -> tuple[str, ...]:
        augmentation = Augmentation((32, 32))
        return Batches(STREETS, augmentation, 4, 3, shard=(rank, count))[step].names

    for step in range(3):
        shared = [name for rank in range(processes) for name in share(rank, processes, step)]
        assert tuple(shared) == share(0, 1, step)


@pytest.mark.parametrize(
    ("processes", "accumulate", "sync"), [(3, 1, False), (4, 2, False), (8, 2, True)]
)
def test_a_batch_that_cannot_be_shared_out_is_refused(
    processes: int, accumulate: int, sync: bool
) -> None:
    recipe = Recipe(BiSeNetV2Config(), batch=8, accumulate=accumulate, sync_bn=sync, crop=(32, 32))
    with pytest.raises(UserError, match=rf"batch 8 over {processes} process\(es\) .* multiple of"):
        plan_phases(recipe, STREETS, shard=(0, processes))


@pytest.mark.parametrize(
    ("cores", "processes", "threads"), [(1, 1, 2), (8, 1, 8), (8, 2, 4), (128, 1, 16), (128, 16, 8)]
)
def test_beside_a_gpu_each_process_loads_with_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, threads: int
) -> None:
    monkeypatch.setattr("bisenetv2.training.world.available_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert World(torch.device("cuda")).loaders == threads


def test_on_a_cpu_as_many_threads_load_as_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bisenetv2.training.world.available_cores", lambda: 64)
    for threads, loaders in ((1, 2), (4, 4), (40, 16)):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=threads: count)
        assert World(torch.device("cpu")).loaders == loaders


def test_gpus_get_the_library_s_synchronised_bn_under_the_same_names() -> None:
    network = BiSeNetV2(NETWORK)
    names = list(network.state_dict())
    kinds = {type(module) for module in synchronised(network, torch.device("cuda")).modules()}
    assert nn.SyncBatchNorm in kinds and nn.BatchNorm2d not in kinds
    assert list(network.state_dict()) == names


@pytest.mark.slow
def test_torchrun_starts_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m",
               "--", "bisenetv2", "train", "streets", "--iterations", "2", "--crop", "64", "64",
               "--batch", "4", "--network.width", "0.25", "--val-every", "2", "--sync-bn",
               "--threads", "1", "--run", str(tmp_path / "run")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "run" / "best.safetensors")]
