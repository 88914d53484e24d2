"""The processes of a run: one by default, as many as `torchrun` started otherwise.

Process 0 alone writes. Whatever it alone can know, such as what a run folder holds, it shares.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bisenetv2.errors import UserError
from bisenetv2.inference.machine import available_cores, describe_machine
from bisenetv2.network.device import choose_device

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes that train one network together, seen from one of them."""

    device: torch.device
    """Where this process computes."""

    rank: int = 0
    """Number of this process, 0 to size - 1."""

    size: int = 1
    """Number of processes."""

    @property
    def writes(self) -> bool:
        """Whether this process writes and prints what all found."""
        return self.rank == 0

    @property
    def device_name(self) -> str:
        """Model of the GPU, or of the processor."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return describe_machine().processor

    @property
    def loaders(self) -> int:
        """Threads that prepare batches: on a CPU as many as compute, beside a GPU all cores."""
        if self.device.type == "cpu":
            threads = torch.get_num_threads()
        else:
            threads = available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(2, min(16, threads))

    def parallel(self, model: nn.Module) -> nn.Module:
        """Wraps a model, so that its gradients are the mean over the processes."""
        if self.size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices)

    def no_gradient_exchange(self, model: nn.Module) -> AbstractContextManager[None]:
        """Keeps gradients to this process, for all parts of a batch but the last."""
        if isinstance(model, DistributedDataParallel):
            return cast(AbstractContextManager[None], model.no_sync())
        return nullcontext()

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean over the processes, without gradient."""
        value = value.detach()
        if self.size == 1:
            return value
        total = value.to(torch.float32, copy=True)
        dist.all_reduce(total)
        return total / self.size

    def gathered(self, value: T) -> list[T]:
        """Returns what each process gives, by rank, on process 0; nothing on the others."""
        if self.size == 1:
            return [value]
        values: list[object] | None = [None] * self.size if self.writes else None
        dist.gather_object(value, values)
        return cast("list[T]", values or [])

    def adopt(self, model: nn.Module) -> None:
        """Makes the tensors of a model those of process 0: BN statistics drift apart otherwise."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def share(self, work: Callable[[], T]) -> T:
        """Runs `work` on process 0 alone and returns its result, or raises its error, on all."""
        if self.size == 1:
            return work()
        outcome: list[object] = [None, None]
        if self.rank == 0:
            try:
                outcome = [work(), None]
            except UserError as error:
                outcome = [None, error]
        dist.broadcast_object_list(outcome, 0, device=self.device)
        if isinstance(outcome[1], UserError):
            raise outcome[1]
        return cast(T, outcome[0])


@contextmanager
def joined(device: str = "auto") -> Iterator[World]:
    """Joins the processes that `torchrun` started; without it a process is alone.

    Args:
        device: `auto` or a torch device; of several GPUs each process takes its own.

    Raises:
        UserError: If there is no such device, fewer GPUs than processes, or another process of the
            run ended.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield World(choose_device(device))
        return
    local = int(os.environ.get("LOCAL_RANK", 0))
    place = choose_device(device)
    if place.type == "cuda" and ":" not in device:
        if local >= torch.cuda.device_count():
            raise UserError(
                f"process {local}: no GPU is left for it, there are {torch.cuda.device_count()}; "
                "start fewer processes"
            )
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield World(place, dist.get_rank(), dist.get_world_size())
    except RuntimeError as error:
        # gloo raises plain ones
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise UserError(
            f"process {dist.get_rank()}: another process of this run ended; see what it said "
            "(a training goes on with --resume)"
        ) from error
    finally:
        dist.destroy_process_group()
