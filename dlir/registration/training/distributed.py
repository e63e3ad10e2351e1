"""Trains one model with several processes, which torch's own `torchrun` starts.

Each process has a rank, a device, and random numbers of its own. Before each optimizer step, the gradients of the n processes
are averaged,

    g = (g_0 + ... + g_(n-1)) / n

so that together they take the step that one process would take on n batches, and all have the same weights afterwards.
Decisions that depend on numbers which may differ in their last bit are left to rank 0. A process that `torchrun` did not start
is rank 0 of one.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from dlir.registration.model.checkpoint import choose_device

T = TypeVar("T")


class RankError(ValueError):
    """The number of processes, or of their GPUs, is not the one that the settings ask for."""


@contextmanager
def process_group(device: str, processes: int) -> Iterator[torch.device]:
    """Connects this process with the others, if there are any, and yields its device. Only rank 0 logs in the meantime.

    Args:
        device: cpu, cuda, mps, or auto.
        processes: the setting `train.processes`.

    Raises:
        RankError: when there are not `processes` processes, or not a GPU for each.
    """
    place = choose_device(device)
    if not dist.is_torchelastic_launched():
        _check(1, processes, place)
        yield place
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo")
    logging.disable(logging.NOTSET if rank() == 0 else logging.INFO)
    threads = torch.get_num_threads()
    try:
        _check(dist.get_world_size(), processes, place)
        torch.set_num_threads(max(1, threads // processes))
        if place.type == "cuda":
            place = torch.device("cuda", rank())
            torch.cuda.set_device(place)
        yield place
    finally:
        torch.set_num_threads(threads)
        logging.disable(logging.NOTSET)
        dist.destroy_process_group()


def rank() -> int:
    """Returns the number of this process, counted from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def average(gradients: list[Tensor]) -> None:
    """Replaces each gradient by its mean over all processes, in place."""
    if not dist.is_initialized():
        return
    total = parameters_to_vector(gradients)
    dist.all_reduce(total)
    vector_to_parameters(total / dist.get_world_size(), gradients)


def decided_by_rank_zero(decide: Callable[[], T]) -> T:
    """Returns on every process what `decide` returns on rank 0, which alone calls it; its tensors have to be on the CPU."""
    box = [decide() if rank() == 0 else None]
    if dist.is_initialized():
        dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]  # type: ignore[return-value]


def all_gather(own: Any) -> list[Any]:
    """Returns the values `own` of all processes, by rank."""
    found = [own]
    if dist.is_initialized():
        found *= dist.get_world_size()
        dist.all_gather_object(found, own)
    return found


def _check(found: int, wanted: int, place: torch.device) -> None:
    if found != wanted:
        command = f"torchrun --standalone --nproc-per-node {wanted} -m dlir train ..." if wanted > 1 else "dlir train ..."
        raise RankError(f"train.processes is {wanted}, but {found} processes train: start them with {command}")
    available = {"cuda": torch.cuda.device_count(), "mps": 1}.get(place.type, wanted)
    if available < wanted:
        raise RankError(f"train.processes is {wanted}, but there are {available} GPUs: lower it, or use the device cpu")
