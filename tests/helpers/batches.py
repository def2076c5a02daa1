"""Hands in memory, instead of a prepared data set."""

import numpy as np
import torch

from dvae_lib.datasets.dataset import Dataset

SIZE = 64


def raw_block(n=16, seed=0):
    """Hands about half a metre away, projected off the crop's centre, with an off-centre principal point."""
    generator = torch.Generator().manual_seed(seed)
    pose = 25 * torch.randn(n, 21, 3, generator=generator) + torch.tensor([30.0, -20.0, 600.0])
    K = torch.tensor([[150.0, 0, 20], [0, 150, 41], [0, 0, 1]]).repeat(n, 1, 1)
    return {
        "image": torch.randint(0, 256, (n, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8),
        "depth": torch.randint(500, 700, (n, SIZE, SIZE), generator=generator, dtype=torch.int32),
        "pose": pose,
        "K": K,
        "visible": torch.ones(n, 21, dtype=torch.bool),
        "right": torch.arange(n) % 2 == 1,
    }


class FakeDataset(Dataset):
    """A data set in memory."""

    def __init__(self, n=40, seed=0):
        self.name, self.size, self.manifest, self.folder = "fake", SIZE, {"count": n}, object()
        self.arrays = {name: tensor.numpy() for name, tensor in raw_block(n, seed).items()}

    def gather(self, field, indices):
        return self.arrays[field][indices]


class TaggedDataset(FakeDataset):
    """Three backgrounds, each in two sequences, of small images."""

    name = "tagged"

    def __init__(self, n=48):
        super().__init__(n)
        self.sequences = list("abcdef")
        self.arrays["sequence"] = (np.arange(n) % 6).astype(np.int32)
        self.arrays["content"] = (self.arrays["sequence"] // 2).astype(np.int32)
        self.arrays["image"] = np.ascontiguousarray(self.arrays["image"][..., :32, :32])
        self.size = 32
