r"""Data augmentation: random changes of training images and of their labels.

A geometric augmentation is an affine map $A$ of the crop's pixels together with an orthogonal map $G$ of space (a
rotation about the camera's axis, a reflection). With $X' = GX$ and $K' = AKG^{-1}$ a joint that projected to $u$
projects to $A u$: image and labels agree exactly, wherever the principal point is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


@dataclass(frozen=True)
class Augmentation:
    """The ranges of the random changes to a training batch; the defaults change nothing.

    The paper (Sec. 4.4) uses rotation=180 and flip=True.
    """

    rotation: float = 0.0  # degrees, uniform in ±, about the crop's centre
    flip: bool = False  # mirrors each sample with probability one half
    zoom: float = 0.0  # the log of the magnification is uniform in ±
    shift: float = 0.0  # fraction of the crop's side, uniform in ±, along each axis
    colour: float = 0.0  # gain of each channel, contrast and brightness, uniform in ±
    background: float = 0.0  # fraction of the samples whose background is replaced; requires masks in the data set
    noise: float = 0.0  # standard deviation of noise on the keypoints, as of a detector, in fractions of the side

    @property
    def moves(self) -> bool:
        """Whether the pixels of every image are moved."""
        return any((self.rotation, self.zoom, self.shift))


def to_device(values: Tensor, device: torch.device | str) -> Tensor:
    """Copies values to a device; the copy to a GPU is asynchronous."""
    if torch.device(device).type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


class BatchRng:
    """The random numbers of one batch. They are sampled on the CPU, so that a seed gives the same on every device.

    rank, world: if several processes share a batch, each samples the numbers of the whole batch and keeps those of its
        own samples, every `world`-th from `rank` on. The batch does not depend on the number of processes.
    """

    def __init__(self, seed: int, rank: int = 0, world: int = 1):
        self.generator, self.rank, self.world = torch.Generator().manual_seed(seed), rank, world

    def uniform(self, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
        """Uniform in [−1, 1], of shape (B, …) where B is the number of this process's samples."""
        numbers = torch.rand((self.world * shape[0], *shape[1:]), generator=self.generator)
        return to_device(2 * numbers[self.rank :: self.world] - 1, device)

    def normal(self, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
        """Standard normal, of shape (B, …) as in `uniform`."""
        numbers = torch.randn((self.world * shape[0], *shape[1:]), generator=self.generator)
        return to_device(numbers[self.rank :: self.world], device)

    def permutation(self, n: int) -> Tensor:
        """A permutation (n,), the same in every process."""
        return torch.randperm(n, generator=self.generator)


def pixel_map(
    batch: Mapping[str, Tensor],
    size: int,
    augmentation: Augmentation,
    flip: Bool[Tensor, " B"],
    rng: BatchRng,
) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B 3 3"]]:
    """The affine maps A of pixels and G of space of one random augmentation.

    batch: its cameras "K" (B, 3, 3) give the number of maps and the device. size: side of the crop in pixels.
    flip: which samples are mirrored.
    """
    device, n = batch["K"].device, len(batch["K"])
    angle = torch.deg2rad(augmentation.rotation * rng.uniform((n,), device))
    zoom = torch.exp(augmentation.zoom * rng.uniform((n,), device))
    shift = size * augmentation.shift * rng.uniform((n, 2), device)

    G = torch.eye(3, device=device).repeat(n, 1, 1)
    mirror = torch.where(flip, -1.0, 1.0)
    G[:, 0, 0], G[:, 0, 1] = angle.cos() * mirror, -angle.sin()
    G[:, 1, 0], G[:, 1, 1] = angle.sin() * mirror, angle.cos()

    A = G.clone()
    A[:, :2, :2] *= zoom[:, None, None]
    centre = torch.full((n, 2, 1), size / 2, device=device)
    A[:, :2, 2:] = centre - A[:, :2, :2] @ centre + shift[..., None]
    return A, G


def warp(
    images: Float[Tensor, "B C S S"], A: Float[Tensor, "B 3 3"], outside: float = 0.0, mode: str = "bilinear"
) -> Float[Tensor, "B C S S"]:
    """Images warped by A; `outside` is the value of pixels outside the warped image."""
    size = images.shape[-1]
    to_pixels = torch.tensor([[size / 2, 0, size / 2], [0, size / 2, size / 2], [0, 0, 1.0]])
    from_pixels, to_pixels = (to_device(m, A.device) for m in (torch.linalg.inv(to_pixels), to_pixels))
    sampling = from_pixels @ torch.linalg.inv_ex(A).inverse @ to_pixels  # `inv` waits for the device, to check it
    places = (torch.arange(size, device=A.device) + 0.5) * 2 / size - 1
    # Equals `affine_grid`, which multiplies a (B, S², 3) tensor by matrices, but is several times as fast.
    along, across, start = sampling[:, None, None, :2].unbind(-1)
    grid = along * places[:, None] + across * places[:, None, None] + start
    shifted = images - outside if outside else images
    return grid_sample(shifted, grid, mode=mode, padding_mode="zeros", align_corners=False).add_(outside)


def jitter_colour(image: Float[Tensor, "B 3 S S"], amount: float, rng: BatchRng) -> Float[Tensor, "B 3 S S"]:
    """Random gain of each channel, contrast and brightness, each changed by at most `amount`, of images in [−1, 1]."""
    n = len(image)
    gain = 1 + amount * rng.uniform((n, 3, 1, 1), image.device)
    contrast = 1 + amount * rng.uniform((n, 1, 1, 1), image.device)
    brightness = amount * rng.uniform((n, 1, 1, 1), image.device)
    grey = image.mean((1, 2, 3), keepdim=True)
    # ((image − grey) · contrast + grey + 1) · gain − 1 + brightness, with one pass over the image
    offset = ((1 - contrast) * grey + 1) * gain - 1 + brightness
    return torch.addcmul(offset, image, contrast * gain).clamp_(-1, 1)


def _enlarge(cells: Float[Tensor, "*batch C C"], size: int) -> Float[Tensor, "*batch {size} {size}"]:
    """Bilinear interpolation by two matrix products, several times as fast as `interpolate`."""
    weights = interpolate(torch.eye(cells.shape[-1], device=cells.device)[None], size, mode="linear")[0]
    return weights.mT @ cells @ weights


def replace_background(
    image: Float[Tensor, "B 3 S S"], mask: Num[Tensor, "B S S"], share: float, rng: BatchRng
) -> Float[Tensor, "B 3 S S"]:
    """Replaces the background of a fraction of the images in [−1, 1], so that a model cannot memorise the rooms.

    The new background blends random colours, coarse and fine, with the next image of the batch, whose hand is moved to
    the corners and whose channels are permuted. mask: 0 where the background is.
    """
    (n, _, size, _), device = image.shape, image.device
    coarse, fine = (rng.uniform((n, 3, cells, cells), device) for cells in (3, 16))
    fineness, channels = rng.uniform((n, 1, 1, 1), device), to_device(rng.permutation(3), device)
    amount = (rng.uniform((n, 1, 1, 1), device) + 1) / 2
    chosen = to_device(torch.nonzero(rng.uniform((n,)) < 2 * share - 1).flatten(), device)

    colours = _enlarge(coarse[chosen], size) + _enlarge((fineness * fine)[chosen], size)
    elsewhere = image[((chosen - 1) % n)[:, None], channels].roll((size // 2, size // 2), dims=(2, 3))
    behind = torch.lerp(colours, elsewhere, amount[chosen]).clamp_(-1, 1)
    return image.index_copy(0, chosen, torch.where((mask[chosen] == 0)[:, None], behind, image[chosen]))
