"""Encoders and decoders of the supplement's Tables 1–3.

Encoders map an observation to a diagonal Gaussian over the latent; decoders map a latent to the mean of the
observation. The tables are for 256-pixel images; at 128 and 64 pixels the image decoder leaves out up-sampling
stages, the narrow ones before the last, and is otherwise the same.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torchvision.models import ResNet18_Weights, resnet18

from dvae_lib.models.fast import SmallMapConv2d
from dvae_lib.models.objectives import at_least_float32

Weights = Literal["random", "imagenet"]


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
    """Image (B, C, S, S) in [−1, 1] → N over (B, d). ResNet-18 (Table 1, left).

    Depth has one channel, and then the first convolution has one too, the sum of the three.
    """

    def __init__(self, d: int, channels: int = 3, weights: Weights = "random"):
        super().__init__()
        trained = weights == "imagenet"
        self.resnet = resnet18(weights=ResNet18_Weights.DEFAULT if trained else None)
        if channels != 3:
            rgb = self.resnet.conv1
            self.resnet.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            if trained:
                with torch.no_grad():
                    self.resnet.conv1.weight.copy_(rgb.weight.sum(1, keepdim=True).expand(-1, channels, -1, -1))
        for block in self.resnet.layer4:  # 2×2 pixels, of a crop of 64
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
    # The supplement prints “padding of size 1”, which turns 8 pixels into 17, not 16. Padding 2 with one row of
    # output padding doubles exactly, and is what TensorFlow's SAME, the likely origin, computes.
    return nn.ConvTranspose2d(inputs, outputs, kernel_size=5, stride=2, padding=2, output_padding=1)


class ImageDecoder(nn.Sequential):
    """Latent (B, d) → image (B, C, S, S) in [−1, 1] (Table 1, right; DCGAN).

    size: 256, 128, 64 or 32. width: multiplies the number of kernels; 1 is the table's.
    """

    def __init__(self, d: int, size: int = 256, channels: int = 3, width: int = 1):
        stages = int(math.log2(size / 8))
        if size != 8 * 2**stages or not 2 <= stages <= 5:
            raise ValueError(f"an image decoder of {size} pixels: choose 256, 128, 64 or 32.")
        kernels = [128 * width, *(width * n for n in (64, 32, 16, 8)[: stages - 1])]
        layers = [
            nn.Linear(d, kernels[0] * 8 * 8),
            nn.Unflatten(1, (kernels[0], 8, 8)),
            nn.BatchNorm2d(kernels[0]),
        ]
        for inputs, outputs in zip(kernels, kernels[1:], strict=False):
            layers += [_upsample(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers, _upsample(kernels[-1], channels), nn.Tanh())
        self.to(memory_format=torch.channels_last)


class SharedDecoder(nn.Module):
    """Latent (B, d) → image (B, 3, S, S) and pose (B, 21, 3), with shared layers (Table 3).

    The image decoder's layers down to the last but one up-sampling are shared; the pose branches off there, as the
    table is printed. The first of its layers then holds most of the network's parameters; it has the table's 512
    neurons at 256 pixels, and fewer in proportion at fewer.
    """

    def __init__(self, d: int, size: int = 256, width: int = 1):
        super().__init__()
        hidden = 2 * size
        layers = list(ImageDecoder(d, size, width=width))
        self.shared, self.image = nn.Sequential(*layers[:-2]), nn.Sequential(*layers[-2:])
        features = layers[-2].in_channels * (size // 2) ** 2
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


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
