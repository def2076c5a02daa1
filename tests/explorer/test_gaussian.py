"""What chapter 1's page holds of a VAE encodes and decodes as the model does."""

import pytest
import torch

from dvae_lib.explorer.gaussian import export
from dvae_lib.models import CrossModalVAE
from dvae_lib.models.modalities import modality
from tests.explorer.test_explorer import unpacked


def vae():
    torch.manual_seed(0)
    return CrossModalVAE([modality("pose", 32)], d=6).eval()


def layer(data, which):
    return unpacked(data, which["weights"]).float(), torch.tensor(which["bias"])


def through(data, layers, x):
    (first, bias), (last, other) = (layer(data, which) for which in layers)
    return torch.relu(x @ first.T + bias) @ last.T + other


def test_the_page_encodes_and_decodes_as_the_model():
    poses = torch.randn(40, 21, 3, generator=torch.manual_seed(1))
    model, data = vae(), export(vae(), poses)
    with torch.no_grad():
        q = model.encode("pose", poses)
        mean, raw = through(data, data["encoder"], poses.flatten(1)).chunk(2, dim=1)
        torch.testing.assert_close(mean, q.mean, atol=2e-3, rtol=0)
        torch.testing.assert_close(torch.nn.functional.softplus(raw) + 1e-4, q.stddev, atol=2e-3, rtol=0)
        z = torch.randn(5, 6)
        expected = model.decode(z, ["pose"])["pose"].flatten(1)
        torch.testing.assert_close(through(data, data["decoder"], z), expected, atol=2e-3, rtol=0)


def test_the_map_shows_the_plane_in_which_codes_differ_most():
    poses = torch.randn(500, 21, 3, generator=torch.manual_seed(1))
    model, data = vae(), export(vae(), poses)
    plane, mean = torch.tensor(data["plane"]), torch.tensor(data["mean"])
    torch.testing.assert_close(plane @ plane.T, torch.eye(2), atol=1e-4, rtol=0)
    with torch.no_grad():
        codes = model.encode("pose", poses).mean
    spread = torch.linalg.svdvals(codes - codes.mean(0)).square()
    assert data["kept"] == pytest.approx((spread[:2].sum() / spread.sum()).item(), rel=1e-3)
    places = (codes - mean) @ plane.T
    shown = torch.tensor(data["codes"])
    assert len(shown) == 300 and torch.cdist(shown, places).amin(1).max() < 2e-3
    apart = torch.tensor(data["samples"])[:, None] - poses.flatten(1)
    assert apart.norm(dim=-1).amin(1).max() < 1e-3
