"""What the claims, tables and figures take from the study's records: over seeds and units (chapters 03 to 10).

A matrix has a row for each seed and a column for each unit, what samples depend on together, or one column for a number
that a whole training gives. Intervals are those of `metrics.intervals.contrast_ci`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from dvae_lib.experiments import BETAS, DIMENSIONS, LABELLED
from dvae_lib.experiments.limits import LIMITS
from dvae_lib.experiments.records import Record
from dvae_lib.metrics.intervals import Interval, Matrix, contrast_ci

Records = Mapping[str, Sequence[Record]]  # of each experiment those of its seeds


def mean_and_deviation(values: Sequence[float], digits: int = 1) -> str:
    """“19.3 ± 0.2”: the mean over seeds, with their standard deviation if there are several."""
    if not len(values):
        return "no seed yet"
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def matrix(records: Sequence[Record], name: str) -> Matrix:
    """Of each seed and unit the mean of an array (seeds, U)."""
    return torch.stack([record.by_unit(name) for record in records])


def scores(records: Sequence[Record], number: Callable[[Record], float]) -> Matrix:
    """Of each seed a number (seeds, 1), which belongs to no unit."""
    return torch.tensor([[number(record)] for record in records], dtype=torch.float64)


def difference_ci(ours: Matrix, theirs: Matrix, level: float = 0.95) -> Interval:
    """The mean of ours less that of theirs, with its interval over seeds and units."""
    return contrast_ci([(1.0, ours), (-1.0, theirs)], log=False, level=level)


def share_ci(part: Matrix, whole: Matrix, limit: float, level: float = 0.95) -> Interval:
    """The mean of one thing over that of another of the same runs: (seeds, U) both.

    Its interval is that of part − limit · whole, which also has one where the part can be below zero: what it says of
    the limit is exact (Fieller's interval), what it says elsewhere about so.
    """
    scale = whole.double().mean()
    excess = (part - limit * whole) / scale
    mean, low, high = contrast_ci([(1.0, excess)], log=False, level=level)
    return mean + limit, low + limit, high + limit


SOURCES = ("image", "keypoints", "pose")
_END = 0.2  # of the looks of a training


def steadiness(record: Record) -> dict[str, float]:
    """Of a watched training's last fifth: how far the means of latents move from one look to the next, over sources on
    average; and by how much the held-out bound jumps from one look to the next, root mean square.
    """
    moved, jumps = [], []
    for source in SOURCES:
        moves, bounds = (record.arrays[f"curve/{source} {what}"] for what in ("moved", "held-out bound"))
        moved.append(moves[-max(2, int(_END * len(moves))) :].mean())
        jumps.append(bounds[-max(2, int(_END * len(bounds))) :].diff().square().mean().sqrt())
    return {"movement": float(torch.stack(moved).mean()), "spread": float(torch.stack(jumps).mean())}


def poses_apart(one: Record, other: Record) -> float:
    """The mean distance in mm of the poses that two trainings read from the same images."""
    return (one.arrays["poses"].float() - other.arrays["poses"].float()).norm(dim=-1).mean().item()


def trainings_apart(records: Sequence[Record]) -> Matrix:
    """The `poses_apart` of all pairs of trainings, as the jackknife's pseudo-values (seeds, 1): their mean is that of
    all pairs, and their variance allows for each training being in several of them. Three seeds or more.
    """
    n = len(records)
    apart = torch.tensor([[poses_apart(a, b) for b in records] for a in records], dtype=torch.float64)
    total = apart.sum()
    without = (total - 2 * apart.sum(1)) / ((n - 1) * (n - 2))
    return (total / (n - 1) - (n - 1) * without)[:, None]


def fewer_labels(records: Records, kind: str, other: str, level: float = 0.95) -> Interval:
    """The geometric mean, over the shares of labels, of the ratio of two kinds' errors."""
    terms = [
        (sign / len(LABELLED), matrix(records[f"{name}-{m}"], "image/pose"))
        for m in LABELLED
        for name, sign in ((kind, 1), (other, -1))
    ]
    mean, low, high = np.exp(contrast_ci(terms, level=level)).tolist()
    return mean, low, high


UNTRAINED = ("nearest pose", "nearest pose, right content", "mean image", "mean image, right content")
_BETTER = {"psnr": 1, "ssim": 1, "epe": -1}  # with the sign that makes more better


def best_baseline(records: Records, name: str) -> tuple[str, Matrix]:
    """Of all methods without disentanglement the best in a score, by the test, which is in their favour, with its
    matrix. Untrained ones, which have no seeds, have the same row twice.
    """
    judged = records["estimator"][0]
    found = {method: judged.by_unit(f"pairs/{method}, {name}").expand(2, -1) for method in UNTRAINED}
    found["cross-modal VAE"] = matrix(records["cross-modal"], f"pairs/{name}")
    return max(found.items(), key=lambda item: _BETTER[name] * item[1].mean().item())


def slope(records: Records, name: str, over: str, level: float = 0.95) -> Interval:
    """The exponent of a power law, fitted by least squares to all cells of the grid: of the image's error or the KL,
    as β or d grows.
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
    """What the other factor's slice tells of a factor, and its own slice, beyond noise: (seeds, U) both."""
    other = "viewpoint" if factor == "cpose" else "cpose"
    noise = matrix(records, f"table 4/noise, {factor}")
    foreign, own = (matrix(records, f"table 4/{name} from {source}, {factor}") - noise for name in (other, factor))
    return (foreign, own) if factor == "cpose" else (-foreign, -own)  # areas are better when large, errors when small


def leak_ci(records: Sequence[Record], factor: str, source: str, level: float = 0.95) -> Interval:
    """In per cent."""
    limit = LIMITS["10 leak"] / 100
    mean, low, high = (100 * end for end in share_ci(*leaks(records, factor, source), limit, level))
    return mean, low, high
