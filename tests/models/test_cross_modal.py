"""The cross-modal VAE: what it decodes, what its loss adds up to, and that it is trained by what it should be."""

import pytest
import torch

from dvae_lib.models import CrossModalVAE
from dvae_lib.models.modalities import Modality, modality


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {
        "image": torch.rand(4, 3, 32, 32) * 2 - 1,
        "depth": torch.rand(4, 1, 32, 32) * 2 - 1,
        "keypoints": torch.rand(4, 21, 2) * 2 - 1,
        "pose": torch.randn(4, 21, 3),
    }


def make(names=("image", "keypoints", "pose"), **options):
    torch.manual_seed(1)
    return CrossModalVAE([modality(name, 32, 0.5) for name in names], d=16, **options)


@pytest.mark.parametrize("names", [("image", "pose"), ("depth", "pose"), ("image", "depth", "keypoints", "pose")])
def test_every_modality_from_every_other(batch, names):
    model = make(names).eval()
    for source in names:
        for target in names:
            assert model.translate(source, batch[source], target).shape == batch[target].shape


def test_decodes_all_modalities_from_encoders_of_some(batch):
    model = make(encoded=["image"])
    assert list(model.encoders) == ["image"] and set(model.decode(torch.zeros(2, 16))) == {
        "image",
        "keypoints",
        "pose",
    }


def test_loss_is_minus_eq_1(batch):
    """Rebuilt from torch's own pieces: half squared errors, a constant, and the closed-form KL."""
    model = make(beta=3.0).eval()
    torch.manual_seed(5)
    loss, _ = model(batch, ["pose"])
    torch.manual_seed(5)
    q = model.encoders["pose"](batch["pose"])
    z = q.rsample()
    bound = -3.0 * 0.5 * (q.loc**2 + q.scale**2 - 1 - 2 * q.scale.log()).sum(-1)
    for name in model.modalities:
        error = (model.decoders[name](z) - batch[name]).flatten(1)
        bound = bound - 0.5 * 0.5 * (error.square().sum(-1) + error.shape[1] * torch.tensor(2 * torch.pi).log())
    torch.testing.assert_close(loss, -bound.mean(), rtol=1e-5, atol=1e-3)


def test_joint_loss_is_the_mean_of_the_alternating_ones(batch):
    model = make().eval()
    with torch.no_grad():
        alone = {name: torch.stack([model(batch, [name])[0] for _ in range(300)]).mean() for name in ("image", "pose")}
        joint = torch.stack([model(batch, ["image", "pose"])[0] for _ in range(300)]).mean()
    assert abs(alone["image"] - alone["pose"]) > 0.5
    torch.testing.assert_close(joint, (alone["image"] + alone["pose"]) / 2, atol=0.2, rtol=0)


def test_alternating_step_leaves_other_encoders_alone(batch):
    model = make()
    model(batch, ["pose"])[0].backward()
    assert all(p.grad is None for p in model.encoders["image"].parameters())
    assert all(p.grad is not None for p in model.decoders.parameters())


def test_reaches_the_evidence_of_a_linear_gaussian_pair():
    """A model over two vector modalities, trained by its own loss, comes near the known evidence, from below."""
    torch.manual_seed(0)
    W = torch.linalg.qr(torch.randn(8, 2))[0] * torch.tensor([2.0, 1.0])
    data = torch.randn(4096, 2) @ W.T + torch.randn(4096, 8)
    held_out = torch.randn(4096, 2) @ W.T + torch.randn(4096, 8)
    evidence = torch.distributions.MultivariateNormal(torch.zeros(8), W @ W.T + torch.eye(8)).log_prob(held_out).mean()

    model = CrossModalVAE([Modality("xy", (8,))], d=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(400):
        loss, _ = model({"xy": data[torch.randint(4096, (256,))]}, ["xy"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        bound = -torch.stack([model({"xy": held_out}, ["xy"])[0] for _ in range(20)]).mean()
    assert evidence - 0.25 < bound < evidence + 0.02
