"""Faster implementations for training, which change results only by rounding."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class SmallMapConv2d(nn.Conv2d):
    """A 3×3 convolution; on the CPU, if its output has at most 2×2 pixels, it is computed as a matrix product.

    Measured on one core, batches of 32 in bfloat16, forward and backward: 2.4 to 2.9 times as fast as torch's.
    """

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> "SmallMapConv2d":
        """The same convolution with the same weights."""
        channels = convolution.in_channels, convolution.out_channels
        own = cls(*channels, 3, convolution.stride[0], padding=1, bias=False, device="meta")
        own.weight = convolution.weight
        return own

    def forward(self, x: Tensor) -> Tensor:
        step = self.stride[0]
        if x.device.type != "cpu" or x.shape[-1] > 2 * step:
            return super().forward(x)
        x = nn.functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))  # as it is in memory, channels last
        windows = x.unfold(1, 3, step).unfold(2, 3, step).permute(0, 1, 2, 4, 5, 3).flatten(3)
        return nn.functional.linear(windows, self.weight.permute(0, 2, 3, 1).flatten(1)).permute(0, 3, 1, 2)


class Adam(torch.optim.Adam):
    """Fused Adam that uses convolutions' weights in their layout in memory, channels last.

    PyTorch's fused Adam copies non-contiguous tensors to another layout and back, four per weight. Measured on one
    core, a step of a ResNet-18: 2.6 times as fast as torch's.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float):
        super().__init__(parameters, lr=lr, fused=True)

    def _init_group(self, group, *lists):
        complex_ones = super()._init_group(group, *lists)
        parameters, *_ = lists
        last = [p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) for p in parameters]
        for tensors in lists[:4]:  # the parameters, their gradients and both moving averages
            tensors[:] = [t.permute(0, 2, 3, 1) if of else t for t, of in zip(tensors, last, strict=True)]
        return complex_ones
