"""An interactive figure in a notebook or a page: data, a script, and a still image for print."""

import base64
import json
from dataclasses import dataclass, field
from importlib import resources

import numpy as np
from torch import Tensor

from dvae_lib.hand import MIDDLE_MCP, Root

LIMIT = 4_000_000  # the maximum number of characters of weights in a page


class Weights:
    """Tensors as 16-bit integers, concatenated; each row has its own unit."""

    def __init__(self):
        self.rows: list[np.ndarray] = []
        self.length = 0

    def add(self, tensor: Tensor) -> dict:
        """Appends a tensor, one row for each entry of its first dimension.

        Returns at: the start of its rows; row: their length; units: the unit of each row.
        """
        rows = tensor.flatten(1).numpy()
        units = np.abs(rows).max(1).clip(1e-30) / 32767
        at, self.length = self.length, self.length + rows.size
        self.rows.append(np.round(rows / units[:, None]).astype("<i2").ravel())
        return {"at": at, "row": rows.shape[1], "units": units.tolist()}

    def layer(self, weight: Tensor, bias: Tensor) -> dict:
        """Appends a dense layer: weight (outputs, inputs), bias (outputs,)."""
        return {"weights": self.add(weight), "bias": bias.tolist()}

    def __str__(self) -> str:
        text = base64.b64encode(np.concatenate(self.rows).tobytes()).decode()
        if len(text) > LIMIT:
            raise ValueError(f"{len(text)} characters of weights are too many for a page.")
        return text


def palm(poses: Tensor, root_joint: Root) -> dict:
    """The mean length of the palms of poses (N, 21, 3), from joint 0 to the middle MCP, and what joint 0 is: camera.js
    needs both to convert a detected hand to a pose.
    """
    return {"length": (poses[:, MIDDLE_MCP] - poses[:, 0]).norm(dim=-1).mean().item(), "root": root_joint}


@dataclass(frozen=True)
class Page:
    """script: the file of this package that runs it. still: a PNG, shown until the script has run, and in print."""

    script: str
    data: dict = field(repr=False)
    still: bytes = field(repr=False)
    alt: str

    def _repr_html_(self) -> str:
        package = resources.files(__package__)
        style, *scripts = (
            (package / name).read_text("utf-8") for name in ("explorer.css", "skeleton.js", "camera.js", self.script)
        )
        script = "\n".join(scripts)
        picture = base64.b64encode(self.still).decode()
        kind = self.script.removesuffix(".js")
        return (
            f'<div class="dvae-explorer" data-kind="{kind}"><style>{style}</style>'
            f'<img class="still" src="data:image/png;base64,{picture}" alt="{self.alt}">'
            f'<script type="application/json">{json.dumps(self.data)}</script></div>'
            f"<script>(() => {{\n{script}}})();</script>"
        )
