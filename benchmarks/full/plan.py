"""Plans what is trained, on how many hands and for how many steps, so that everything fits into the given time."""

import time
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.loop import prepared, trained
from dvae_lib.datasets import open_source
from dvae_lib.experiments import find
from dvae_lib.experiments.kinds import DisentangledExperiment

# Shares of the time; what rendering and timing do not need is used for training.
DRAWING, TIMING, EVALUATION = 0.25, 0.1, 0.15
MARGIN = 0.9  # the part of a share that is planned, since speeds vary
# By model: its share of the training time, and the disentangling step's share of that; the rest is for the embedding.
MODELS = {"dvae-image": (0.4, 0.75), "dvae-zu": (0.35, 0.75), "dvae-pose-rhd": (0.25, 0.15)}
VALIDATION = 1200  # hands of the validation people of synth-rhd
MOST = {"synth-stb": 18_000, "synth-rhd": 41_258 + VALIDATION}  # hands
SEQUENCES = 12  # of synth-stb
FIELDS = ("image", "mask", "pose", "K", "visible")  # the fields of batches
LEAST = {"synth-stb": 16 * SEQUENCES, "synth-rhd": 160}


@dataclass
class Clock:
    """The remaining time."""

    minutes: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """The remaining seconds."""
        return self.started + 60 * self.minutes - time.monotonic()

    def share(self, share: float) -> float:
        """A share of the total time, in seconds."""
        return share * 60 * self.minutes


def drawing_costs(name: str, size: int, seconds: float) -> tuple[float, float]:
    """The seconds to render a hand of a data set here, and the seconds for its remaining rooms, each painted once.

    Measured for about the given seconds, on at least 32 hands.
    """
    source, count = open_source(name), 32
    rooms, painted = source.scene(np.arange(len(source))).content, set()
    source.read(np.arange(8), size)  # compiles the renderer
    while True:
        chosen = np.linspace(0, len(source) - 1, count).astype(int)
        new, taken = {*rooms[chosen]} - painted, []
        for _ in range(2):  # with and without painting the rooms
            started = time.monotonic()
            source.read(chosen, size)
            taken.append(time.monotonic() - started)
        painted |= new
        if sum(taken) > seconds / 2 or count > len(source) / 2:
            a_room = max(taken[0] - taken[1], 0.0) / max(1, len(new))
            return taken[1] / count, a_room * len({*rooms} - painted)
        count *= 2


def hands(size: int, seconds: float) -> tuple[dict[str, int], dict[str, float]]:
    """How many hands of each data set can be rendered in the given seconds, and the seconds per hand."""
    end = time.monotonic() + seconds
    costs = {name: drawing_costs(name, size, 0.05 * seconds) for name in (*MOST, "synth-rhd-validation")}
    left = MARGIN * (end - time.monotonic()) - sum(rooms for _, rooms in costs.values())
    share = min(1.0, left / sum(most * costs[name][0] for name, most in MOST.items()))
    counts = {name: max(LEAST[name], int(share * most)) for name, most in MOST.items()}
    return counts, {name: costs[name][0] for name in MOST}


def options(counts: dict[str, int]) -> dict[str, dict[str, int]]:
    """The data sets' options for these numbers of hands; a third of synth-rhd's, at most `VALIDATION`, is for
    validation.
    """
    frames, rhd = counts["synth-stb"] // SEQUENCES, counts["synth-rhd"]
    return {"synth-stb": {"frames_per_sequence": frames}, "synth-rhd": {"count": max(rhd - VALIDATION, 2 * rhd // 3)}}


def experiment(name: str, size: int, counts: dict[str, int]) -> DisentangledExperiment:
    """An experiment in the paper's sizes if `size` is 256, with the λ, β and rates of `laptop`, for short runs."""
    e = find(name, "laptop", "synthetic")
    assert isinstance(e, DisentangledExperiment)
    width = 1 if e.width and size >= 256 else e.width
    return replace(e, size=size, width=width, options={data: options(counts)[data] for data in e.data})


def with_steps(e: DisentangledExperiment, seconds: float, share: float, device: str) -> DisentangledExperiment:
    """The experiment with as many steps as fit into the given seconds; share: that of the disentangling step."""
    steps = []
    for number, part in enumerate((share, 1 - share)):
        subject = prepared(e, number, device)
        once = next(trained(subject, 5, 2))
        times = min(max(int(0.02 * seconds / once), 2), 200)
        steps.append(max(2, int(MARGIN * part * seconds / next(trained(subject, times + 3, 2)))))
    return replace(e, steps=steps[0], embedding_steps=steps[1])
