"""A trained dVAE that a reader drives in the page: its decoders run in the browser, without a server (explorer.js).

What one moves are the principal directions of the codes of the test set's labels, part by part. Along them a decoder's
layers down to its first ReLU are one affine map, so that most of its weights need not be in the page. What lies off
them is lost, and the page prints how little that is; what is there is rounded to 16 bits.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from dvae_lib.experiments.counterfactuals import encode
from dvae_lib.experiments.run import Run
from dvae_lib.hand import BONES
from dvae_lib.models import DVAE
from dvae_lib.plots.hands import BONE_COLOURS, grid, show_image, show_pose

DIRECTIONS, SAMPLES = 12, 6  # of each part: how many can be moved along, and how many samples there are to choose from
LIMIT = 4_000_000  # characters of weights in a page
LABELS = {"pose": "Pose", "tag": "Content", "u": "All but the pose", "cpose": "Gesture", "viewpoint": "Viewpoint"}


@dataclass(frozen=True)
class Directions:
    """Where one can go in a part of z: to mean + coordinates @ basis.

    mean: (d,) of the codes. basis: (K, d), their principal directions, each a standard deviation long, the longest
    first. kept: the share of the codes' variance along them. samples: (SAMPLES, K), coordinates of codes far apart.
    """

    mean: Tensor
    basis: Tensor
    kept: float
    samples: Tensor


def directions(codes: Tensor) -> Directions:
    """Those of codes (N, d); as samples, the codes nearest to the centres of as many clusters."""
    mean = codes.mean(0)
    _, lengths, turn = torch.linalg.svd(codes - mean, full_matrices=False)
    share = lengths.square() / lengths.square().sum()
    few = min(DIRECTIONS, int((share > 1e-6).sum()))
    basis = turn[:few] * lengths[:few, None] / len(codes) ** 0.5
    centres = KMeans(SAMPLES, n_init=4, random_state=0).fit(codes.numpy()).cluster_centers_
    chosen = codes[torch.cdist(torch.from_numpy(centres).to(codes), codes).argmin(1)]
    samples = (chosen - mean) @ torch.linalg.pinv(basis)
    return Directions(mean, basis, float(share[:few].sum()), samples)


def join(parts: Mapping[str, Directions], coordinates: Tensor) -> Tensor:
    """z (B, d) at the coordinates (B, K) of all parts, one after the other."""
    split = coordinates.split([len(of.basis) for of in parts.values()], dim=1)
    return torch.cat([of.mean + c @ of.basis for of, c in zip(parts.values(), split, strict=True)], dim=1)


class _Weights:
    """Tensors as 16-bit integers one after the other, each row with its own unit."""

    def __init__(self):
        self.rows: list[np.ndarray] = []
        self.length = 0

    def add(self, tensor: Tensor) -> dict:
        """at: where its rows start, one for each entry of the first dimension. row: their length. units: of each."""
        rows = tensor.flatten(1).numpy()
        units = np.abs(rows).max(1).clip(1e-30) / 32767
        at, self.length = self.length, self.length + rows.size
        self.rows.append(np.round(rows / units[:, None]).astype("<i2").ravel())
        return {"at": at, "row": rows.shape[1], "units": units.tolist()}

    def __str__(self) -> str:
        text = base64.b64encode(np.concatenate(self.rows).tobytes()).decode()
        if len(text) > LIMIT:
            raise ValueError(f"{len(text)} characters of weights are too many for a page: lower DIRECTIONS.")
        return text


def _folded(layer: nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> nn.ConvTranspose2d:
    """A layer that is normalised afterwards, as evaluation does it, in one."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    layer.weight.mul_(scale[:, None, None])
    layer.bias.copy_((layer.bias - norm.running_mean) * scale + norm.bias)
    return layer


def _divided(decoder: Sequence[nn.Module]) -> tuple[nn.Sequential, list[nn.ConvTranspose2d]]:
    """An image decoder's layers before its first ReLU, and the transposed convolutions that follow a ReLU each."""
    linear, unflatten, norm, *rest = decoder
    layers = [_folded(*rest[i : i + 2]) for i in range(0, len(rest) - 2, 3)] + [rest[-2]]
    return nn.Sequential(linear, unflatten, norm, layers[0]), layers[1:]


def _affine(network: nn.Module, z: Tensor, basis: Tensor) -> Tensor:
    """What an affine network makes of z (d,), and of each row of a basis (K, d) beside it: (1 + K, …)."""
    origin = network(z[None])
    return torch.cat([origin, network(z + basis) - origin])


@torch.no_grad()
def export(model: DVAE, parts: Mapping[str, Directions]) -> dict:
    """What explorer.js is given. The model is used up: its layers are folded into one another."""
    model, weights = model.double().eval(), _Weights()
    z = torch.cat([of.mean for of in parts.values()]).double()
    basis = torch.block_diag(*(of.basis for of in parts.values())).double()
    found: dict = {
        "parts": [
            {
                "label": LABELS.get(name, name),
                "directions": len(of.basis),
                "kept": of.kept,
                "samples": of.samples.tolist(),
            }
            for name, of in parts.items()
        ],
        "bones": BONES,
        "colours": BONE_COLOURS,
    }
    if model.shared or "image" in model.decoders:
        decoder = [*model.shared.shared, *model.shared.image] if model.shared else list(model.decoders["image"])
        start, layers = _divided(decoder)
        first = _affine(start, z, basis).permute(0, 2, 3, 1)  # channels last
        found["image"] = {
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
        found["pose"] = {
            "start": weights.add(_affine(first, z[reads], basis[:, reads])),
            "last": {"weights": weights.add(last.weight), "bias": last.bias.tolist()},
        }
    return found | {"weights": str(weights)}


def _still(model: DVAE, parts: Mapping[str, Directions], name: str) -> bytes:
    """A picture of what the samples of two parts make together, each row one of the first."""
    rows, columns = (of.samples for of in parts.values())
    pairs = torch.cat([rows.repeat_interleave(len(columns), 0), columns.repeat(len(rows), 1)], dim=1)
    with torch.inference_mode():
        drawn = model.decode(join(parts, pairs), [name])[name]
    figure, axes = grid(len(rows), len(columns))
    for ax, one in zip(axes.flat, drawn, strict=True):
        (show_image if name == "image" else show_pose)(ax, one)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80)
    plt.close(figure)
    return file.getvalue()


@dataclass(frozen=True)
class Explorer:
    """What a notebook or a page shows: the still, until its script has run, and then the model."""

    data: dict = field(repr=False)
    still: bytes = field(repr=False)
    alt: str

    def _repr_html_(self) -> str:
        here = resources.files(__name__)
        style, script = ((here / f"explorer.{kind}").read_text("utf-8") for kind in ("css", "js"))
        picture = base64.b64encode(self.still).decode()
        return (
            f'<div class="dvae-explorer"><style>{style}</style>'
            f'<img class="still" src="data:image/png;base64,{picture}" alt="{self.alt}">'
            f'<script type="application/json">{json.dumps(self.data)}</script></div><script>{script}</script>'
        )


def explore(run: Run) -> Explorer:
    """The explorer of a trained dVAE with two parts."""
    model = run.load()
    codes = torch.cat([encode(model, batch) for batch in run.batches("test").in_order()])
    parts = {name: directions(model.select(codes, name)) for name in model.slices}
    name = "image" if "image" in model.observations else "pose"
    still = _still(model, parts, name)
    rows, columns = (LABELS[part].lower() for part in parts)
    alt = f"What the model draws ({name}s) for {SAMPLES} test samples' {rows}, by row, with the {columns} of others."
    return Explorer(export(model, parts), still, alt)
