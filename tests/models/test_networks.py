"""Shapes and parameter counts of the supplement's Tables 1–3, counted by hand."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from dvae_lib.files import UserError
from dvae_lib.models.networks import (
    CenterCrop,
    GaussianHead,
    ImageDecoder,
    ImageEncoder,
    PoseDecoder,
    PoseEncoder,
    SharedDecoder,
    SmallMapConv2d,
    count_parameters,
)

D = 64


def test_pose_encoder_is_table_2():
    encoder = PoseEncoder(D, (21, 3))
    by_hand = (63 * 512 + 512) + (512 * 512 + 512) + (512 * 2 * D + 2 * D)
    assert count_parameters(encoder) == by_hand
    q = encoder(torch.randn(5, 21, 3))
    assert q.loc.shape == q.scale.shape == (5, D) and (q.scale > 0).all()


@pytest.mark.parametrize("shape, outputs", [((21, 3), 63), ((3, 3), 9), ((21, 2), 42)])
def test_pose_decoder_is_table_2(shape, outputs):
    decoder = PoseDecoder(D, shape)
    assert count_parameters(decoder) == (D * 512 + 512) + (512 * outputs + outputs)
    assert decoder(torch.randn(5, D)).shape == (5, *shape)


def test_image_decoder_is_table_1():
    decoder = ImageDecoder(D, (3, 256, 256))
    kernels = [128, 64, 32, 16, 8]
    by_hand = D * 8192 + 8192 + 2 * 128
    by_hand += sum(25 * a * b + b + 2 * b for a, b in zip(kernels, kernels[1:], strict=False))
    by_hand += 25 * 8 * 3 + 3
    assert count_parameters(decoder) == by_hand
    assert [m.out_channels for m in decoder if isinstance(m, nn.ConvTranspose2d)] == [64, 32, 16, 8, 3]


@pytest.mark.parametrize("size", [256, 128, 64, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_image_decoder_doubles_exactly(size, channels):
    image = ImageDecoder(D, (channels, size, size))(torch.randn(2, D))
    assert image.shape == (2, channels, size, size) and image.abs().max() <= 1


@pytest.mark.parametrize("size, last, hidden", [(256, 8, 512), (64, 32, 128)])
def test_shared_decoder_is_table_3(size, last, hidden):
    decoder = SharedDecoder(D, size)
    features = last * (size // 2) ** 2
    pose = (features * hidden + hidden) + (hidden * hidden + hidden) + (hidden * 63 + 63)
    assert count_parameters(decoder) == count_parameters(ImageDecoder(D, (3, size, size))) + pose
    image, joints = decoder(torch.randn(2, D))
    assert image.shape == (2, 3, size, size) and joints.shape == (2, 21, 3)
    image.sum().backward()
    assert decoder.shared[0].weight.grad is not None and decoder.pose[1].weight.grad is None


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 100, 100), (3, 48, 64), (2, 16, 300)])
def test_images_of_any_size_are_drawn_and_encoded(shape):
    image = ImageDecoder(D, shape)(torch.randn(2, D))
    assert image.shape == (2, *shape) and ImageEncoder(D, shape[0])(image).loc.shape == (2, D)


def test_what_is_too_large_is_cut_off_at_the_edges_alike():
    whole = torch.arange(16.0).view(1, 1, 4, 4)
    assert CenterCrop((2, 4))(whole).tolist() == whole[:, :, 1:3].tolist()


def test_images_too_small_for_the_decoder_are_refused():
    with pytest.raises(UserError, match="at least 16 pixels, not 8 × 32"):
        ImageDecoder(D, (3, 8, 32))


@pytest.mark.parametrize("channels", [1, 3])
def test_image_encoder_is_resnet_18(channels):
    encoder = ImageEncoder(D, channels)
    trunk = count_parameters(resnet18()) - (512 * 1000 + 1000) - (3 - channels) * 64 * 49
    assert count_parameters(encoder) == trunk + 512 * 2 * D + 2 * D
    assert encoder(torch.randn(2, channels, 64, 64)).loc.shape == (2, D)


@pytest.mark.parametrize(("pixels", "stride"), [(1, 1), (2, 1), (2, 2), (4, 2), (4, 1)])
def test_a_small_maps_convolution_is_the_convolution(pixels, stride):
    torch.manual_seed(0)
    usual = nn.Conv2d(6, 4, 3, stride, padding=1, bias=False).double()
    own = SmallMapConv2d.of(usual)
    x = torch.randn(5, 6, pixels, pixels, dtype=torch.double, requires_grad=True)
    expected, found = usual(x), own(x)
    torch.testing.assert_close(found, expected)
    there = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad(y, (x, usual.weight), there) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_scale_stays_finite_and_positive_for_extreme_features():
    q = GaussianHead(4, 3)(torch.tensor([[1e4] * 4, [-1e4] * 4]))
    assert torch.isfinite(q.scale).all() and (q.scale > 0).all()
