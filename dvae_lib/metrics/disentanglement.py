"""How well the parts of a latent are told apart, by the scores of the literature (supplement, Sec. E; chapter 09).

All but the last are asked of *codes on a grid*: an array (n_1, …, n_K, d), where codes[i, j, …] is the latent (d,) of a
sample whose first factor has its i-th value, whose second has its j-th, and so on, whatever a value is: a number, a
pose, a room. Every draw is a function of the seed. 1 is best; what is worst is said for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

_DEAD = 1e-6  # of the largest variance: a dimension that moves less says nothing


def beta_vae_score(codes: NDArray, samples: int = 1000, pairs: int = 32, seed: int = 0) -> float:
    """Higgins et al. (2017), with the numbers of Sec. E: the accuracy of a linear classifier, 1 / K by chance.

    Each of the samples is the mean absolute difference of the codes of some pairs, which have one factor in common
    and are else drawn at random. Which factor it is, is learnt from one half of the samples and asked of the other.
    """
    rng, shape = np.random.default_rng(seed), codes.shape[:-1]
    common = rng.integers(len(shape), size=samples)
    first, second = (rng.integers(shape, size=(samples, pairs, len(shape))) for _ in range(2))
    second = np.where((np.arange(len(shape)) == common[:, None])[:, None], first, second)
    difference = np.abs(_at(codes, first) - _at(codes, second)).mean(1)
    half = samples // 2
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(difference[:half], common[:half])
    return float(classifier.score(difference[half:], common[half:]))


def factor_vae_score(codes: NDArray, samples: int = 1000, size: int = 64, seed: int = 0) -> float:
    """Kim & Mnih (2018): the accuracy of a vote, about 1 / K by chance.

    Each sample is a set of codes with one factor in common, and votes for it with the dimension that varies least,
    measured against how it varies over the whole grid. What a dimension stands for is the majority of one half of the
    samples; the other half is asked.
    """
    rng, shape = np.random.default_rng(seed), codes.shape[:-1]
    overall = codes.reshape(-1, codes.shape[-1]).var(0)
    alive = overall > _DEAD * overall.max()
    common = rng.integers(len(shape), size=samples)
    drawn = rng.integers(shape, size=(samples, size, len(shape)))
    drawn = np.where((np.arange(len(shape)) == common[:, None])[:, None], drawn[:, :1], drawn)
    votes = (_at(codes, drawn).var(1)[:, alive] / overall[alive]).argmin(1)
    half = samples // 2
    counts = np.zeros((int(alive.sum()), len(shape)), int)
    np.add.at(counts, (votes[:half], common[:half]), 1)
    return float((counts.argmax(1)[votes[half:]] == common[half:]).mean())


def mutual_information_gap(codes: NDArray, bins: int = 20) -> float:
    """MIG (Chen et al., 2018): how much more the best dimension says of a factor than the second best, as a share of
    the factor's entropy, averaged over factors; 0 at worst, as where two dimensions say the same.
    """
    flat, factors = _flat(codes)
    steps = [np.digitize(z, np.histogram_bin_edges(z, bins)[1:-1]) for z in flat.T]
    gaps = []
    for values, count in zip(factors.T, codes.shape[:-1], strict=True):
        said = sorted(mutual_info_score(values, z) for z in steps)
        gaps.append((said[-1] - said[-2]) / np.log(count))
    return float(np.mean(gaps))


def separated_attribute_score(codes: NDArray, seed: int = 0) -> float:
    """SAP (Kumar et al., 2018): how much better thresholds on the best dimension classify a factor than thresholds on
    the second best, averaged over factors; 0 at worst, as where two dimensions say the same.
    """
    flat, factors = _flat(codes)
    train, test = train_test_split(np.arange(len(flat)), test_size=0.5, random_state=seed)
    gaps = []
    for values, count in zip(factors.T, codes.shape[:-1], strict=True):
        tree = DecisionTreeClassifier(max_leaf_nodes=count, random_state=seed)
        scores = sorted(tree.fit(z[train], values[train]).score(z[test], values[test]) for z in flat.T[:, :, None])
        gaps.append(scores[-1] - scores[-2])
    return float(np.mean(gaps))


@dataclass(frozen=True)
class DCI:
    """Eastwood & Williams (2018). importance: (d, K), of the dimensions for each factor, to which they add up to 1."""

    importance: NDArray
    disentanglement: float  # 0 where every dimension serves all factors alike
    completeness: float  # 0 where every factor is spread over all dimensions alike
    informativeness: float  # accuracy of the factors on samples held out


def dci(codes: NDArray, parts: Sequence[slice] | None = None, seed: int = 0) -> DCI:
    """The importances are those of a random forest. parts: of the latent, each to be taken for one dimension."""
    flat, factors = _flat(codes)
    train, test = train_test_split(np.arange(len(flat)), test_size=0.25, random_state=seed)
    columns, accuracy = [], []
    for values in factors.T:
        forest = RandomForestClassifier(max_features=None, random_state=seed).fit(flat[train], values[train])
        columns.append(forest.feature_importances_)
        accuracy.append(forest.score(flat[test], values[test]))
    importance = np.stack(columns, 1)
    if parts is not None:
        importance = np.stack([importance[part].sum(0) for part in parts])
    dimensions, count = importance.shape
    used = importance[importance.sum(1) > 0]  # the others serve nobody
    single = 1 - entropy(used, base=count, axis=1)
    whole = 1 - entropy(importance, base=dimensions, axis=0)
    disentanglement = np.average(single, weights=used.sum(1))
    return DCI(importance, float(disentanglement), float(whole.mean()), float(np.mean(accuracy)))


def scores(codes: NDArray, parts: Sequence[slice] | None = None) -> dict[str, float]:
    """All of the above, by the names that the literature knows them by; parts: DCI is also asked of these."""
    found, by_part = dci(codes), dci(codes, parts) if parts else None
    result = {
        "β-VAE": beta_vae_score(codes),
        "FactorVAE": factor_vae_score(codes),
        "MIG": mutual_information_gap(codes),
        "SAP": separated_attribute_score(codes),
        "D": found.disentanglement,
        "C": found.completeness,
        "I": found.informativeness,
    }
    return result | ({"D, parts": by_part.disentanglement, "C, parts": by_part.completeness} if by_part else {})


def regressed(codes: NDArray, targets: NDArray, folds: int = 10, seed: int = 0) -> NDArray:
    """What each sample's targets (N, T) are by regression on the codes (N, d) of the others (N, T).

    A ridge regression with a Gaussian kernel, whose width and penalty are chosen within the others. Which regression
    Bouchacourt et al. and the paper took for Table 4 is not said.
    """
    grid = {"kernelridge__alpha": 10.0 ** np.arange(-3, 2), "kernelridge__gamma": np.array([0.1, 1.0]) / codes.shape[1]}
    ridge = make_pipeline(StandardScaler(), KernelRidge(kernel="rbf"))
    search = GridSearchCV(ridge, grid, scoring="neg_mean_squared_error", cv=3)
    # A kernel ridge has no constant of its own: the mean of the others is taken away first.
    centred = TransformedTargetRegressor(search, transformer=StandardScaler(with_std=False))
    return cross_val_predict(centred, codes, targets, cv=KFold(min(folds, len(codes)), shuffle=True, random_state=seed))


def _at(codes: NDArray, values: NDArray) -> NDArray:
    """The codes (…, d) at factors' values (…, K)."""
    return codes[tuple(np.moveaxis(values, -1, 0))]


def _flat(codes: NDArray) -> tuple[NDArray, NDArray]:
    """The codes (N, d) of the grid, and the value of every factor (N, K)."""
    factors = np.stack([axis.ravel() for axis in np.indices(codes.shape[:-1])], 1)
    return codes.reshape(-1, codes.shape[-1]), factors
