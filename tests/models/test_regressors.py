"""The regressors: rotations from three numbers, and a loss that is the squared error."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dvae_lib.datasets.batches import Batches
from dvae_lib.models.modalities import modality
from dvae_lib.models.regressors import Regressor, rotation_from_axis_angle
from tests.helpers.batches import FakeDataset

SIZE = 32


@pytest.fixture
def batch():
    return Batches([(FakeDataset(), np.arange(12))], 12, ["image"]).batch(0)


def test_axis_and_angle_are_scipys():
    w = torch.randn(50, 3, dtype=torch.float64) * 2
    expected = torch.from_numpy(Rotation.from_rotvec(w.numpy()).as_matrix())
    torch.testing.assert_close(rotation_from_axis_angle(w), expected)


def test_the_axis_of_no_turn_has_a_gradient():
    w = torch.zeros(1, 3, requires_grad=True)
    rotation = rotation_from_axis_angle(w)
    assert torch.equal(rotation, torch.eye(3)[None])
    rotation[0, 0, 1].backward()
    torch.testing.assert_close(w.grad, torch.tensor([[0.0, 0.0, -1.0]]))


@pytest.mark.parametrize("rotation", ["axis-angle", "matrix"])
@pytest.mark.parametrize("targets", [("pose",), ("cpose", "viewpoint")])
def test_the_loss_of_a_regressor_is_half_the_squared_error(batch, targets, rotation):
    torch.manual_seed(0)
    model = Regressor([modality(name, SIZE) for name in targets], d=8, rotation=rotation).eval()
    loss, _ = model(batch, None)
    read = model.predictions(batch)["image"]
    squared = sum((read[name] - batch[name]).square().flatten(1).sum(1) for name in targets).mean()
    numbers = sum(batch[name][0].numel() for name in targets)
    torch.testing.assert_close(loss, squared / 2 + numbers / 2 * np.log(2 * np.pi), rtol=1e-4, atol=1e-3)
    if "viewpoint" in targets and rotation == "axis-angle":
        R = read["viewpoint"]
        torch.testing.assert_close(R @ R.mT, torch.eye(3).expand_as(R), atol=1e-5, rtol=0)
