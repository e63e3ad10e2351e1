"""Processes that train one model together, as torch's own `torchrun` starts them.

Each has a rank, a device, and random numbers of its own; their gradients are averaged before each step,

    g = (g_0 + ... + g_(n-1)) / n

so that n ranks take the step of one on n batches, and all end with the same weights. What one rank alone should decide,
since numbers may differ in the last bit, rank 0 decides. A process that `torchrun` did not start is rank 0 of one.
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
    """There are not as many processes, or GPUs for them, as the settings ask for."""


@contextmanager
def process_group(device: str, processes: int) -> Iterator[torch.device]:
    """Meet the other ranks, if there are any; the device of this one. Only rank 0 says what it does.

    Raises:
        RankError: when there are not `processes` ranks, or not a GPU for each.
    """
    place = choose_device(device)
    if not dist.is_torchelastic_launched():
        _check(1, processes, place)
        yield place
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo")
    logging.disable(logging.NOTSET if rank() == 0 else logging.INFO)
    try:
        _check(dist.get_world_size(), processes, place)
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
        if place.type == "cuda":
            place = torch.device("cuda", rank())
            torch.cuda.set_device(place)
        yield place
    finally:
        logging.disable(logging.NOTSET)
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def average(gradients: list[Tensor]) -> None:
    """Put the mean over all ranks in the place of each gradient."""
    if not dist.is_initialized():
        return
    total = parameters_to_vector(gradients)
    dist.all_reduce(total)
    vector_to_parameters(total / dist.get_world_size(), gradients)


def decided_by_rank_zero(decide: Callable[[], T]) -> T:
    """What `decide` gives on rank 0, which alone calls it; tensors in it lie in main memory."""
    box = [decide() if rank() == 0 else None]
    if dist.is_initialized():
        dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]  # type: ignore[return-value]


def all_gather(own: Any) -> list[Any]:
    """What each rank gives, in order."""
    found = [own]
    if dist.is_initialized():
        found *= dist.get_world_size()
        dist.all_gather_object(found, own)
    return found


def _check(found: int, wanted: int, place: torch.device) -> None:
    if found != wanted:
        how = f"torchrun --standalone --nproc-per-node {wanted} -m dlir train ..." if wanted > 1 else "dlir train ..."
        raise RankError(f"train.processes is {wanted}, and {found} processes train: start them with {how}")
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(place.type, wanted)
    if there < wanted:
        raise RankError(f"train.processes is {wanted}, and there are {there} GPUs: lower it, or take the device cpu")
