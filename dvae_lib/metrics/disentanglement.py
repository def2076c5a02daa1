"""How well factors are disentangled in a latent, by the scores of the literature (supplement, Sec. E; chapter 09).

All except the last require *codes on a grid*: an array (n_1, …, n_K, d), where codes[i, j, …] is the latent (d,) of a
sample whose first factor has its i-th value, whose second has its j-th, and so on; a value can be a number, a pose, a
room. All sampling depends only on the seed. 1 is the best score; the worst is stated for each. A score raises
ValueError for a grid on which it is undefined.

The β-VAE and FactorVAE scores classify sets of codes that have one factor in common. Their authors sample the training
and test sets from one large population. On a small grid, this rewards a code without information: its few codes are
memorised (chapter 09 derives by how much). So here the sets for training and those for testing come from different
values of the factor with the most values, half of them each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import entropy
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.model_selection import GridSearchCV, GroupKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

_DEAD = 1e-6  # of the largest variance: a dimension that varies less has no information
Codes = Float[np.ndarray, "*grid d"]


def beta_vae_score(codes: Codes, samples: int = 1000, pairs: int = 32, seed: int = 0) -> float:
    """Higgins et al. (2017), with the numbers of Sec. E: the accuracy of a linear classifier, 1 / K by chance.

    Each of the samples is the mean absolute difference of the codes of some pairs, which have one factor in common and
    differ in all others. The classifier learns which factor it is from one half of the samples; the other half is the
    test set.

    This differs from the original score, which the paper used, in two ways. In the original, the other factors of a
    pair are sampled independently, so that one with n values coincides in 1 / n of the pairs; this distinguishes
    factors with different numbers of values, whatever the code is. And the original is tested on the same values as it
    is trained on (see above). For eight dimensions of pure noise on 20 × 6 values, the original score is 82 %, without
    coincidences 64 %, and this one about 50 %.

    Raises ValueError unless there are two factors or more with two values or more, and one with four.
    """
    rng = np.random.default_rng(seed)
    train, test = (_pair_differences(half, samples // 2, pairs, rng) for half in _halves(codes, rng))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(classifier.fit(*train).score(*test))


def _pair_differences(
    codes: Codes, samples: int, pairs: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "samples d"], Int[np.ndarray, " samples"]]:
    """Mean absolute differences of pairs, and the factor that the pairs of a sample have in common."""
    shape = codes.shape[:-1]
    common = rng.integers(len(shape), size=samples)
    first = rng.integers(shape, size=(samples, pairs, len(shape)))
    step = rng.integers(1, shape, size=first.shape)  # from a value to any other, around the circle of a factor's values
    step = np.where(np.arange(len(shape)) == common[:, None, None], 0, step)
    return np.abs(_at(codes, first) - _at(codes, (first + step) % shape)).mean(1), common


def factor_vae_score(codes: Codes, samples: int = 1000, size: int = 64, seed: int = 0) -> float:
    """Kim & Mnih (2018): the accuracy of a vote, about 1 / K by chance.

    Each sample is a set of codes with one factor in common, and votes for it with the dimension that varies least,
    relative to its variance over all values; dimensions that hardly vary have no vote. The factor of a dimension is
    determined by the majority of one half of the samples. The other half, with other values and relative to the
    variance over these, is the test set (see above): with one population, 64 dimensions of pure noise on 20 × 6 values
    would score 84 %.

    Raises ValueError as `beta_vae_score` does.
    """
    rng = np.random.default_rng(seed)
    (votes, learnt), (asked, true) = (_votes(half, samples // 2, size, rng) for half in _halves(codes, rng))
    counts = np.zeros((codes.shape[-1], codes.ndim - 1), int)
    np.add.at(counts, (votes, learnt), 1)
    return float((counts.argmax(1)[asked] == true).mean())


def _votes(
    codes: Codes, samples: int, size: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " samples"], Int[np.ndarray, " samples"]]:
    """The dimension that varies least within each set of codes, and the factor that the set has in common."""
    shape = codes.shape[:-1]
    common = rng.integers(len(shape), size=samples)
    drawn = rng.integers(shape, size=(samples, size, len(shape)))
    drawn = np.where(np.arange(len(shape)) == common[:, None, None], drawn[:, :1], drawn)
    within, overall = _at(codes, drawn).var(1), codes.reshape(-1, codes.shape[-1]).var(0)
    alive = overall > _DEAD * overall.max()
    return np.divide(within, overall, out=np.full_like(within, np.inf), where=alive).argmin(1), common


def mutual_information_gap(codes: Codes, bins: int = 20) -> float:
    """MIG (Chen et al., 2018): how much more information the best dimension has about a factor than the second best, as
    a fraction of the factor's entropy, averaged over factors; 0 at worst, for example if two dimensions are equal.

    Raises ValueError unless there are two dimensions or more, and two factors or more with two values or more.
    """
    flat, factors = _flat(codes, dimensions=2)
    steps = [np.digitize(z, np.histogram_bin_edges(z, bins)[1:-1]) for z in flat.T]
    gaps = []
    for values, count in zip(factors.T, codes.shape[:-1], strict=True):
        *_, second, best = sorted(mutual_info_score(values, z) for z in steps)
        gaps.append((best - second) / np.log(count))
    return float(np.mean(gaps))


def separated_attribute_score(codes: Codes, seed: int = 0) -> float:
    """SAP (Kumar et al., 2018): how much better thresholds on the best dimension classify a factor than thresholds on
    the second best, averaged over factors; 0 at worst, for example if two dimensions are equal.

    Raises ValueError as `mutual_information_gap` does.
    """
    flat, factors = _flat(codes, dimensions=2)
    train, test = train_test_split(np.arange(len(flat)), test_size=0.5, random_state=seed)
    gaps = []
    for values, count in zip(factors.T, codes.shape[:-1], strict=True):
        tree = DecisionTreeClassifier(max_leaf_nodes=count, random_state=seed)
        scores = (tree.fit(z[train], values[train]).score(z[test], values[test]) for z in flat.T[:, :, None])
        *_, second, best = sorted(scores)
        gaps.append(best - second)
    return float(np.mean(gaps))


@dataclass(frozen=True)
class DCI:
    """Eastwood & Williams (2018). importance: (d, K), of each dimension for each factor; its sum per factor is 1."""

    importance: Float[np.ndarray, "d K"]
    disentanglement: float  # 0 if every dimension is equally important for all factors
    completeness: float  # 0 if every factor is spread evenly over all dimensions; 1 if there is only one
    informativeness: float  # accuracy of predicting the factors of held-out samples


def dci(codes: Codes, parts: Sequence[slice] | None = None, seed: int = 0) -> DCI:
    """DCI, with the importances of a random forest. parts: those of the latent, each of which counts as one dimension.

    Raises ValueError unless there are two factors or more with two values or more.
    """
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
    shares = importance + 1e-12  # so that unused dimensions, and factors without a dimension, are spread evenly
    single = 1 - entropy(shares, base=count, axis=1)
    # If there is only one dimension, it contains every factor: the entropy is 0, in any base.
    whole = 1 - entropy(shares, base=max(dimensions, 2), axis=0)
    disentanglement = np.average(single, weights=shares.sum(1))
    return DCI(importance, float(disentanglement), float(whole.mean()), float(np.mean(accuracy)))


def scores(codes: Codes, parts: Sequence[slice] | None = None) -> dict[str, float]:
    """All of the above, by their names in the literature; parts: DCI is also computed for these.

    Raises ValueError if one of them does.
    """
    single = dci(codes)
    named = {
        "β-VAE": beta_vae_score(codes),
        "FactorVAE": factor_vae_score(codes),
        "MIG": mutual_information_gap(codes),
        "SAP": separated_attribute_score(codes),
        "D": single.disentanglement,
        "C": single.completeness,
        "I": single.informativeness,
    }
    if parts:
        by_part = dci(codes, parts)
        named |= {"D, parts": by_part.disentanglement, "C, parts": by_part.completeness}
    return named


def regressed(
    codes: Float[np.ndarray, "N d"], targets: Float[np.ndarray, "N T"], groups: Int[np.ndarray, " N"], folds: int = 10
) -> Float[np.ndarray, "N T"]:
    """Predicts each sample's targets (N, T) by regression on the codes (N, d) of samples of other groups: (N, T).

    A ridge regression with a Gaussian kernel, whose width and penalty are chosen on these samples, also by groups.
    Bouchacourt et al. and the paper do not state which regression they used for Table 4. With fewer groups than folds,
    each group is left out in turn. Raises ValueError for fewer than four groups: choosing a width requires three.
    """
    if (count := len(np.unique(groups))) < 4:
        raise ValueError(f"A regression from other groups needs four of them or more; there are {count}.")
    grid = {"kernelridge__alpha": 10.0 ** np.arange(-3, 2), "kernelridge__gamma": np.array([0.1, 1.0]) / codes.shape[1]}
    ridge = make_pipeline(StandardScaler(), KernelRidge(kernel="rbf"))
    predictions = np.empty_like(targets)
    for others, own in GroupKFold(min(folds, count)).split(codes, targets, groups):
        inner = list(GroupKFold(3).split(codes[others], groups=groups[others]))
        search = GridSearchCV(ridge, grid, scoring="neg_mean_squared_error", cv=inner)
        # A kernel ridge regression has no intercept: the mean of the others is subtracted first.
        centred = TransformedTargetRegressor(search, transformer=StandardScaler(with_std=False))
        predictions[own] = centred.fit(codes[others], targets[others]).predict(codes[own])
    return predictions


def _flat(codes: Codes, dimensions: int = 1) -> tuple[Float[np.ndarray, "N d"], Int[np.ndarray, "N K"]]:
    """The codes (N, d) of the grid, and the value of every factor (N, K). dimensions: the required minimum.

    Raises ValueError if there is nothing to distinguish: fewer than two factors vary, or the codes do not vary.
    """
    *shape, d = codes.shape
    if len(shape) < 2 or min(shape) < 2:
        raise ValueError(
            "Codes on a grid have the shape (n_1, …, n_K, d), with two factors or more and two values or more of each; "
            f"these have {codes.shape}."
        )
    if d < dimensions:
        raise ValueError(f"The gap between the best and the second best dimension requires two; there is {d}.")
    flat = codes.reshape(-1, d)
    if not np.ptp(flat, axis=0).max() > 0:  # also where one is NaN
        raise ValueError("The codes are the same everywhere on the grid, or not all finite: there is nothing to score.")
    return flat, np.stack([axis.ravel() for axis in np.indices(shape)], 1)


def _halves(codes: Codes, rng: np.random.Generator) -> list[Float[np.ndarray, "*half d"]]:
    """The codes at one half of the values of the factor that has the most values, and at the other half.

    Raises ValueError if a half would have one value, and as `_flat` does.
    """
    _flat(codes)
    longest = int(np.argmax(codes.shape[:-1]))
    if codes.shape[longest] < 4:
        raise ValueError(
            "One factor must have four values or more, half of them for training and half for testing; "
            f"the grid is {' × '.join(map(str, codes.shape[:-1]))}."
        )
    values = rng.permutation(codes.shape[longest])
    return [codes.take(half, longest) for half in np.array_split(values, 2)]


def _at(codes: Codes, values: Int[np.ndarray, "*drawn K"]) -> Float[np.ndarray, "*drawn d"]:
    """The codes (…, d) at factors' values (…, K)."""
    return codes[tuple(np.moveaxis(values, -1, 0))]
