r"""From a photograph to the square around its hand: the crop of the evaluation protocol (chapter 2).

The window is the one of Zimmermann & Brox (ICCV 2017), kept by Spurr et al. (CVPR 2018) and the dVAE: a square
centred on the middle MCP, as wide as the joints reach, but no wider than 256 pixels of the image and no narrower
than 50. The farthest joint then lies on its border. A crop is an affine map of pixels, so the camera stays a
pinhole camera: $K' = A K$.

Pixels: column j of an image covers [j, j + 1], so an image of S pixels spans [0, S]. uv is (column, row).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dvae_lib.hand import MIDDLE_MCP

PROTOCOL_SIZE = 256  # the size that the protocol's zoom of 1 … 10 refers to, whatever size is asked for here
GREY = 128.0  # what lies outside the image


def crop_window(uv: Tensor, visible: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where the protocol crops.

    uv: (B, 21, 2) joints in pixels of the image, OpenPose order; joint 0 is the wrist (in the protocol's crops
        of RHD, the palm centre).
    visible: (B, 21) bool; joints that are not visible do not widen the window.
    image_size: (width, height); joints outside the image widen it only up to the border.

    Returns the window's centre (B, 2), which is the middle MCP, and its side (B,), both in pixels.
    """
    centre = uv[:, MIDDLE_MCP]
    border = torch.tensor(image_size, dtype=uv.dtype, device=uv.device)
    low = torch.where(visible[..., None], uv, torch.inf).amin(dim=1).clamp(min=0)
    high = torch.where(visible[..., None], uv, -torch.inf).amax(dim=1).minimum(border)
    extent = 2 * torch.maximum(high - centre, centre - low).amax(dim=1)
    extent = torch.where(visible.any(dim=1), extent.clamp(50, 500), 200)
    zoom = (PROTOCOL_SIZE / extent).clamp(1, 10)
    return centre, PROTOCOL_SIZE / zoom


def crop_matrix(centre: Tensor, side: Tensor, size: int) -> Tensor:
    """A (B, 3, 3): pixels of the image to pixels of the crop, homogeneous; the crop's camera is A @ K.

    centre: (B, 2) and side: (B,) of the window in pixels of the image; size: side of the crop in pixels.
    """
    A = torch.zeros(len(side), 3, 3, dtype=side.dtype, device=side.device)
    A[:, 0, 0] = A[:, 1, 1] = size / side
    A[:, :2, 2] = size / 2 - centre * (size / side)[:, None]
    A[:, 2, 2] = 1
    return A


def _samples(centre: Tensor, side: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Columns and rows, (B, count) each, in pixels of the image, of evenly spaced samples across the windows."""
    offset = (torch.arange(count, device=side.device, dtype=side.dtype) + 0.5) / count - 0.5
    return centre[:, :1] + side[:, None] * offset, centre[:, 1:] + side[:, None] * offset


def crop(images: Tensor, centre: Tensor, side: Tensor, size: int, fill: float = GREY) -> Tensor:
    """Cuts the windows out, antialiased: (B, C, size, size), of the same dtype as `images`.

    images: (B, C, H, W), uint8 or floating; centre: (B, 2) and side: (B,) of the windows in pixels.
    Each pixel of the crop is the mean of k × k bilinear samples, k = ⌈side / size⌉: at least one sample for
    each pixel of the image, so that shrinking does not leave pixels out. Outside the image there is `fill`.
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
    # grid_sample knows only zero outside: shift the values so that zero means `fill`.
    samples = F.grid_sample(images.to(window) - fill, grid.to(window), padding_mode="zeros", align_corners=False)
    cut = F.avg_pool2d(samples, k) + fill
    return cut.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else cut


def crop_nearest(images: Tensor, centre: Tensor, side: Tensor, size: int, fill: float = 0) -> Tensor:
    """Cuts windows out of images whose values must not be mixed, such as part ids or depths: (B, size, size).

    images: (B, H, W) of any dtype; centre: (B, 2) and side: (B,) of the windows in pixels, as for `crop`.
    Each pixel of the crop is the one pixel of the image in which its centre lies. Outside the image there is `fill`.
    """
    B, H, W = images.shape
    column, row = (samples.floor().long() for samples in _samples(centre, side, size))
    image = torch.arange(B, device=images.device)[:, None, None]
    cut = images[image, row.clamp(0, H - 1)[:, :, None], column.clamp(0, W - 1)[:, None, :]]
    inside = ((row >= 0) & (row < H))[:, :, None] & ((column >= 0) & (column < W))[:, None, :]
    return torch.where(inside, cut, torch.tensor(fill, dtype=cut.dtype, device=cut.device))
