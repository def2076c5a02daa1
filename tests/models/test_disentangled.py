"""The disentangled VAE: its parts, its bounds by value, what learns in which step, any number of factors."""

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from dvae_lib.models.modalities import modality
from dvae_lib.models.objectives import (
    elbo_dis,
    elbo_dis_u,
    elbo_emb,
    joint_bound,
    kl_to_prior,
    log_likelihood,
)
from tests.helpers.models import SIZE, labelled, three, with_u


@pytest.fixture
def batch():
    torch.manual_seed(0)
    images = {name: torch.rand(6, 3, SIZE, SIZE) * 2 - 1 for name in ("image", "tag")}
    return images | {
        "pose": torch.randn(6, 21, 3),
        "viewpoint": torch.randn(6, 3, 3),
        "keypoints": torch.rand(6, 21, 2),
        "hand": torch.rand(6, 1, SIZE, SIZE) > 0.5,
    }


VARIANTS = pytest.mark.parametrize("make", [labelled, with_u, lambda: with_u(shared=True), three])


# The bounds, where the evidence is known.


class KnownFactors:
    """z = [z1, z2] ~ N(0, I); y1 from z1, y2 from z2, x from both, unit noise. Loadings whose columns are orthogonal
    make the true posterior a product over the parts, which is what the encoders can say."""

    def __init__(self, apart: bool):
        generator = torch.Generator().manual_seed(4)
        q = torch.linalg.qr(torch.randn(4, 3, generator=generator))[0]
        a1, a2 = torch.randn(3, 1, generator=generator), torch.randn(2, 2, generator=generator)
        a2 = torch.linalg.qr(a2)[0] * torch.tensor([1.2, 0.6])
        zero = torch.zeros
        if apart:
            y1, y2 = torch.cat([a1, zero(3, 2)], 1), torch.cat([zero(2, 1), a2], 1)
        else:  # Eq. 6 decodes the factor from the whole z
            y1, y2 = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0] * 0.8, zero(2, 3)
        self.W = {"x": q * torch.tensor([1.5, 0.7, 0.4]), "y1": y1, "y2": y2}
        self.parts = {"y1": slice(0, 1), "y2": slice(1, 3)}
        self.observed = {name: torch.randn(5, len(w), generator=generator) for name, w in self.W.items()}
        self.stacked = torch.cat(list(self.W.values()))

    def evidence(self):
        everything = torch.cat(list(self.observed.values()), 1)
        covariance = self.stacked @ self.stacked.T + torch.eye(len(self.stacked))
        return MultivariateNormal(torch.zeros(len(self.stacked)), covariance).log_prob(everything)

    def posterior(self):
        covariance = torch.linalg.inv(torch.eye(3) + self.stacked.T @ self.stacked)
        assert (covariance - covariance.diag().diag()).abs().max() < 1e-5
        mean = torch.cat(list(self.observed.values()), 1) @ self.stacked @ covariance
        return Normal(mean, covariance.diag().sqrt().expand(5, 3))

    def likelihoods(self, q, samples=40_000):
        torch.manual_seed(0)
        z = q.rsample((samples,))
        terms = {}
        for name, w in self.W.items():
            x = self.observed[name].expand(samples, -1, -1).flatten(0, 1)
            terms[name] = log_likelihood(x, (z @ w.T).flatten(0, 1)).unflatten(0, (samples, 5)).mean(0)
        return terms

    def kls(self, q):
        return {name: kl_to_prior(Normal(q.loc[:, p], q.scale[:, p])) for name, p in self.parts.items()}


@pytest.mark.parametrize(("apart", "bound"), [(True, elbo_dis), (False, elbo_dis_u)])
def test_eq_2_and_6_are_below_the_evidence_by_the_kl_to_the_true_posterior(apart, bound):
    model = KnownFactors(apart)
    true = model.posterior()
    torch.testing.assert_close(bound(model.likelihoods(true), model.kls(true)), model.evidence(), atol=0.03, rtol=0)
    off = Normal(true.loc + 0.4, true.scale * 1.5)
    gap = kl_divergence(off, true).sum(-1)
    assert gap.min() > 0.1
    torch.testing.assert_close(model.evidence() - bound(model.likelihoods(off), model.kls(off)), gap, atol=0.06, rtol=0)


def test_the_gap_of_eq_4_is_the_kl_that_eq_3_claims():
    model = KnownFactors(True)
    true, q = model.posterior(), Normal(torch.full((5, 3), 0.2), torch.full((5, 3), 0.7))
    gap = model.evidence() - elbo_emb(model.likelihoods(q), kl_to_prior(q))
    torch.testing.assert_close(gap, kl_divergence(q, true).sum(-1), atol=0.06, rtol=0)


def test_eq_5_is_the_sum_of_both():
    assert joint_bound(torch.tensor([-3.0]), torch.tensor([-4.0])).item() == -7.0


# The model.


def test_a_factor_is_decoded_from_its_own_part_and_the_observation_from_all():
    model = labelled().eval()
    z = torch.randn(3, 12)
    other = z.clone()
    other[:, model.slices["tag"]] += 1
    before, after = model.decode(z), model.decode(other)
    assert torch.equal(before["pose"], after["pose"])
    assert not torch.equal(before["tag"], after["tag"]) and not torch.equal(before["image"], after["image"])


@pytest.mark.parametrize("shared", [False, True])
def test_beside_z_u_a_factor_is_decoded_from_the_whole(shared):
    model = with_u(shared=shared).eval()
    z = torch.randn(3, 14)
    other = z.clone()
    other[:, model.slices["u"]] += 1
    assert not torch.allclose(model.decode(z)["pose"], model.decode(other)["pose"], atol=1e-4)


@VARIANTS
def test_parts_join_to_the_whole_and_back(make, batch):
    model = make().eval()
    posteriors = model.encode_factors(batch)
    z = model.join({name: q.mean for name, q in posteriors.items()})
    assert z.shape == (6, model.d) and list(posteriors) == list(model.slices)
    for name, q in posteriors.items():
        assert torch.equal(model.select(z, name), q.mean)
    for name, mean in model.decode(z).items():
        assert mean.shape == batch[name].shape
    for name in model.embedding_encoders:
        assert model.encode(name, batch[name]).mean.shape == z.shape


@pytest.mark.parametrize("foreground_precision", [1.0, 4.0])
def test_loss_is_minus_eq_2(batch, foreground_precision):
    """Rebuilt from torch's own pieces: Gaussian densities and closed-form divergences."""
    model = labelled(beta=3.0).eval()
    image = modality("image", SIZE, foreground_precision=foreground_precision)
    model.modalities["image"] = image
    torch.manual_seed(5)
    loss, _ = model(batch, "disentangling")
    torch.manual_seed(5)
    q = {name: model.encoders[name](batch[name]) for name in ("pose", "tag")}
    z = {name: d.rsample() for name, d in q.items()}
    means = {name: model.decoders[name](z[name]) for name in z}
    means["image"] = model.decoders["image"](torch.cat([z["pose"], z["tag"]], 1))
    sigma = torch.ones(6, 3, SIZE, SIZE)
    sigma[batch["hand"].expand(-1, 3, -1, -1)] = foreground_precision**-0.5
    weights = {"pose": 0.5, "tag": 0.1, "image": 1.0}
    bound = 0
    for name, mean in means.items():
        scale = sigma if name == "image" else 1.0
        bound = bound + weights[name] * Normal(mean, scale).log_prob(batch[name]).flatten(1).sum(1)
    for d in q.values():
        bound = bound - 3.0 * kl_divergence(d, Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(loss, -bound.mean(), rtol=1e-5, atol=1e-2)


@VARIANTS
def test_the_joint_loss_is_that_of_both_steps(make, batch):
    model = make().eval()
    torch.manual_seed(3)
    both = model(batch, "joint")[0]
    torch.manual_seed(3)
    dis = model(batch, "disentangling")[0]
    torch.testing.assert_close(both, dis + model(batch, "embedding")[0])


@VARIANTS
def test_eq_5_gives_no_parameter_a_gradient_from_both_bounds(make, batch):
    model, gradients = make(), {}
    for step in ("disentangling", "embedding", "joint"):
        model.train().zero_grad(set_to_none=True)
        torch.manual_seed(3)
        if step == "embedding":  # the draws that it has in the joint step
            model.disentangling_bound(batch)
        model(batch, step)[0].backward()
        gradients[step] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert gradients["joint"].keys() == gradients["disentangling"].keys() | gradients["embedding"].keys()
    assert not gradients["disentangling"].keys() & gradients["embedding"].keys()
    for name, gradient in gradients["disentangling"].items():
        torch.testing.assert_close(gradients["joint"][name], gradient)


@VARIANTS
def test_the_decoders_statistics_move_once_in_eq_5(make, batch):
    moved = []
    for step in ("disentangling", "joint"):
        model = make().train()
        torch.manual_seed(3)
        model(batch, step)
        moved.append({k: v.clone() for g in model.decoder_modules for k, v in g.state_dict().items() if "running" in k})
    assert moved[0].keys() == moved[1].keys() and moved[0]
    assert all(torch.equal(moved[0][name], moved[1][name]) for name in moved[0])


@VARIANTS
def test_each_step_moves_what_it_should(make, batch):
    model = make()
    for step in ("disentangling", "embedding"):
        model.zero_grad(set_to_none=True)
        model(batch, step)[0].backward()
        touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        expected = {id(p) for module in getattr(model, f"{step}_modules") for p in module.parameters()}
        assert {name for name, p in model.named_parameters() if id(p) in expected} <= touched
    assert {id(p) for m in (*model.disentangling_modules, *model.embedding_modules) for p in m.parameters()} == {
        id(p) for p in model.parameters()
    }


def test_the_inner_loop_takes_z_u_of_other_images_and_teaches_the_factor_only(batch):
    model = with_u(shared=True).eval()
    seen = {}
    model.shared.register_forward_pre_hook(lambda _, inputs: seen.update(z=inputs[0]))
    model(batch, "independence")[0].backward()
    assert all(p.grad is None for p in model.encoders["u"].parameters())
    assert all(p.grad is None for p in model.shared.image.parameters())
    assert all(p.grad is not None for p in model.shared.pose.parameters())
    # With a posterior that has no width, z_u is exactly that of the neighbour.
    model.encoders["u"].head.linear.weight.data[6:] = 0
    model.encoders["u"].head.linear.bias.data[6:] = -20
    model(batch, "independence")
    expected = model.encoders["u"](batch["image"]).mean.roll(1, 0)
    torch.testing.assert_close(seen["z"][:, model.slices["u"]], expected, atol=1e-2, rtol=0)
