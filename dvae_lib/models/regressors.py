"""Pose estimators without a latent: the discriminative baselines of chapter 06."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dvae_lib.models import networks as paper
from dvae_lib.models.modalities import Modality, OwnNetworks
from dvae_lib.models.objectives import Bounds, total
from dvae_lib.models.saving import SavedModule, describe

Rotation = Literal["axis-angle", "matrix"]


def rotation_from_axis_angle(w: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation (..., 3, 3) about the axis w (..., 3), by its length in radians; it acts on column vectors."""
    x, y, z = w.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)


class Regressor(SavedModule):
    """An image encoder and a head for each target, with the layers of the dVAE's path from an image to a pose, but
    without noise or prior between them.

    targets: the pose for a plain regressor; CPose and viewpoint for the two streams of Zimmermann & Brox (ICCV 2017),
        whose loss is the squared error of CPose plus that of the rotation matrix. Their weights λ multiply these terms.
    rotation: how a viewpoint is predicted: as three numbers, an axis times its angle, as in Zimmermann & Brox, or as
        the nine of the “matrix”, as in the dVAE. Three numbers cannot represent all rotations continuously.
    d, pretrained, networks: see `CrossModalVAE`.
    """

    def __init__(
        self,
        targets: Sequence[Modality],
        d: int = 64,
        pretrained: paper.Pretrained = "random",
        networks: OwnNetworks | None = None,
        rotation: Rotation = "axis-angle",
    ):
        super().__init__()
        self.modalities = {m.name: m for m in targets}
        self.lambdas = {m.name: m.weight for m in targets}
        own = (networks or {}).get("image", (None, None))[0]
        self.encoder = own(d) if own else paper.ImageEncoder(d, pretrained=pretrained)
        self.axis_angle = rotation == "axis-angle" and "viewpoint" in self.modalities
        shapes = {m.name: m.decoded_shape for m in targets} | ({"viewpoint": (3,)} if self.axis_angle else {})
        self.heads = nn.ModuleDict({name: paper.PoseDecoder(d, shape) for name, shape in shapes.items()})
        self.declaration = {
            "targets": describe(list(targets)),
            "rotation": rotation,
            "d": d,
            "networks": list(networks or {}),
        }

    def needs(self, _, /) -> list[Modality]:
        """The modalities that a batch must contain in addition to the image."""
        return list(self.modalities.values())

    def predict(self, image: Float[Tensor, "B C H W"]) -> dict[str, Tensor]:
        """Predicts each target from images: {name: (B, *shape)}."""
        features = self.encoder(image).mean
        means = {name: head(features) for name, head in self.heads.items()}
        if self.axis_angle:
            means["viewpoint"] = rotation_from_axis_angle(means["viewpoint"].float())
        return means

    def translate(self, source: str, x: Float[Tensor, "B C H W"], target: str) -> Tensor:
        """A target predicted from images (B, C, H, W), as the VAEs' `translate`: (B, *shape)."""
        return self.predict(x)[target]

    def predictions(self, batch: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """As the VAEs' `predictions`: from the image alone."""
        return {"image": self.predict(batch["image"])}

    def bounds(self, batch: Mapping[str, Tensor]) -> Bounds:
        """A regressor has none."""
        return {}

    def forward(self, batch: Mapping[str, Tensor], _) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and each target's log-likelihood; with unit variance, minus twice it is the squared error plus a
        constant.
        """
        means = self.predict(batch["image"])
        likelihoods = {name: self.modalities[name].log_likelihood(batch, mean) for name, mean in means.items()}
        terms = {f"image→{name}": term.detach().mean() for name, term in likelihoods.items()}
        return -total(self.lambdas[name] * term for name, term in likelihoods.items()).mean(), terms
