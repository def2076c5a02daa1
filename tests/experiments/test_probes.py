"""Codes on a grid of rendered hands, and Table 4's columns."""

import pytest
import torch

from dvae_lib.experiments import find, probes
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError
from dvae_lib.metrics import exact_auc


def _run(name):
    return Run(find(name, "smoke", "synthetic"), "smoke")


def test_every_pose_is_drawn_in_every_content():
    grid = probes.poses_and_contents(_run("dvae-image"), poses=3)
    assert grid.shape == (3, 6)
    pose, image, tag = (grid.batch[name].unflatten(0, grid.shape) for name in ("pose", "image", "tag"))
    torch.testing.assert_close(pose, pose[:, :1].expand_as(pose), atol=1e-3, rtol=0)  # of the one person
    assert not torch.allclose(pose[0], pose[1], atol=0.01)
    assert torch.equal(tag, tag[:1].expand_as(tag)) and not torch.equal(tag[0, 0], tag[0, 1])
    assert len({x.numpy().tobytes() for x in image.flatten(0, 1)}) == 18


@pytest.mark.parametrize("name", ["dvae-pose", "dvae-pose-rhd"])
def test_every_gesture_is_drawn_from_every_viewpoint_of_a_label(name):
    grid = probes.gestures_and_viewpoints(_run(name), count=3)
    assert grid.shape == (3, 3)
    cpose, viewpoint = (grid.batch[name].unflatten(0, grid.shape) for name in ("cpose", "viewpoint"))
    torch.testing.assert_close(cpose, cpose[:, :1].expand_as(cpose), atol=1e-3, rtol=0)
    torch.testing.assert_close(viewpoint, viewpoint[:1].expand_as(viewpoint), atol=1e-3, rtol=0)
    assert not torch.allclose(cpose[0], cpose[1], atol=0.01)
    assert not torch.allclose(viewpoint[0, 0], viewpoint[0, 1], atol=0.01)
    assert len({x.numpy().tobytes() for x in grid.batch["image"]}) == 9
    assert len(grid.as_array(torch.zeros(9, 5))[0, 0]) == 5


def test_table_4_has_a_column_for_every_part_source_and_bound():
    run, cross_modal = _run("dvae-pose"), _run("cross-modal")
    for r in (run, cross_modal):
        r.train("cpu")
    own, bound = (probes.table_4(r, samples=80, part="test") for r in (run, cross_modal))
    assert list(bound) == ["z_cross"] and own.keys() | bound.keys() == probes.SYMBOLS.keys()
    for column in (*own.values(), *bound.values()):
        assert column["cpose"].shape == (80, 21) and column["viewpoint"].shape == column["unit"].shape == (80,)
        assert len(column["unit"].unique()) == 40  # rooms
    # Noise tells nothing: what is left is about the spread of the labels around their mean, whatever it was.
    batch = next(run.batches("test").in_order())["viewpoint"].flatten(1)
    spread = (batch - batch.mean(0)).square().sum(1).mean()
    assert own["noise"]["viewpoint"].mean() > 0.5 * spread


def test_table_4_is_not_of_any_model():
    run = _run("two-stream")
    run.train("cpu")
    with pytest.raises(UserError, match="a cross-modal VAE, not two-stream"):
        probes.table_4(run, samples=24)


def test_what_is_printed_as_a_leak():
    # By hand from the supplement: (0.561 − 0.555) / (0.773 − 0.555), and (2.15 − 1.99) / (2.15 − 1.27).
    assert probes.leak_as_printed("cpose", "image") == pytest.approx(2.75, abs=0.01)
    assert probes.leak_as_printed("viewpoint", "labels") == pytest.approx(18.2, abs=0.1)


def test_the_area_is_that_of_the_metric():
    errors = 80 * torch.rand(50, 21, generator=torch.Generator().manual_seed(0))
    assert probes.area(errors).mean().item() == pytest.approx(exact_auc(errors, 0, 50), abs=1e-6)
