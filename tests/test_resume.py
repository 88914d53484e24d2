"""Nothing is lost: runs that are killed, disks that are full, trunks and their cool-downs."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

import bars  # noqa: E402
from bisenetv2.card import ModelCard  # noqa: E402
from bisenetv2.cli import main  # noqa: E402
from bisenetv2.data.streets import RenderedStreets  # noqa: E402
from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.inference.machine import describe_machine  # noqa: E402
from bisenetv2.labels import CAMVID  # noqa: E402
from bisenetv2.network.bisenetv2 import BiSeNetV2  # noqa: E402
from bisenetv2.network.checkpoint import (  # noqa: E402
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from bisenetv2.network.config import BiSeNetV2Config  # noqa: E402
from bisenetv2.network.device import computes_bfloat16  # noqa: E402
from bisenetv2.network.frames import FrameNetwork, Normalization  # noqa: E402
from bisenetv2.training.branch import branch_off  # noqa: E402
from bisenetv2.training.loader import InMemory  # noqa: E402
from bisenetv2.training.loop import train  # noqa: E402
from bisenetv2.training.phases import batches_from, plan_phases  # noqa: E402
from bisenetv2.training.recipe import Recipe  # noqa: E402
from bisenetv2.training.run_folder import RunConfig, RunFolder  # noqa: E402
from bisenetv2.training.steps import Steps  # noqa: E402
from bisenetv2.training.watch import Watch  # noqa: E402
from bisenetv2.training.world import World  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

STREETS = InMemory(RenderedStreets(4, (64, 96), seed=1))
VAL_STREETS = InMemory(RenderedStreets(2, (64, 96), seed=2))
NETWORK = BiSeNetV2Config(width=0.25, head_width=16, booster_width=8, expansion=2)


@pytest.fixture(autouse=True)
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "_board", None)


class Bar(bars.Bar):
    """Calls something at a step."""

    def __init__(self, **actions: Any) -> None:
        self.steps, self.actions = 0, {int(k.removeprefix("at")): v for k, v in actions.items()}

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        self.steps += steps
        if self.steps in self.actions:
            self.actions[self.steps]()


def tiny(**options: Any) -> Recipe:
    defaults: dict[str, Any] = {
        "network": NETWORK, "iterations": 4, "batch": 2, "crop": (32, 64), "val_every": 2,
        "save_every": 2, "average": 0.9, "precision": "float32",
    }  # fmt: skip
    return Recipe(**{**defaults, **options})


def same_tensors(first: Path, second: Path) -> bool:
    ours, theirs = load_file(first), load_file(second)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def killed_and_straight(folder: Path, seed: int, random_deaths: int) -> None:
    script = Path(__file__).with_name("lives.py")
    command = [sys.executable, str(script), str(folder), str(seed), str(random_deaths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    straight, killed = folder / "straight", folder / "killed"
    assert same_tensors(
        straight / "last/state-00000006.safetensors", killed / "last/state-00000006.safetensors"
    )
    assert same_tensors(straight / "best.safetensors", killed / "best.safetensors")
    scores = [[entry for entry in RunFolder(run).logged() if "miou" in entry]
              for run in (straight, killed)]  # fmt: skip
    assert scores[0] == scores[1] and len(scores[0]) == 3
    assert not list(killed.rglob(".*"))  # half-written files are cleared
    assert len(list((killed / "last").iterdir())) == 2


def test_a_run_killed_at_any_moment_ends_with_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    killed_and_straight(tmp_path, seed=0, random_deaths=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_many_deaths_change_nothing(tmp_path: Path, seed: int) -> None:
    killed_and_straight(tmp_path, seed, random_deaths=12)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Lets no file grow beyond a size, as if the disk were full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def send(number: int) -> None:
    """Does what a signal does, in Python alone.

    What a library of another test leaves as this process's stack for signals may be gone by now.
    """
    handler = signal.getsignal(number)
    assert callable(handler)
    handler(number, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_a_state_from_which_it_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    words = ["train", "streets", "--network.width", "0.25", "--crop", "32", "64", "--batch", "2",
             "--overfit", "2", "--iterations", "4", "--save-every", "100",
             "--val-every", "3"]  # fmt: skip
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert main([*words, "--run", str(straight)]) == 0
    take = Steps.take

    def signalled(steps: Steps, batch: Any) -> None:
        take(steps, batch)
        if steps.state.step == 2:
            send(number)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(Steps, "take", signalled)
        assert main([*words, "--run", str(stopped)]) == 128 + number
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == (
        f"bisenetv2 train: {stopped}: stopped at step 2 of 4, which is saved; "
        f"`bisenetv2 train {stopped} --resume` goes on"
    )
    assert [path.name for path in (stopped / "last").iterdir()] == ["state-00000002.safetensors"]
    assert main(["train", str(stopped), "--resume"]) == 0
    for name in ("last/state-00000004.safetensors", "best.safetensors"):
        assert same_tensors(straight / name, stopped / name)


def test_a_second_signal_ends_a_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice(*_: Any) -> None:
        for _ in range(2):
            send(signal.SIGINT)

    monkeypatch.setattr(Steps, "take", twice)
    words = ["train", "streets", "--network.width", "0.25", "--crop", "32", "64", "--batch", "2",
             "--overfit", "2", "--iterations", "4", "--run", str(tmp_path / "x")]  # fmt: skip
    # Shells have what they run in the background ignore it.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(words) == 130
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert capsys.readouterr().err.splitlines()[-1] == "bisenetv2 train: interrupted"
    assert not (tmp_path / "x" / "last").exists()


def test_a_full_disk_stops_the_run_and_names_the_last_good_state(tmp_path: Path) -> None:
    straight, full = tmp_path / "straight", tmp_path / "full"
    train(tiny(), STREETS, None, straight, bar=Bar())
    with pytest.raises(UserError) as caught, files_up_to(1 << 30):
        resource = pytest.importorskip("resource")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        fill = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # noqa: E731
        train(tiny(), STREETS, None, full, bar=Bar(at3=fill))
    text = str(caught.value)
    assert "state-00000004.safetensors: cannot be written" in text
    assert f"the last good state is {full / 'last' / 'state-00000002.safetensors'}" in text
    assert "--resume" in text and "\n" not in text
    assert [path.name for path in (full / "last").iterdir()] == ["state-00000002.safetensors"]
    train(tiny(), STREETS, None, full, resume=True, bar=Bar())
    assert same_tensors(straight / "best.safetensors", full / "best.safetensors")


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    refused = []

    def start_another() -> None:
        with pytest.raises(UserError, match="another process trains in it") as error:
            train(tiny(iterations=6), STREETS, None, tmp_path, resume=True, bar=Bar())
        refused.append(error)

    train(tiny(), STREETS, None, tmp_path, bar=Bar(at3=start_another))
    assert len(refused) == 1
    train(tiny(iterations=6), STREETS, None, tmp_path, resume=True, bar=Bar())


def test_a_run_whose_first_state_could_not_be_written_starts_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no state was saved yet"), files_up_to(1 << 30):
        resource = pytest.importorskip("resource")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        fill = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # noqa: E731
        train(tiny(), STREETS, None, tmp_path, bar=Bar(at1=fill))
    assert train(tiny(), STREETS, None, tmp_path, bar=Bar()).exists()


def test_a_run_goes_on_without_the_checkpoint_it_started_from(tmp_path: Path) -> None:
    network = FrameNetwork(
        BiSeNetV2(replace(NETWORK, num_classes=11)), Normalization((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    )
    init, other = tmp_path / "start.safetensors", tmp_path / "other.safetensors"
    for path in (init, other):
        save_checkpoint(path, network, ModelCard(CAMVID, (64, 96), data="elsewhere"))
    recipe, run = tiny(schedule="trunk", iterations=2), tmp_path / "run"
    train(recipe, STREETS, None, run, init=init, bar=Bar())
    init.unlink()
    with pytest.raises(UserError, match=r"other\.safetensors: a run that goes on has its weights"):
        train(recipe, STREETS, None, run, init=other, resume=True, bar=Bar())
    longer = replace(recipe, iterations=3)
    train(longer, STREETS, None, run, init=init, resume=True, bar=Bar())
    for folder in (run, branch_off(run, None, 1)):
        cooling = RunConfig.read(folder).recipe
        best = train(cooling, STREETS, None, folder, resume=True, bar=Bar())
        model, card = load_checkpoint(best)
        assert model.normalization.mean == (1.0, 2.0, 3.0)
        assert card.data.endswith("starting from weights of elsewhere")


def test_a_trunk_keeps_its_rate_and_a_cooldown_brings_it_down(tmp_path: Path) -> None:
    trunk = tmp_path / "trunk"
    recipe = tiny(schedule="trunk", iterations=20, save_every=20, val_every=20, rate=0.04,
                  progressive_share=0.5)  # fmt: skip
    train(recipe, STREETS, None, trunk, bar=Bar())
    assert RunFolder(trunk).logged()[-1]["rate"] == 0.04
    before = {path: path.stat().st_mtime_ns for path in trunk.rglob("*")}

    folder = branch_off(trunk, None, 20)
    assert folder == tmp_path / "trunk-cooldown-20"
    cooling = RunConfig.read(folder).recipe
    assert (cooling.schedule, cooling.iterations, cooling.hold) == ("poly", 40, 0.5)
    assert same_tensors(
        trunk / "last/state-00000020.safetensors", folder / "last/state-00000020.safetensors"
    )
    train(replace(cooling, val_every=10), STREETS, VAL_STREETS, folder, resume=True, bar=Bar())
    rates = {
        entry["step"]: entry["rate"] for entry in RunFolder(folder).logged() if "rate" in entry
    }
    assert rates == {40: pytest.approx(0.04 * (1 / 20) ** 0.9)}
    assert (folder / "best.safetensors").exists()
    assert before == {path: path.stat().st_mtime_ns for path in trunk.rglob("*")}

    train(replace(recipe, iterations=21), STREETS, None, trunk, resume=True, bar=Bar())  # goes on


def test_a_cooldown_goes_on_with_the_samples_where_its_trunk_is(tmp_path: Path) -> None:
    recipe = tiny(hold=1.0, iterations=10, save_every=10, progressive_share=0.45,
                  progressive_batch=5)  # fmt: skip
    train(recipe, STREETS, None, tmp_path / "trunk", bar=Bar())
    cooling = RunConfig.read(branch_off(tmp_path / "trunk", None, 6)).recipe
    after, trunk = ([b.first for b in batches_from(plan_phases(r, STREETS), 8)]
                    for r in (cooling, recipe))  # fmt: skip
    assert after[: len(trunk)] == trunk
    assert len(after) == 8


def test_a_run_on_streets_goes_on_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("streets").mkdir()
    words = ["train", "streets", "--network.width", "0.25", "--crop", "32", "64", "--batch", "2",
             "--overfit", "2", "--iterations", "1", "--run", "runs/x"]  # fmt: skip
    assert main(words) == 0
    assert RunConfig.read(Path("runs/x")).data == "streets"
    assert main(["train", "runs/x", "--resume", "--iterations", "2"]) == 0


def test_a_cooldown_wants_a_trunk_with_a_state_and_a_free_folder(tmp_path: Path) -> None:
    train(tiny(iterations=1), STREETS, None, tmp_path / "poly", bar=Bar())
    with pytest.raises(UserError, match=r"poly: its rate falls already .* --schedule trunk"):
        branch_off(tmp_path / "poly", None, 5)
    train(tiny(iterations=1, schedule="trunk"), STREETS, None, tmp_path / "trunk", bar=Bar())
    with pytest.raises(UserError, match=r"iterations 0: expected 1 or more"):
        branch_off(tmp_path / "trunk", None, 0)
    branch_off(tmp_path / "trunk", None, 5)
    (tmp_path / "bare").mkdir()
    shutil.copy(tmp_path / "trunk" / "config.yaml", tmp_path / "bare")
    with pytest.raises(UserError, match=r"bare.*no saved state to resume from"):
        branch_off(tmp_path / "bare", None, 5)
    with pytest.raises(UserError, match=r"trunk-cooldown-1: holds a run already; go on with it by"):
        branch_off(tmp_path / "trunk", None, 5)


def test_the_verbs_cool_down_list_and_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    network = ("--network.width", "0.25", "--network.head-width", "16", "--crop", "32", "64")
    assert main(["train", "streets", *network, "--batch", "2", "--iterations", "1", "--val-split",
                 "", "--schedule", "trunk", "--warmup", "0", "--run", "runs/x"]) == 0  # fmt: skip
    assert main(["cooldown", "runs/x", "--iterations", "1"]) == 0
    assert capsys.readouterr().out.endswith("x-cooldown-1/best.safetensors\n")
    assert main(["runs"]) == 0
    listed = capsys.readouterr().out
    assert "1/1" in listed and "2/2" in listed and "runs/x-cooldown-1" in listed
    assert main(["runs", "runs/x", "runs/x-cooldown-1"]) == 0
    compared = capsys.readouterr().out
    assert "schedule: runs/x" in compared and "seed" not in compared
    assert main(["runs", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    Path("runs/foreign").mkdir()
    Path("runs/foreign/config.yaml").write_text("optimizer: adam\n")
    assert main(["runs"]) == 0
    captured = capsys.readouterr()
    assert "runs/x-cooldown-1" in captured.out
    assert captured.err == "left out: runs/foreign/config.yaml: not the configuration of a run\n"
    assert main(["cooldown", "runs/x", "--data", "nowhere", "--run", "runs/y"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
    assert not Path("runs/y").exists()
    assert main(["runs", "nowhere"]) == 2
    assert "nowhere: no such folder of runs" in capsys.readouterr().err


def test_runs_shows_the_best_of_the_last_split_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny(iterations=2, val_every=1)
    train(recipe, STREETS, VAL_STREETS, Path("runs/a"), bar=Bar())
    logged = RunFolder(Path("runs/a")).validations("other")
    assert [entry["split"] for entry in logged] == ["val", "val"]
    with Path("runs/a/metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "split": "test", "miou": 0.125, "pixel_accuracy": 0.5}\n')
    train(replace(recipe, overfit=2), STREETS, None, Path("runs/b"), bar=Bar())
    train(recipe, STREETS, STREETS, Path("runs/c"), bar=Bar())
    train(recipe, STREETS, VAL_STREETS, Path("runs/d"), bar=Bar())
    assert main(["runs"]) == 0
    lines = {line.split("runs/")[1]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert lines.keys() == {"a  (on test)", "b  (on overfit)", "c  (on val, trained on)", "d"}
    assert "12.50 %" in lines["a  (on test)"]
    text = Path("runs/d/metrics.jsonl").read_text()  # an earlier version's
    Path("runs/d/metrics.jsonl").write_text(text.replace('"split": "val", ', ""))
    assert main(["runs", "runs/d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "val"


def test_a_trunk_is_not_cooled_down_while_it_warms_up(tmp_path: Path) -> None:
    recipe = tiny(iterations=2, schedule="trunk", warmup=5)
    train(recipe, STREETS, None, tmp_path / "trunk", bar=Bar())
    with pytest.raises(UserError, match=r"trunk: is at step 2 of a warm-up of 5"):
        branch_off(tmp_path / "trunk", None, 5)


def test_a_cooldown_names_its_folder_from_within_the_trunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(iterations=1, schedule="trunk"), STREETS, None, tmp_path / "trunk", bar=Bar())
    monkeypatch.chdir(tmp_path / "trunk")
    assert branch_off(Path(), None, 5) == tmp_path / "trunk-cooldown-1"


def test_a_cooldown_on_other_data_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train(tiny(iterations=1, schedule="trunk"), STREETS, None, Path("x"), bar=Bar(), data="streets")
    assert main(["cooldown", "x", "--iterations", "1", "--run", "y"]) == 2
    assert "rendered streets: not the data the run began with" in capsys.readouterr().err
    assert not Path("y").exists()


def test_settings_that_differ_from_the_runs_own_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(iterations=2), STREETS, None, tmp_path, bar=Bar())
    before = (tmp_path / "config.yaml").read_text()
    train(tiny(iterations=2, seed=5), STREETS, None, tmp_path, resume=True, bar=Bar())
    assert capsys.readouterr().err == (
        f"{tmp_path}: is finished, at step 2 with seed 0, not 5; a larger --iterations goes on\n"
    )
    assert (tmp_path / "config.yaml").read_text() == before  # nothing was trained with it
    train(tiny(iterations=2), STREETS, None, tmp_path, resume=True, bar=Bar())
    assert capsys.readouterr().err == (
        f"{tmp_path}: is finished, at step 2; a larger --iterations goes on\n"
    )
    with pytest.raises(UserError, match=r"has taken 2 steps already; give --iterations of as many"):
        train(tiny(iterations=1), STREETS, None, tmp_path, resume=True, bar=Bar())
    train(tiny(iterations=3, batch=3), STREETS, None, tmp_path, resume=True, bar=Bar())
    assert "goes on with iterations 3 (was 2), batch 3 (was 2); " in capsys.readouterr().err
    assert RunConfig.read(tmp_path).recipe.batch == 3


def test_what_a_run_computes_on_is_recorded_and_a_change_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny(iterations=1, precision="auto")
    train(recipe, STREETS, None, tmp_path, bar=Bar())
    config = RunConfig.read(tmp_path)
    assert config.device == describe_machine().processor != ""
    here = computes_bfloat16(torch.device("cpu"), "auto")
    assert config.precision == ("bfloat16" if here else "float32")
    monkeypatch.setattr(World, "device_name", "another CPU")
    other = replace(recipe, iterations=2)
    train(other, STREETS, None, tmp_path, resume=True, bar=Bar())
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == (
        f"{tmp_path}: goes on with another CPU in {config.precision}, was on {config.device} in "
        f"{config.precision}: not to the same bits"
    )
    train(replace(recipe, iterations=3), STREETS, None, tmp_path, resume=True, bar=Bar())
    assert "same bits" not in capsys.readouterr().err
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("device: another CPU\n", ""))  # as earlier
    train(replace(recipe, iterations=4), STREETS, None, tmp_path, resume=True, bar=Bar())
    assert "same bits" not in capsys.readouterr().err


def test_a_run_started_again_says_what_is_not_as_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init, run = tmp_path / "start.safetensors", tmp_path / "run"
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = FrameNetwork(BiSeNetV2(replace(NETWORK, num_classes=11)))
        save_checkpoint(init, network, ModelCard(CAMVID, (64, 96), data="elsewhere"))
        if seed == 1:
            words = ["--crop", "32", "64", "--batch", "2", "--overfit", "2", "--iterations", "1"]
            assert main(["train", "streets", *words, "--init", str(init), "--run", str(run)]) == 0
            digest = hashlib.sha256(init.read_bytes()).hexdigest()
            assert RunConfig.read(run).init_sha256 == digest
            again = ["train", str(run / "config.yaml")]
            assert main([*again, "--run", str(tmp_path / "same")]) == 0
            assert "another run" not in capsys.readouterr().err
    assert main([*again, "--run", str(tmp_path / "other"), "--overfit", "3"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "another run" in line]
    assert told[0].startswith("streets: not the data that the configuration recorded (fingerprint")
    assert told[1].startswith(f"{init}: not what the configuration starts from (SHA-256 ")
    assert f"recorded {digest[:12]}" in told[1] and len(told) == 2
    assert main(["train", str(run), "--resume", "--iterations", "2"]) == 0
    assert RunConfig.read(run).init_sha256 == digest  # which is lost by now


@pytest.mark.parametrize("damage", ["cut", "no run", "no step"])
def test_a_damaged_state_is_named_and_the_one_before_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    recipe = tiny(iterations=2, save_every=1)
    train(recipe, STREETS, None, tmp_path, bar=Bar())
    newest = tmp_path / "last" / "state-00000002.safetensors"
    if damage == "cut":
        newest.write_bytes(newest.read_bytes()[:-1])
    else:
        tensors, metadata = read_tensors(newest)
        run = {"no run": {}, "no step": {"run": '{"best_miou": 0.1}'}}[damage]
        write_tensors(newest, tensors, {**metadata, "run": "", **run})
    capsys.readouterr()
    bar = Bar()
    train(recipe, STREETS, None, tmp_path, resume=True, bar=bar)
    assert bar.steps == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith(f"{newest}: ") and line.endswith("; going on from step 1")


def test_lines_of_the_log_that_are_damaged_are_left_out(tmp_path: Path) -> None:
    whole = {"step": 3, "loss": 1.5, "rate": 0.1}
    lines = [json.dumps(whole), '{"step": 4, "miou": null}', '{"loss": 1}', "[1]", '{"step": NaN}',
             '{"step": 4, "split": 1}']  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 5']))
    assert RunFolder(tmp_path).logged() == [whole]


@pytest.mark.parametrize("verb", ["train", "cooldown"])
def test_a_number_of_threads_that_cannot_be_is_refused(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = "streets" if verb == "train" else str(tmp_path)
    assert main([verb, what, "--threads", "0", "--run", str(tmp_path / "y")]) == 2
    assert "threads 0: expected 1 or more" in capsys.readouterr().err


def test_a_configuration_with_a_date_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: 2024-13-45\n")
    with pytest.raises(UserError, match="not the configuration of a run"):
        RunConfig.read(tmp_path)


def test_patience_ends_a_run_that_no_longer_improves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bisenetv2.training import session

    found = iter([0.3, 0.2, 0.4, 0.1, 0.2, 0.9])

    class Scored:
        pixel_accuracy = 0.5

        def __init__(self) -> None:
            self.mean_iou = next(found)

    monkeypatch.setattr(
        session, "validate", lambda *_: SimpleNamespace(matrix=Scored(), merit="fair")
    )
    monkeypatch.setattr(Watch, "show", lambda *_: None)
    recipe, bar = tiny(iterations=6, val_every=1, save_every=1, patience=2), Bar()
    train(recipe, STREETS, VAL_STREETS, tmp_path, bar=bar)
    assert bar.steps == 5
    assert [entry["step"] for entry in RunFolder(tmp_path).logged() if "loss" in entry] == [5]
    assert capsys.readouterr().err == (
        f"{tmp_path}: stopped early, at step 5: 2 validations in a row without a better one "
        "(--patience)\n"
    )
    again, before = Bar(), (tmp_path / "config.yaml").read_text()
    slow = replace(recipe, rate=0.001)
    train(slow, STREETS, VAL_STREETS, tmp_path, resume=True, bar=again)
    assert again.steps == 5  # nor does it go on
    assert (tmp_path / "config.yaml").read_text() == before
    assert capsys.readouterr().err == (
        f"{tmp_path}: is finished, at step 5 with rate 0.05, not 0.001; a larger --patience goes "
        "on\n"
    )
