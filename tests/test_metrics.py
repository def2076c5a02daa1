"""End-point error against brute force."""

import math

import pytest
import torch

from dvae_lib.evaluation import mean_pose
from dvae_lib.metrics import epe, joint_errors


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "pose": torch.randn(n, 21, 3, generator=generator),
        "scale": 30 + 20 * torch.rand(n, generator=generator),
        "visible": torch.rand(n, 21, generator=generator) > 0.3,
    }


def test_epe_is_the_mean_of_the_joints_means_over_visible_ones():
    truth = batch()
    prediction = torch.randn(6, 21, 3)
    means = []
    for joint in range(21):
        distances = [
            math.dist(prediction[i, joint].tolist(), truth["pose"][i, joint].tolist()) * truth["scale"][i].item()
            for i in range(6)
            if truth["visible"][i, joint]
        ]
        if distances:
            means.append(sum(distances) / len(distances))
    assert epe(joint_errors(prediction, truth)) == pytest.approx(sum(means) / len(means), rel=1e-5)


def test_a_known_error_in_millimetres():
    truth = batch() | {"visible": torch.ones(6, 21, dtype=torch.bool)}
    shifted = truth["pose"] + torch.tensor([3.0, 0.0, 4.0])
    torch.testing.assert_close(joint_errors(shifted, truth), 5 * truth["scale"][:, None].expand(6, 21))


def test_mean_pose():
    parts = [batch(seed=1), batch(seed=2)]
    torch.testing.assert_close(mean_pose(parts), (parts[0]["pose"].mean(0) + parts[1]["pose"].mean(0)) / 2)
