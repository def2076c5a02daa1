r"""Cropping a square around the hand, as the evaluation protocol does (chapter 2).

The window is that of Zimmermann & Brox (ICCV 2017), also used by Spurr et al. (CVPR 2018) and the dVAE: a square
centred on the middle MCP with the farthest joint on its border, but at least 50 and at most 256 pixels of the image
wide. A crop is an affine map A of pixels, so the crop has a pinhole camera too: $K' = A K$.

Pixels: column j of an image covers [j, j + 1], so an image of S pixels spans [0, S]. uv is (column, row).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Num
from torch import Tensor

from dvae_lib.hand import MIDDLE_MCP, project

PROTOCOL_SIZE = 256  # the crop size to which the protocol's zoom of 1 … 10 refers; ours may differ
GREY = 128.0  # the value outside the image


def crop_window(
    uv: Float[Tensor, "B 21 2"], visible: Bool[Tensor, "B 21"], image_size: tuple[int, int]
) -> tuple[Float[Tensor, "B 2"], Float[Tensor, " B"]]:
    """The protocol's window.

    uv: joints in pixels of the image, OpenPose order; joint 0 is the wrist (in the protocol's crops of RHD, the palm
        centre).
    visible: joints that are not visible do not widen the window.
    image_size: (width, height); joints outside the image widen it only up to the border.

    Returns the window's centre, which is the middle MCP, and its side, both in pixels.
    """
    centre = uv[:, MIDDLE_MCP]
    border = torch.tensor(image_size, dtype=uv.dtype, device=uv.device)
    low = torch.where(visible[..., None], uv, torch.inf).amin(dim=1).clamp(min=0)
    high = torch.where(visible[..., None], uv, -torch.inf).amax(dim=1).minimum(border)
    extent = 2 * torch.maximum(high - centre, centre - low).amax(dim=1)
    extent = torch.where(visible.any(dim=1), extent.clamp(50, 500), 200)
    zoom = (PROTOCOL_SIZE / extent).clamp(1, 10)
    return centre, PROTOCOL_SIZE / zoom


def crop_matrix(centre: Float[Tensor, "B 2"], side: Float[Tensor, " B"], size: int) -> Float[Tensor, "B 3 3"]:
    """The matrix A from homogeneous pixels of the image to those of the crop; the crop's camera is A @ K.

    centre, side: of the window in pixels of the image; size: side of the crop in pixels.
    """
    A = torch.zeros(len(side), 3, 3, dtype=side.dtype, device=side.device)
    A[:, 0, 0] = A[:, 1, 1] = size / side
    A[:, :2, 2] = size / 2 - centre * (size / side)[:, None]
    A[:, 2, 2] = 1
    return A


# The means and spreads, over the crops of a data set, of the values that `place` standardises: by the data set's name;
# for all others, those of synth-stb, whose camera is STB's.
_PLACES = {"digits": ((0.003, 0.003, 2.53), (0.0072, 0.0064, 0.10))}
_STB_PLACES = (0.11, -0.02, 1.32), (0.030, 0.022, 0.044)


def place(K: Float[Tensor, "B 3 3"], size: int, data: str = "synth-stb") -> Float[Tensor, "B 3"]:
    """The location of a crop of `size` pixels in the camera's view, from its camera K' only: two numbers for the
    direction to its centre (tangents, to the right and down), and one for its magnification (the log of the focal
    length over the side).

    They are standardised to about unit variance with fixed numbers, which depend on the data set's name.
    """
    right, down = ((size / 2 - K[:, axis, 2]) / K[:, axis, axis] for axis in (0, 1))
    means, spreads = _PLACES.get(data, _STB_PLACES)
    values = zip((right, down, torch.log(K[:, 0, 0] / size)), means, spreads, strict=True)
    return torch.stack([(value - mean) / spread for value, mean, spread in values], 1)


def _samples(
    centre: Float[Tensor, "B 2"], side: Float[Tensor, " B"], count: int
) -> tuple[Float[Tensor, "B {count}"], Float[Tensor, "B {count}"]]:
    """Columns and rows, in pixels of the image, of evenly spaced samples across the windows."""
    offset = (torch.arange(count, device=side.device, dtype=side.dtype) + 0.5) / count - 0.5
    return centre[:, :1] + side[:, None] * offset, centre[:, 1:] + side[:, None] * offset


def crop(
    images: Num[Tensor, "B C H W"],
    centre: Float[Tensor, "B 2"],
    side: Float[Tensor, " B"],
    size: int,
    fill: float = GREY,
) -> Num[Tensor, "B C {size} {size}"]:
    """Cuts the windows out of images (uint8 or floating) with antialiasing; the dtype is kept.

    centre, side: of the windows in pixels. fill: the value outside the image.
    Each pixel of the crop is the mean of k × k bilinear samples, k = ⌈side / size⌉, so that every pixel of the image
    has at least one sample.
    """
    B, _, H, W = images.shape
    k = max(1, math.ceil(float((side / size).max())))
    window = torch.float32 if images.dtype == torch.uint8 else images.dtype
    u, v = _samples(centre, side, k * size)
    grid = torch.stack(
        [
            (2 * u / W - 1)[:, None, :].expand(B, k * size, k * size),
            (2 * v / H - 1)[:, :, None].expand(B, k * size, k * size),
        ],
        dim=-1,
    )
    # grid_sample pads only with zero: shift the values so that zero means `fill`.
    samples = F.grid_sample(images.to(window) - fill, grid.to(window), padding_mode="zeros", align_corners=False)
    cut = F.avg_pool2d(samples, k) + fill
    return cut.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else cut


def crop_nearest(
    images: Num[Tensor, "B H W"],
    centre: Float[Tensor, "B 2"],
    side: Float[Tensor, " B"],
    size: int,
    fill: float = 0,
) -> Num[Tensor, "B {size} {size}"]:
    """Cuts windows out of images whose values must not be interpolated, as part ids or depths; the dtype is kept.

    centre, side: of the windows in pixels. fill: the value outside the image.
    Each pixel of the crop is the pixel of the image that contains its centre.
    """
    B, H, W = images.shape
    column, row = (samples.floor().long() for samples in _samples(centre, side, size))
    image = torch.arange(B, device=images.device)[:, None, None]
    cut = images[image, row.clamp(0, H - 1)[:, :, None], column.clamp(0, W - 1)[:, None, :]]
    inside = ((row >= 0) & (row < H))[:, :, None] & ((column >= 0) & (column < W))[:, None, :]
    return torch.where(inside, cut, torch.tensor(fill, dtype=cut.dtype, device=cut.device))


def crop_photographs(
    photographs: list[np.ndarray], pose: Float[Tensor, "B 21 3"], K: Float[Tensor, "B 3 3"], size: int
) -> dict[str, np.ndarray]:
    """The fields image, pose, K and visible of square photographs (P, P, 3) uint8 with all joints visible, cropped by
    the protocol. pose: mm, in the frames of the photographs' cameras K.
    """
    visible = torch.ones(len(photographs), 21, dtype=torch.bool)
    images = torch.from_numpy(np.stack(photographs)).permute(0, 3, 1, 2)
    centre, side = crop_window(project(pose, K), visible, (images.shape[-1], images.shape[-2]))
    return {
        "image": crop(images, centre, side, size).numpy(),
        "pose": pose.numpy().astype(np.float32),
        "K": (crop_matrix(centre, side, size) @ K).float().numpy(),
        "visible": visible.numpy(),
    }
