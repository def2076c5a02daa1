"""The quantities that claims, tables and figures compute from the study's records (chapters 03 to 10).

A matrix has a row for each seed and a column for each unit, a group of dependent samples; for a number of a whole
training run it has one column. Intervals are computed by `metrics.intervals.contrast_ci`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from dvae_lib.experiments import BETAS, DIMENSIONS, LABELLED
from dvae_lib.experiments.limits import LIMITS
from dvae_lib.experiments.records import Record
from dvae_lib.metrics.intervals import Interval, Matrix, contrast_ci

Records = Mapping[str, Sequence[Record]]  # by experiment: the records of its seeds


def mean_and_deviation(values: Sequence[float], digits: int = 1) -> str:
    """“19.3 ± 0.2”: the mean over seeds, with their standard deviation if there are several."""
    if not len(values):
        return "no seed yet"
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def matrix(records: Sequence[Record], name: str) -> Matrix:
    """The mean of an array for each seed and unit (seeds, U)."""
    return torch.stack([record.by_unit(name) for record in records])


def scores(records: Sequence[Record], number: Callable[[Record], float]) -> Matrix:
    """A number for each seed (seeds, 1) that does not depend on units."""
    return torch.tensor([[number(record)] for record in records], dtype=torch.float64)


def difference_ci(ours: Matrix, theirs: Matrix, level: float = 0.95) -> Interval:
    """The mean of ours minus the mean of theirs, with its interval over seeds and units."""
    return contrast_ci([(1.0, ours), (-1.0, theirs)], log=False, level=level)


def share_ci(part: Matrix, whole: Matrix, limit: float, level: float = 0.95) -> Interval:
    """The ratio of the means of two quantities of the same runs, both (seeds, U).

    Its interval is derived from that of part − limit · whole, which also exists if the part can be negative. Whether it
    contains the limit is exact, as with Fieller's interval; its ends are approximate.
    """
    scale = whole.double().mean()
    excess = (part - limit * whole) / scale
    mean, low, high = contrast_ci([(1.0, excess)], log=False, level=level)
    return mean + limit, low + limit, high + limit


SOURCES = ("image", "keypoints", "pose")
_END = 0.2  # share of the evaluations of a training run


def steadiness(record: Record) -> dict[str, float]:
    """For the last fifth of a monitored training run, averaged over sources: the distance by which latent means move
    between two evaluations, and the root mean square change of the held-out bound between two evaluations.
    """
    moved, jumps = [], []
    for source in SOURCES:
        moves, bounds = (record.arrays[f"curve/{source} {what}"] for what in ("moved", "held-out bound"))
        moved.append(moves[-max(2, int(_END * len(moves))) :].mean())
        jumps.append(bounds[-max(2, int(_END * len(bounds))) :].diff().square().mean().sqrt())
    return {"movement": float(torch.stack(moved).mean()), "spread": float(torch.stack(jumps).mean())}


def poses_apart(one: Record, other: Record) -> float:
    """The mean distance in mm between the poses that two training runs predict from the same images."""
    return (one.arrays["poses"].float() - other.arrays["poses"].float()).norm(dim=-1).mean().item()


def trainings_apart(records: Sequence[Record]) -> Matrix:
    """The `poses_apart` of all pairs of training runs, as jackknife pseudo-values (seeds, 1): their mean is that of all
    pairs, and their variance accounts for each run being in several pairs. Needs at least three seeds.
    """
    n = len(records)
    apart = torch.tensor([[poses_apart(a, b) for b in records] for a in records], dtype=torch.float64)
    total = apart.sum()
    without = (total - 2 * apart.sum(1)) / ((n - 1) * (n - 2))
    return (total / (n - 1) - (n - 1) * without)[:, None]


def fewer_labels(records: Records, kind: str, other: str, level: float = 0.95) -> Interval:
    """The ratio of the errors of two kinds of supervision: the geometric mean over the shares of labels."""
    terms = [
        (sign / len(LABELLED), matrix(records[f"{name}-{m}"], "image/pose"))
        for m in LABELLED
        for name, sign in ((kind, 1), (other, -1))
    ]
    mean, low, high = np.exp(contrast_ci(terms, level=level)).tolist()
    return mean, low, high


UNTRAINED = ("nearest pose", "nearest pose, right content", "mean image", "mean image, right content")
_BETTER = {"psnr": 1, "ssim": 1, "epe": -1}  # the sign that makes larger values better


def best_baseline(records: Records, name: str) -> tuple[str, Matrix]:
    """The method without disentanglement that is best in a score, with its matrix. It is selected on the test samples,
    which favours the baselines. Untrained methods have no seeds; their matrix has the same row twice.
    """
    judged = records["estimator"][0]
    found = {method: judged.by_unit(f"pairs/{method}, {name}").expand(2, -1) for method in UNTRAINED}
    found["cross-modal VAE"] = matrix(records["cross-modal"], f"pairs/{name}")
    return max(found.items(), key=lambda item: _BETTER[name] * item[1].mean().item())


def slope(records: Records, name: str, over: str, level: float = 0.95) -> Interval:
    """The exponent of a power law in β or d for the image error or the KL, fitted by least squares to all cells of the
    grid.
    """
    cells = [(b, d) for b in BETAS for d in DIMENSIONS]
    design = np.column_stack([np.ones(len(cells)), np.log(cells)])
    weights = np.linalg.pinv(design)[1 if over == "β" else 2]
    terms = [
        (float(weight), matrix(records[f"ablation-{b}-{d}"], f"factors/{name}"))
        for weight, (b, d) in zip(weights, cells, strict=True)
    ]
    return contrast_ci(terms, level=level)


def leaks(records: Sequence[Record], factor: str, source: str) -> tuple[Matrix, Matrix]:
    """How well a factor is predicted from the other factor's slice and from its own, beyond noise: both (seeds, U)."""
    other = "viewpoint" if factor == "cpose" else "cpose"
    noise = matrix(records, f"table 4/noise, {factor}")
    foreign, own = (matrix(records, f"table 4/{name} from {source}, {factor}") - noise for name in (other, factor))
    return (foreign, own) if factor == "cpose" else (-foreign, -own)  # for areas larger is better, for errors smaller


def leak_ci(records: Sequence[Record], factor: str, source: str, level: float = 0.95) -> Interval:
    """The leak of a factor in per cent, with its interval."""
    limit = LIMITS["10 leak"] / 100
    mean, low, high = (100 * end for end in share_ci(*leaks(records, factor, source), limit, level))
    return mean, low, high
