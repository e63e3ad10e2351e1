"""The training loop: one step at a time, so that whoever trains can look at the network in between, stop, and go on later."""

import math
from typing import Any, NamedTuple

import torch

from dlir.registration.model.checkpoint import Network
from dlir.registration.model.ncc import SIMILARITIES
from dlir.registration.pairs.synthetic import TILES, Augment, Shape, TileStack, synthetic_pairs
from dlir.registration.pairs.windows import WindowBatch
from dlir.registration.training import distributed
from dlir.registration.training.losses import real_loss, synthetic_loss

LONGEST = 256  # px of a real pair's long side in a step beside known ones
EVERY = 4  # steps, of which one is on real pairs


class TrainingData(NamedTuple):
    """One dataset to learn from: its tiles, the shapes of the known pairs that are cut from them, and its real pairs."""

    tiles: TileStack
    shapes: list[Shape]
    real: list[WindowBatch]


class Loop:
    """Trains a model in place on the sources in turn; AdamW, whose rate rises at first and then falls as a cosine.

    Without any shapes there are no known pairs: all steps are on whole real pairs, which all count the same.
    """

    def __init__(
        self,
        model: Network,
        sources: list[TrainingData],
        generator: torch.Generator,
        *,
        steps: int,
        batch: int,
        learning_rate: float,
        similarity: str = "global",
        augment: Augment = TILES,
    ) -> None:
        self.model, self.generator, self.batch, self.augment = model, generator, batch, augment
        self.score = SIMILARITIES[similarity]
        self.kinds = [(source, shape) for source in sources for shape in source.shapes]
        self.real = [batch for source in sources for batch in source.real]
        self.optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=1e-4)
        warm = min(50, steps // 4 + 1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda i: min(1.0, (i + 1) / warm) * (0.51 + 0.49 * math.cos(math.pi * min(1.0, i / max(steps, 1))))
        )
        self.done = 0

    def step(self) -> float:
        """Learn from one batch, and with other ranks from theirs; the loss of this one's."""
        self.model.train()
        self.optimizer.zero_grad()
        on_real = not self.kinds or (bool(self.real) and self.done % EVERY == EVERY - 1)
        loss = self._real() if on_real else self._known()
        torch.autograd.backward(loss)
        if on_real:  # NCC rewards the matching of noise, which the prior is there to stop
            for name, parameter in self.model.named_parameters():
                parameter.grad = None if name == "refinement_prior" else parameter.grad
        distributed.average([parameter.grad for parameter in self.model.parameters() if parameter.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if torch.isfinite(norm):  # a flat crop may have no gradient
            self.optimizer.step()
        self.schedule.step()
        self.done += 1
        return float(loss.detach())

    def _known(self) -> torch.Tensor:
        source, shape = self.kinds[self.done % len(self.kinds)]
        known = synthetic_pairs(source.tiles, shape, self.batch, self.generator, self.augment)
        return synthetic_loss(self.model(known.fixed, known.moving, shape.search, shape.centre), known, shape)

    def _real(self) -> torch.Tensor:
        pairs = self.real[(self.done // EVERY if self.kinds else self.done) % len(self.real)]
        device = pairs.fixed.device
        drawn = torch.randperm(len(pairs.fixed), generator=self.generator, device=device)[: self.batch]
        fixed, moving, centre = pairs.fixed[drawn], pairs.moving[drawn], pairs.centre
        if fixed.shape[-2] > fixed.shape[-1]:
            fixed, moving, centre = fixed.mT, moving.mT, (centre[1], centre[0])
        room = max(0, fixed.shape[-1] - LONGEST) if self.kinds else 0
        start = int(torch.randint(room + 1, (1,), generator=self.generator, device=device))
        fixed, moving = (crop[..., start : start + fixed.shape[-1] - room] for crop in (fixed, moving))
        found = self.model(fixed, moving, pairs.search, centre)
        sure = found.confidence.detach() if self.kinds else torch.ones_like(found.confidence)  # which only known pairs teach
        return real_loss(found, fixed, moving, sure, self.score)

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to go on as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": distributed.all_gather(self.generator.get_state()),
            "done": self.done,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the state of another loop with the same arguments."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["done"]
        self.generator.set_state(state["generators"][distributed.rank()])
        self.done = state["done"]
