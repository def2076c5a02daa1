"""What a pose estimator is without a latent: the discriminative baselines of chapter 06."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dvae_lib.models import networks
from dvae_lib.models.modalities import Modality


def rotation_from_axis_angle(w: Tensor) -> Tensor:
    """The rotation (..., 3, 3) about the axis w (..., 3), by its length in radians; it acts on columns."""
    x, y, z = w.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)


class Regressor(nn.Module):
    """An image encoder and a head for each target, with the layers of the dVAE's way from an image to a pose, and
    neither noise nor prior between them.

    targets: the pose for a plain regressor; CPose and viewpoint for the two streams of Zimmermann & Brox (ICCV 2017),
        whose viewpoint is three numbers, an axis by its angle, and whose loss is the squared error of CPose plus that
        of the rotation matrix.
    """

    def __init__(self, targets: Sequence[Modality], d: int = 64, weights: networks.Weights = "random"):
        super().__init__()
        self.modalities = {m.name: m for m in targets}
        self.encoder = networks.ImageEncoder(d, weights=weights)
        shapes = {m.name: (3,) if m.name == "viewpoint" else m.shape for m in targets}
        self.heads = nn.ModuleDict({name: networks.PoseDecoder(d, shape) for name, shape in shapes.items()})

    def predict(self, image: Tensor) -> dict[str, Tensor]:
        """From images (B, 3, S, S) each target: {name: (B, *shape)}."""
        features = self.encoder(image).mean
        read = {name: head(features) for name, head in self.heads.items()}
        if "viewpoint" in read:
            read["viewpoint"] = rotation_from_axis_angle(read["viewpoint"].float())
        return read

    def read(self, batch: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """As the VAEs' `read`: from the image alone."""
        return {"image": self.predict(batch["image"])}

    def bounds(self, batch: Mapping[str, Tensor]) -> dict:
        """A regressor has none."""
        return {}

    def forward(self, batch: Mapping[str, Tensor], _) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and each target's log-likelihood, whose unit variance makes minus twice it the squared error."""
        read = self.predict(batch["image"])
        likelihoods = {name: self.modalities[name].log_likelihood(batch, mean) for name, mean in read.items()}
        record = {f"image→{name}": term.detach().mean() for name, term in likelihoods.items()}
        return -sum(likelihoods.values()).mean(), record
