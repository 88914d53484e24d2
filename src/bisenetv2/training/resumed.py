"""What a run that goes on must have in common with the run as it began, and what may differ."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bisenetv2.data.dataset import Dataset
from bisenetv2.errors import UserError
from bisenetv2.training.run_folder import RunConfig, RunFolder
from bisenetv2.training.state import RunState, StoredState


def recorded(folder: RunFolder) -> RunConfig | None:
    """What a run's configuration says; `None` where it is lost: the state alone can go on."""
    try:
        return RunConfig.read(folder.path)
    except UserError:
        return None


def own_init(stored: StoredState, given: Path | None) -> Path | None:
    """Returns the checkpoint that the run started from.

    Raises:
        UserError: If another one is given, which comes too late.
    """
    known = stored.metadata.get("init")
    init = None if known is None else Path(known)
    if given is not None and given.absolute() != init:
        raise UserError(
            f"{given}: a run that goes on has its weights; leave --init out, or start a new run "
            "with another --run"
        )
    return init


def check_same_data(recorded: RunConfig | None, fingerprint: str, dataset: Dataset) -> None:
    """Holds data to that of the run.

    Args:
        recorded: What the run's configuration says.
        fingerprint: Of the data; see `run_folder.fingerprint`.
        dataset: The data, to be named.

    Raises:
        UserError: If it is other data.
    """
    if recorded and recorded.fingerprint not in ("", fingerprint):
        raise UserError(
            f"{dataset.name}: not the data the run began with (fingerprint {fingerprint}, "
            f"recorded {recorded.fingerprint}); name that, or start a new run with --init"
        )


def take_over(state: RunState, stored: StoredState, run: Path, iterations: int) -> None:
    """Brings a state to where a run stands.

    Raises:
        UserError: If it is of another network, or further than the run is to go.
    """
    try:
        state.restore(stored)
    except UserError as error:
        kept = f"`bisenetv2 train {run} --resume` keeps the run's own settings"
        raise UserError(f"{error}; {kept}") from error
    if state.step > iterations:
        raise UserError(
            f"{run}: has taken {state.step} steps already; give --iterations of as many or more"
        )


def differences(
    recorded: RunConfig | None, now: RunConfig, state: RunState, run: Path
) -> list[str]:
    """Says in a line each what is not the run's own as it goes on, or that it is finished."""
    after = flat(asdict(now.recipe))
    before = after if recorded is None else after | flat(asdict(recorded.recipe))
    names = [name for name in after if after[name] != before[name]]
    if state.finished(now.recipe):
        own = ", ".join(f"{k} {before[k]}, not {after[k]}" for k in names if k != "iterations")
        more = "iterations" if state.step >= now.recipe.iterations else "patience"
        return [
            f"{run}: is finished, at step {state.step:,}{' with ' + own if own else ''}; a larger "
            f"--{more} goes on"
        ]
    lines = []
    if names:
        differ = ", ".join(f"{name} {after[name]} (was {before[name]})" for name in names)
        lines.append(
            f"{run}: goes on with {differ}; `bisenetv2 train {run} --resume` keeps its own settings"
        )
    if recorded is not None and recorded.device:
        was, place = (f"{config.device} in {config.precision}" for config in (recorded, now))
        if was != place:
            lines.append(f"{run}: goes on with {place}, was on {was}: not to the same bits")
    return lines


def unlike(recorded: RunConfig, now: RunConfig) -> list[str]:
    """Says in a line each what keeps a run that is started again from being the same run."""
    lines = []
    if recorded.fingerprint not in ("", now.fingerprint):
        lines.append(
            f"{now.data}: not the data that the configuration recorded (fingerprint "
            f"{now.fingerprint}, recorded {recorded.fingerprint}): this is another run"
        )
    unknown = recorded.init is not None and not recorded.init_sha256
    if not unknown and recorded.init_sha256 != now.init_sha256:
        lines.append(
            f"{now.init or 'no checkpoint'}: not what the configuration starts from (SHA-256 "
            f"{now.init_sha256[:12] or 'none'}, recorded {recorded.init_sha256[:12] or 'none'}): "
            "this is another run"
        )
    return lines


def flat(fields: dict[str, Any]) -> dict[str, Any]:
    """Puts the fields of the network beside the others."""
    own = {f"network.{name}": value for name, value in fields["network"].items()}
    return {name: value for name, value in fields.items() if name != "network"} | own
