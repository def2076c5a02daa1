"""A trained dVAE that the reader controls in the page: its decoders run in the browser, without a server (explorer.js).

Sliders move along the principal directions of the held-out latents, for each part. If the pose is a factor, its
skeleton can be dragged, and the encoder computes the latent of the new pose. In these coordinates the layers of a
decoder before its first ReLU are one affine map, so most weights need not be in the page. The variance in other
directions is lost; the page shows the share that is kept. Weights are rounded to 16 bits.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from dvae_lib.experiments.counterfactuals import encode
from dvae_lib.experiments.run import Run
from dvae_lib.explorer.page import Page, Weights, palm
from dvae_lib.hand import BONES, Root
from dvae_lib.models import DVAE
from dvae_lib.models.networks import PoseEncoder
from dvae_lib.plots.hands import BONE_COLOURS, grid, show_image, show_pose

DIRECTIONS, SAMPLES = 12, 6  # of each part: the number of directions, and of samples to choose from
LABELS = {
    "pose": "Pose",
    "tag": "Content",
    "u": "Unlabelled part",
    "place": "Place",
    "cpose": "Gesture",
    "viewpoint": "Viewpoint",
}


@dataclass(frozen=True)
class Directions:
    """The coordinates of a part of z in the page: the part is mean + coordinates @ basis.

    mean: (d,) of the codes. basis: (K, d), their principal directions, each one standard deviation long, in decreasing
    order. kept: the share of the codes' variance along them. samples: (SAMPLES, K), the coordinates of distant codes.
    """

    mean: Tensor
    basis: Tensor
    kept: float
    samples: Tensor


def directions(codes: Tensor) -> Directions:
    """The principal directions of codes (N, d); the samples are those nearest to the centres of SAMPLES clusters."""
    mean = codes.mean(0)
    _, lengths, axes = torch.linalg.svd(codes - mean, full_matrices=False)
    share = lengths.square() / lengths.square().sum()
    count = min(DIRECTIONS, int((share > 1e-6).sum()))
    basis = axes[:count] * lengths[:count, None] / len(codes) ** 0.5
    centres = KMeans(SAMPLES, n_init=4, random_state=0).fit(codes.numpy()).cluster_centers_
    chosen = codes[torch.cdist(torch.from_numpy(centres).to(codes), codes).argmin(1)]
    samples = (chosen - mean) @ torch.linalg.pinv(basis)
    return Directions(mean, basis, float(share[:count].sum()), samples)


def join(parts: Mapping[str, Directions], coordinates: Tensor) -> Tensor:
    """z (B, d) at the coordinates (B, K) of all parts, concatenated."""
    split = coordinates.split([len(part.basis) for part in parts.values()], dim=1)
    return torch.cat([part.mean + c @ part.basis for part, c in zip(parts.values(), split, strict=True)], dim=1)


def _folded(layer: nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> nn.ConvTranspose2d:
    """A layer and the batch normalisation after it, in evaluation mode, as one layer."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    layer.weight.mul_(scale[:, None, None])
    layer.bias.copy_((layer.bias - norm.running_mean) * scale + norm.bias)
    return layer


def _divided(decoder: Sequence[nn.Module]) -> tuple[nn.Sequential, list[nn.ConvTranspose2d]]:
    """An image decoder's layers before its first ReLU, and its transposed convolutions, each after a ReLU."""
    linear, unflatten, norm, *rest = decoder
    layers = [_folded(*rest[i : i + 2]) for i in range(0, len(rest) - 2, 3)] + [rest[-2]]
    return nn.Sequential(linear, unflatten, norm, layers[0]), layers[1:]


def _affine(network: nn.Module, z: Tensor, basis: Tensor) -> Tensor:
    """An affine network at z (d,), then its change along each row of a basis (K, d): (1 + K, …)."""
    origin = network(z[None])
    return torch.cat([origin, network(z + basis) - origin])


@torch.no_grad()
def export(model: DVAE, parts: Mapping[str, Directions], root_joint: Root = "palm") -> dict:
    """The data for explorer.js. The model cannot be used afterwards, because layers are merged in place.

    root_joint: the joint that the model's poses are relative to.
    """
    model, weights = model.double().eval(), Weights()
    z = torch.cat([part.mean for part in parts.values()]).double()
    basis = torch.block_diag(*(part.basis for part in parts.values())).double()
    data: dict = {
        "parts": [
            {
                "label": LABELS.get(name, name),
                "order": _by_interest(parts).index(name),
                "directions": len(part.basis),
                "kept": part.kept,
                "samples": part.samples.tolist(),
            }
            for name, part in parts.items()
        ],
        "bones": BONES,
        "colours": BONE_COLOURS,
    }
    if model.shared or "image" in model.decoders:
        decoder = [*model.shared.shared, *model.shared.image] if model.shared else list(model.decoders["image"])
        start, layers = _divided(decoder)
        first = _affine(start, z, basis).permute(0, 2, 3, 1)  # channels last
        data["image"] = {
            "size": first.shape[1] * 2 ** len(layers),
            "start": weights.add(first) | {"pixels": first.shape[1]},
            "layers": [
                {"weights": weights.add(layer.weight.permute(0, 2, 3, 1)), "bias": layer.bias.tolist()}
                for layer in layers
            ],
        }
    if "pose" in model.decoders:  # one that shares layers with the image's is too large for a page
        first, _, last, _ = model.decoders["pose"]
        reads = model.decoder_slice("pose")
        data["pose"] = {
            "start": weights.add(_affine(first, z[reads], basis[:, reads])),
            "last": weights.layer(last.weight, last.bias),
        }
    if "pose" in data and "pose" in model.factors:  # the reader can then drag its skeleton
        data["encoder"] = _encoder(model.encoders["pose"], list(parts), parts, weights)
        data["palm"] = palm(model.decoders["pose"](z[None, model.decoder_slice("pose")]), root_joint)
    return data | {"weights": str(weights)}


def _encoder(encoder: PoseEncoder, names: list[str], parts: Mapping[str, Directions], weights: Weights) -> dict:
    """The layers from a pose (63,) to the coordinates of the mean of its part, the last ones merged."""
    _, first, _, last = encoder.layers
    part, head = parts["pose"], encoder.head.linear
    d = len(part.mean)
    to_coordinates = torch.linalg.pinv(part.basis.double())
    mean = head.bias[:d] + head.weight[:d] @ last.bias
    return {
        "from": sum(len(parts[name].basis) for name in names[: names.index("pose")]),
        "first": weights.layer(first.weight, first.bias),
        "last": weights.layer(
            to_coordinates.T @ head.weight[:d] @ last.weight, (mean - part.mean.double()) @ to_coordinates
        ),
    }


def _by_interest(parts: Iterable[str]) -> list[str]:
    """The order in which parts are shown: the place, the least interesting, is last."""
    return sorted(parts, key=lambda part: part == "place")


def _still(model: DVAE, parts: Mapping[str, Directions], name: str, rows: str, columns: str) -> bytes:
    """A PNG of the modality `name`, decoded for all pairs of samples of two parts, with the others at their means."""
    coordinates = {other: torch.zeros(SAMPLES**2, len(part.basis)) for other, part in parts.items()}
    coordinates[rows] = parts[rows].samples.repeat_interleave(SAMPLES, 0)
    coordinates[columns] = parts[columns].samples.repeat(SAMPLES, 1)
    with torch.inference_mode():
        decoded = model.decode(join(parts, torch.cat([*coordinates.values()], dim=1)), [name])[name]
    figure, axes = grid(SAMPLES, SAMPLES)
    for ax, mean in zip(axes.flat, decoded, strict=True):
        (show_image if name == "image" else show_pose)(ax, mean)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80)
    plt.close(figure)
    return file.getvalue()


def explore(run: Run) -> Page:
    """The explorer of a trained dVAE with two parts or more."""
    model = run.load()
    codes = torch.cat([encode(model, batch) for batch in run.batches("validation").in_order()])
    parts = {name: directions(model.select(codes, name)) for name in model.slices}
    name = "image" if "image" in model.observations else "pose"
    shown = _by_interest(parts)[:2]
    still = _still(model, parts, name, *shown)
    rows, columns = (LABELS[part].lower() for part in shown)
    alt = f"The {name}s decoded from {SAMPLES} held-out samples' {rows}, by row, and others' {columns}, by column."
    return Page("explorer.js", export(model, parts, run.experiment.root_joint), still, alt)
