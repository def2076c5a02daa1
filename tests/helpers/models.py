"""Small dVAEs for images of 32 pixels: the paper's variants, and one with three factors."""

import torch

from dvae_lib.models import DVAE
from dvae_lib.models.modalities import Modality, modality

SIZE = 32


def labelled(**options):
    """Fig. 2a: pose and content."""
    torch.manual_seed(1)
    factors = [(modality("pose", SIZE, 0.5), 8), (modality("tag", SIZE, 0.1), 4)]
    return DVAE(factors, [modality("image", SIZE)], embeddings=[modality("image", SIZE)], **options)


def with_u(**options):
    """Fig. 2b: pose, and everything else as z_u."""
    torch.manual_seed(1)
    image = modality("image", SIZE)
    return DVAE([(modality("pose", SIZE, 0.5), 8)], [image], ("image", 6), [image], **options)


def three():
    """Pose, viewpoint and content at once."""
    torch.manual_seed(1)
    viewpoint = Modality("viewpoint", (3, 3))
    factors = [(modality("pose", SIZE), 6), (viewpoint, 3), (modality("tag", SIZE), 5)]
    embeddings = [modality("image", SIZE), modality("keypoints", SIZE)]
    return DVAE(factors, [modality("image", SIZE)], embeddings=embeddings)
