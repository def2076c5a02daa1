"""Evaluates the same held-out samples at regular steps of a training run, to measure its stability (chapter 03)."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from dvae_lib.models import CrossModalVAE

BOUND, MOVED = "held-out bound", "moved"


class Watch:
    """Called with the model at a step, returns the mean bound of Eq. 1 of a batch from every encoder, and how far the
    means of q(z | ·) have moved since the last call, in units of the prior's standard deviation.

    The evaluation uses running statistics of batch normalisation, which lag behind the weights, and the same noise each
    time. The first call, also after a resumption, does not return how far the means have moved.
    """

    def __init__(self, batch: Mapping[str, Tensor], every: int):
        self.batch, self.every = batch, every
        self._last: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> dict[str, Tensor]:
        model = cast(CrossModalVAE, model)
        model.eval()
        torch.manual_seed(0)
        seen = {f"{source} {BOUND}": bound.mean() for source, (bound, _) in model.bounds(self.batch).items()}
        for source in model.encoders:
            mean = model.encode(source, self.batch[source]).mean
            if source in self._last:
                seen[f"{source} {MOVED}"] = (mean - self._last[source]).norm(dim=-1).mean()
            self._last[source] = mean
        model.train()
        return seen
