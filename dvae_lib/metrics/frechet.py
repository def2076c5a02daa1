"""The distance of a set of generated images from a set of true ones (chapter 04)."""

import torch
from jaxtyping import Float
from torch import Tensor


def frechet_distance(a: Float[Tensor, "N d"], b: Float[Tensor, "M d"]) -> float:
    r"""The Fréchet distance of two Gaussians with the means and covariances of two sets of features (the FID of Heusel
    et al., 2017, for any features): $\lVert \mu_a - \mu_b \rVert^2 + \operatorname{tr}(C_a + C_b - 2 (C_a
    C_b)^{1/2})$.

    A set of blurred images, whose features vary too little, is far from the true ones, even if each of them is the mean
    of all plausible images, which PSNR rewards.
    """
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(0), torch.cov(x.T)) for x in (a.double(), b.double()))
    roots = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0).sqrt()  # their sum is the trace of the root
    return ((mean_a - mean_b).square().sum() + torch.trace(cov_a + cov_b) - 2 * roots.sum()).item()
