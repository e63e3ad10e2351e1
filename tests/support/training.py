"""The settings of a short training, and the comparison of two models."""

import torch

from dlir.registration.settings import Train

SETTINGS = Train(
    model=None,
    when="always",
    share=False,
    architecture="correlation",
    start="random",
    similarity="global",
    steps=30,
    batch=4,
    learning_rate=0.002,
    processes=1,
    seed=1,
)


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    """Returns whether all weights of two models are equal."""
    return all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
