"""The training loop. It takes one step at a time, so that the caller can check the network in between, stop, and resume
later."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlir.registration.model.checkpoint import Network
from dlir.registration.model.ncc import SIMILARITIES
from dlir.registration.pairs.synthetic import TILE_AUGMENT, Augment, Shape, TileStack, synthetic_pairs
from dlir.registration.pairs.windows import WindowBatch
from dlir.registration.training import distributed
from dlir.registration.training.losses import real_loss, synthetic_loss

LONGEST = 256  # px, the part of a window's long side that a step uses; the network registers any length
REAL_EVERY = 4  # steps: one in so many is on real pairs, the others are on synthetic ones
WEIGHT_DECAY = 1e-4  # of AdamW
WARM_UP = 50  # steps in which the learning rate rises, or a quarter of all where these are fewer
LEAST_RATE = 0.02  # of the learning rate, at the last step
LARGEST_GRADIENT = 1.0  # norm, to which larger gradients are shortened


class TrainingData(NamedTuple):
    """What the network learns from in one dataset."""

    tiles: TileStack  # from which synthetic pairs are cut
    shapes: list[Shape]  # of the synthetic pairs, taken in turn; none: the network learns from real pairs alone
    real: list[WindowBatch]  # batches of real pairs, taken in turn


class Loop:
    """Trains a model in place with AdamW, on the datasets in turn. The learning rate rises at first and then falls as a cosine.

    Where no dataset has a shape, all steps are on real pairs, with their whole windows, and all pairs have the same weight.
    """

    def __init__(
        self,
        model: Network,
        datasets: list[TrainingData],
        generator: torch.Generator,
        *,
        steps: int,
        batch: int,
        learning_rate: float,
        similarity: str = "global",
        augment: Augment = TILE_AUGMENT,
    ) -> None:
        """Prepares a training.

        Args:
            generator: of all random numbers of the training, on the device of the model.
            steps: all steps of the training, which the learning rate depends on.
            batch: pairs in a step.
            similarity: the name of the score of real pairs, of `ncc.SIMILARITIES`.
        """
        self.model, self.generator, self.batch, self.augment = model, generator, batch, augment
        self.score = SIMILARITIES[similarity]
        self.synthetic = [(data.tiles, shape) for data in datasets for shape in data.shapes]
        self.real = [batch for data in datasets for batch in data.real]
        self.optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=WEIGHT_DECAY)
        warm_up = min(WARM_UP, steps // 4 + 1)
        middle, swing = (1 + LEAST_RATE) / 2, (1 - LEAST_RATE) / 2

        def rate(step: int) -> float:
            return min(1.0, (step + 1) / warm_up) * (middle + swing * math.cos(math.pi * min(1.0, step / max(steps, 1))))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate)
        self.done = 0

    def step(self) -> float:
        """Learns from one batch, together with other processes from one each; returns the loss of the own batch."""
        self.model.train()
        self.optimizer.zero_grad()
        on_real = not self.synthetic or (bool(self.real) and self.done % REAL_EVERY == REAL_EVERY - 1)
        loss = self._loss_on_real() if on_real else self._loss_on_synthetic()
        torch.autograd.backward(loss)
        if on_real:  # the NCC rewards matching the noise; the prior prevents that, so it must not be trained by the NCC
            for name, parameter in self.model.named_parameters():
                parameter.grad = None if name == "refinement_prior" else parameter.grad
        distributed.average([parameter.grad for parameter in self.model.parameters() if parameter.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        if torch.isfinite(norm):  # flat windows may have no gradient
            self.optimizer.step()
        self.schedule.step()
        self.done += 1
        return float(loss.detach())

    def _loss_on_synthetic(self) -> Tensor:
        tiles, shape = self.synthetic[self.done % len(self.synthetic)]
        pairs = synthetic_pairs(tiles, shape, self.batch, self.generator, self.augment)
        return synthetic_loss(self.model(pairs.fixed, pairs.moving, shape.search, shape.centre), pairs, shape)

    def _loss_on_real(self) -> Tensor:
        pairs = self.real[(self.done // REAL_EVERY if self.synthetic else self.done) % len(self.real)]
        device = pairs.fixed.device
        drawn = torch.randperm(len(pairs.fixed), generator=self.generator, device=device)[: self.batch]
        fixed, moving, centre = pairs.fixed[drawn], pairs.moving[drawn], pairs.centre
        if fixed.shape[-2] > fixed.shape[-1]:
            fixed, moving, centre = fixed.mT, moving.mT, (centre[1], centre[0])
        surplus = max(0, fixed.shape[-1] - LONGEST) if self.synthetic else 0
        start = int(torch.randint(surplus + 1, (1,), generator=self.generator, device=device))
        fixed, moving = (window[..., start : start + fixed.shape[-1] - surplus] for window in (fixed, moving))
        found = self.model(fixed, moving, pairs.search, centre)
        # only synthetic pairs teach the confidence; without them it means nothing
        confidence = found.confidence.detach() if self.synthetic else torch.ones_like(found.confidence)
        return real_loss(found, fixed, moving, confidence, self.score)

    def state(self) -> dict[str, Any]:
        """Returns all that `restore` needs to resume the training as if it had not been interrupted."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": distributed.all_gather(self.generator.get_state()),
            "done": self.done,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resumes from the state of another loop that was made with the same arguments."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["done"]
        self.generator.set_state(state["generators"][distributed.rank()])
        self.done = state["done"]
