"""Stopping a training run without losing progress: by Ctrl-C, a notebook's stop button or a scheduler's SIGTERM."""

import signal
import threading
from typing import Any, cast

import torch
from torch import Tensor

from dvae_lib.training.fabric import Fabric

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Inside the with block, the first signal is a request: training finishes its step, saves it, and stops.

    A second Ctrl-C stops at once. A second SIGTERM does not: the program that started several processes forwards
    signals to them that they have already received.

    Several processes may receive a signal one step apart, but cannot continue without each other: they agree at the
    steps where they exchange numbers anyway.
    """

    def __init__(self, fabric: Fabric):
        self.fabric, self.heard = fabric, 0
        self.before: dict[signal.Signals, Any] = {}  # the previous handlers

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # others cannot handle signals
            # Signals that are ignored, such as Ctrl-C in a background job, stay ignored.
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
        """Whether to stop now. agreeing: whether all processes call this at this step."""
        if self.fabric.world_size > 1:
            if not agreeing:
                return False
            heard = torch.tensor(float(self.heard), device=self.fabric.device)
            agreed = int(cast(Tensor, self.fabric.all_reduce(heard, reduce_op="max")))
            self.heard = agreed or self.heard  # a later signal is agreed upon at the next such step
            return bool(agreed)
        return bool(self.heard)

    def stop(self) -> None:
        """Restores the previous handlers and raises the signal again."""
        self.__exit__()
        signal.raise_signal(self.heard)
