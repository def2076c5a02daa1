"""Encoders and decoders of the supplement's Tables 1–3.

Encoders map an observation to a diagonal Gaussian over the latent; decoders map a latent to the mean of the
observation. The tables are for images of 256 pixels; for smaller ones, the image decoder omits up-sampling stages, the
narrow ones before the last, and is otherwise the same.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torchvision.models import ResNet18_Weights, resnet18

from dvae_lib.files import UserError
from dvae_lib.models.fast import SmallMapConv2d
from dvae_lib.models.objectives import at_least_float32

Pretrained = Literal["random", "imagenet"]


class GaussianHead(nn.Module):
    """Features (B, F) → N(μ, σ²) over (B, d): the last layer of every encoder.

    σ is a softplus, not an exponential: it grows linearly, so that a large step cannot overflow it.
    """

    def __init__(self, features: int, d: int):
        super().__init__()
        self.linear = nn.Linear(features, 2 * d)

    def forward(self, features: Tensor) -> Normal:
        mean, raw = at_least_float32(self.linear(features)).chunk(2, dim=-1)
        return Normal(mean, nn.functional.softplus(raw) + 1e-4, validate_args=False)


class ImageEncoder(nn.Module):
    """Image (B, C, H, W) in [−1, 1] → N over (B, d). ResNet-18 (Table 1, left); H and W of at least 16.

    If an image does not have three channels, the first convolution has as many channels as the image; with ImageNet
    weights, each of them is the sum over the three.
    """

    def __init__(self, d: int, channels: int = 3, pretrained: Pretrained = "random"):
        super().__init__()
        trained = pretrained == "imagenet"
        self.resnet = resnet18(weights=ResNet18_Weights.DEFAULT if trained else None)
        if channels != 3:
            rgb = self.resnet.conv1
            self.resnet.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            if trained:
                with torch.no_grad():
                    self.resnet.conv1.weight.copy_(rgb.weight.sum(1, keepdim=True).expand(-1, channels, -1, -1))
        for block in self.resnet.layer4:  # 2×2 pixels, for a crop of 64
            block.conv1, block.conv2 = SmallMapConv2d.of(block.conv1), SmallMapConv2d.of(block.conv2)
        features = self.resnet.fc.in_features
        self.resnet.fc = nn.Identity()
        self.head = GaussianHead(features, d)
        self.to(memory_format=torch.channels_last)  # convolutions run up to twice as fast on CPU and GPU

    def forward(self, image: Tensor) -> Normal:
        return self.head(self.resnet(image.contiguous(memory_format=torch.channels_last)))


class PoseEncoder(nn.Module):
    """Pose, keypoints, CPose or viewpoint (B, *shape) → N over (B, d) (Table 2, left)."""

    def __init__(self, d: int, shape: tuple[int, ...], hidden: int = 512):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(shape), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
        )
        self.head = GaussianHead(hidden, d)

    def forward(self, pose: Tensor) -> Normal:
        return self.head(self.layers(pose))


class PoseDecoder(nn.Sequential):
    """Latent (B, d) → pose, keypoints, CPose or viewpoint (B, *shape) (Table 2, right)."""

    def __init__(self, d: int, shape: tuple[int, ...], hidden: int = 512):
        super().__init__(
            nn.Linear(d, hidden),
            nn.ReLU(),
            nn.Linear(hidden, math.prod(shape)),
            nn.Unflatten(1, shape),
        )


def _upsample(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    # The supplement states “padding of size 1”, which would convert 8 pixels to 17, not 16. Padding 2 with one row of
    # output padding doubles them exactly, and equals TensorFlow's SAME, which was probably used.
    return nn.ConvTranspose2d(inputs, outputs, kernel_size=5, stride=2, padding=2, output_padding=1)


class CenterCrop(nn.Module):
    """Images (B, C, ≥ H, ≥ W) → (B, C, H, W), cut at the edges."""

    def __init__(self, size: Sequence[int]):
        super().__init__()
        self.height, self.width = size

    def forward(self, image: Tensor) -> Tensor:
        top, left = (image.shape[-2] - self.height) // 2, (image.shape[-1] - self.width) // 2
        return image[..., top : top + self.height, left : left + self.width]


class ImageDecoder(nn.Sequential):
    """Latent (B, d) → image (B, C, H, W) in [−1, 1] (Table 1, right; DCGAN).

    shape: (C, H, W), H and W of at least 16. The table doubles 8 × 8 pixels five times to 256 × 256. Other images have
    two to five doublings: as many as leave the shorter side at least 8 pixels at the start (for images of less than 32
    pixels, 4). Excess pixels at the end are cropped at the edges.
    width: multiplies the number of kernels; 1 is the table's.

    Raises UserError if the image is smaller than 16 pixels.
    """

    def __init__(self, d: int, shape: tuple[int, ...], width: int = 1):
        channels, *size = shape
        if min(size) < 16:
            raise UserError(
                f"The image decoder generates images of at least 16 pixels, not {size[0]} × {size[1]}: enlarge them, "
                "or give your own decoder (networks=)."
            )
        stages = min(max(int(math.log2(min(size) / 8)), 2), 5)
        start = [math.ceil(n / 2**stages) for n in size]
        kernels = [128 * width, *(width * n for n in (64, 32, 16, 8)[: stages - 1])]
        layers = [
            nn.Linear(d, kernels[0] * math.prod(start)),
            nn.Unflatten(1, (kernels[0], *start)),
            nn.BatchNorm2d(kernels[0]),
        ]
        for inputs, outputs in zip(kernels, kernels[1:], strict=False):
            layers += [_upsample(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers, _upsample(kernels[-1], channels), nn.Tanh())
        if [n * 2**stages for n in start] != size:
            self.append(CenterCrop(size))
        self.to(memory_format=torch.channels_last)


class SharedDecoder(nn.Module):
    """Latent (B, d) → image (B, 3, S, S) and pose (B, 21, 3), with shared layers (Table 3).

    The image decoder's layers up to the second-to-last up-sampling are shared; the pose branches off there, as in the
    printed table. The first layer of this branch then has most of the network's parameters; it has the table's 512
    neurons at 256 pixels, and proportionally fewer at fewer pixels.
    """

    def __init__(self, d: int, size: int = 256, width: int = 1):
        super().__init__()
        hidden = 2 * size
        layers = list(ImageDecoder(d, (3, size, size), width=width))
        last = max(i for i, layer in enumerate(layers) if isinstance(layer, nn.ConvTranspose2d))
        self.shared, self.image = nn.Sequential(*layers[:last]), nn.Sequential(*layers[last:])
        with torch.no_grad():
            features = self.shared.eval()(torch.zeros(1, d)).numel()
        self.shared.train()
        self.pose = nn.Sequential(
            nn.Flatten(),
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 63),
            nn.Unflatten(1, (21, 3)),
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        features = self.shared(z)
        return self.image(features), self.pose(features)


@contextmanager
def frozen(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside the with block, these modules (not their submodules) have no gradient and fixed running statistics."""
    modules = list(modules)
    before = [(module, module.training) for module in modules]
    parameters = [p for module in modules for p in module.parameters(recurse=False) if p.requires_grad]
    for module in modules:
        module.training = False
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
        for p in parameters:
            p.requires_grad_(True)


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
