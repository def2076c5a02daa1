"""Latents of samples whose factors are known: rendered hands on a grid of factor values, and others (chapter 9).

`metrics.disentanglement` computes the scores of such latents.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dvae_lib.datasets import Part
from dvae_lib.datasets.batches import Batches
from dvae_lib.experiments.counterfactuals import images, render, samples_at
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError
from dvae_lib.metrics import joint_errors
from dvae_lib.metrics.disentanglement import regressed
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.synthetic.scenes import replace


@dataclass(frozen=True)
class Grid:
    """Rendered hands, one for every combination of the values of two factors.

    shape: n_1 and n_2, the number of values of each. batch: n_1 · n_2 samples; the second factor changes fastest.
    """

    shape: tuple[int, int]
    batch: Mapping[str, Tensor]

    def as_array(self, z: Tensor) -> np.ndarray:
        """Latents (n_1 · n_2, d) of the samples as the array (n_1, n_2, d) that `metrics.disentanglement` requires."""
        return z.unflatten(0, self.shape).numpy()


def poses_and_contents(run: Run, poses: int = 20, seed: int = 0, part: Part = "validation") -> Grid:
    """Poses from a part of a run's rendered samples, each rendered in one scene of every content.

    The tag of a sample is the image from which its content is taken.
    """
    source, (_, held_out) = run.source(part), run.subsets(part)[0]
    order = np.random.default_rng(seed).permutation(held_out)
    _, first = np.unique(source.scene(order).content, return_index=True)
    i, j = (axis.ravel() for axis in np.meshgrid(order[:poses], order[first], indexing="ij"))
    scene = replace(source.scene(j), source.scene(i), "pose", "viewpoint")
    return Grid((len(i) // len(first), len(first)), render(run, source, scene) | {"tag": images(run, j, part)})


def gestures_and_viewpoints(run: Run, count: int = 20, seed: int = 0, part: Part = "validation") -> Grid:
    r"""Gestures from a part of a run's rendered samples, each from the viewpoints of other samples, in one scene.

    The labelled viewpoint R is not the renderer's V, because some joints that define it move with the gesture
    (`canonical`). If V gives a gesture the label R, $V' = M R_{target}^T R M V$ gives it the label $R_{target}$. M
    mirrors x for a right hand, which batches show as a left one.
    """
    source, (_, held_out) = run.source(part), run.subsets(part)[0]
    order = np.random.default_rng(seed).permutation(held_out)
    base, gestures, views = order[0], order[1 : count + 1], order[-count:]
    scene = replace(source.scene(np.full(len(gestures), base)), source.scene(gestures), "pose")
    R = render(run, source, scene)["viewpoint"].numpy()
    target = next(samples_at(run, views, (), part).in_order())["viewpoint"].numpy()
    M = np.diag([-1.0 if scene.right[0] else 1.0, 1.0, 1.0])
    viewpoint = M @ target.swapaxes(1, 2)[None] @ (R @ M @ scene.viewpoint)[:, None]
    i = np.repeat(np.arange(len(gestures)), len(views))
    scene = dataclasses.replace(scene[i], viewpoint=viewpoint.reshape(-1, 3, 3))
    return Grid(
        (len(gestures), len(views)), render(run, source, scene) | {"tag": images(run, np.full(len(i), base), part)}
    )


@torch.inference_mode()
def encode_images(model: DVAE | CrossModalVAE, batch: Mapping[str, Tensor]) -> Tensor:
    """z (N, d), the mean of q(z | image)."""
    return model.encode("image", batch["image"]).mean


SYMBOLS = {
    "cpose from image": r"$\mathbf z_{\mathbf y_1} \mid \hat{\mathbf x}$",
    "cpose from labels": r"$\mathbf z_{\mathbf y_1} \mid \mathbf y_1$",
    "viewpoint from image": r"$\mathbf z_{\mathbf y_2} \mid \hat{\mathbf x}$",
    "viewpoint from labels": r"$\mathbf z_{\mathbf y_2} \mid \mathbf y_2$",
    "z_cross": r"$\mathbf z_{cross} \mid \hat{\mathbf x}$",
    "noise": "noise",
}
# Supplement, Table 4: the AUC of CPose, and the squared error of the viewpoint.
_AUC, _MSE = (0.773, 0.779, 0.561, 0.562, 0.782, 0.555), (1.84, 1.99, 1.26, 1.27, 1.09, 2.15)
PRINTED = {name: {"cpose": auc, "viewpoint": mse} for name, auc, mse in zip(SYMBOLS, _AUC, _MSE, strict=True)}


def table_4(run: Run, samples: int = 480, part: Part = "validation") -> dict[str, dict[str, Tensor]]:
    """A model's columns of the supplement's Table 4: the errors of regressing CPose and viewpoint from its codes.

    For a dVAE of both factors, these are the columns of its slices and of noise; for a cross-modal VAE “z_cross”. Each
    has the errors on N samples of a part, spread evenly over those with a visible joint: “cpose” in mm (N, 21),
    “viewpoint” squared and summed over its nine numbers (N,). The regression is fitted to samples of other units
    (`Run.units`); “unit” (N,) contains the unit of each sample.
    """
    (dataset, held_out), model = run.subsets(part)[0], run.load()
    shown = np.flatnonzero(dataset["visible"][held_out].any(1))
    shown = shown[np.linspace(0, len(shown) - 1, min(samples, len(shown))).astype(int)]
    chosen, units = held_out[shown], run.units(part)[shown]
    batch = next(Batches([(dataset, chosen)], len(chosen), ["image"], root_joint=run.experiment.root_joint).in_order())
    torch.manual_seed(0)
    with torch.inference_mode():
        if isinstance(model, CrossModalVAE):
            columns = {"z_cross": model.encode("image", batch["image"]).sample()}
        elif isinstance(model, DVAE) and {"cpose", "viewpoint"} == set(model.factors):
            sources = {"labels": model.join({name: q.sample() for name, q in model.encode_factors(batch).items()})}
            sources["image"] = model.encode("image", batch["image"]).sample()
            columns = {
                f"{name} from {source}": model.select(z, name)
                for source, z in sources.items()
                for name in model.factors
            }
            columns["noise"] = torch.randn_like(sources["image"])
        else:
            raise UserError(
                f"Table 4 requires a dVAE of CPose and viewpoint, or a cross-modal VAE, not {run.experiment.name}."
            )
    return {name: _regression_errors(z, batch, units) for name, z in columns.items()}


def _regression_errors(z: Tensor, batch: Mapping[str, Tensor], units: np.ndarray) -> dict[str, Tensor]:
    predictions = {
        name: torch.from_numpy(regressed(z.double().numpy(), batch[name].flatten(1).double().numpy(), units))
        for name in ("cpose", "viewpoint")
    }
    cpose = predictions["cpose"].unflatten(1, (21, 3)).float()
    return {
        "cpose": joint_errors(cpose, {**batch, "pose": batch["cpose"]}),
        "viewpoint": (predictions["viewpoint"] - batch["viewpoint"].flatten(1)).square().sum(1).float(),
        "unit": torch.from_numpy(units),
    }


def area(errors: Tensor) -> Tensor:
    """Each sample's AUC (N,) from 0 to 50 mm, given joint errors (N, 21) in mm. Table 4 does not state its range."""
    return (1 - errors / 50).clamp(0, 1).nanmean(1)


def leak_as_printed(factor: str, source: str) -> float:
    """The leak of a factor, computed from the paper's numbers: how well it is predicted from the other factor's slice,
    beyond noise, in per cent of its own slice. source: “labels” or “image”. Ours is `report.quantities.leak_ci`.
    """
    own, other = (PRINTED[name][factor] - PRINTED["noise"][factor] for name in _columns(factor, source))
    return 100 * other / own


def _columns(factor: str, source: str) -> tuple[str, str]:
    """The names of the factor's own column and of the other factor's."""
    other = "viewpoint" if factor == "cpose" else "cpose"
    return f"{factor} from {source}", f"{other} from {source}"
