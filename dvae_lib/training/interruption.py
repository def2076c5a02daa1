"""Stopping a training without losing what it has done: by Ctrl-C, a notebook's stop button or a scheduler's SIGTERM."""

import signal
import threading
from typing import Any, cast

import torch
from torch import Tensor

from dvae_lib.training.fabric import Fabric

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within it, the first signal only asks: training ends its step, saves it, and stops.

    A second Ctrl-C does not wait. A second SIGTERM does: what started several processes hands on to them what they have
    heard themselves.

    Several processes may hear of it a step apart, and could not go on one without the other: they agree at the steps
    where they exchange numbers anyhow.
    """

    def __init__(self, fabric: Fabric):
        self.fabric, self.heard = fabric, 0
        self.before: dict[signal.Signals, Any] = {}  # the handlers that were there

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            # What is ignored, as Ctrl-C by a job in the background, stays ignored.
            heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self.before = {number: signal.signal(number, self._hear) for number in heeded}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _hear(self, number: int, _) -> None:
        if self.heard and number == signal.SIGINT:
            self.stop()
        self.heard = self.heard or number

    def requested(self, agreeing: bool) -> bool:
        """Whether to stop now. agreeing: whether all processes ask this at this step."""
        if self.fabric.world_size > 1:
            if not agreeing:
                return False
            heard = torch.tensor(float(self.heard), device=self.fabric.device)
            agreed = int(cast(Tensor, self.fabric.all_reduce(heard, reduce_op="max")))
            self.heard = agreed or self.heard  # what came meanwhile is agreed upon the next time
            return bool(agreed)
        return bool(self.heard)

    def stop(self) -> None:
        """As if the signal had come without us."""
        self.__exit__()
        signal.raise_signal(self.heard)
