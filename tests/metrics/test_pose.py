"""Every score against plain loops, closed forms and properties; rotations against SciPy's."""

import csv
import json
import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from dvae_lib.experiments.evaluation import mean_labels
from dvae_lib.files import UserError
from dvae_lib.hand import JOINTS
from dvae_lib.metrics import (
    THRESHOLDS,
    auc,
    epe,
    exact_auc,
    geodesic,
    joint_errors,
    pck,
    procrustes_errors,
    scaled_errors,
    score_pose,
    viewpoint_errors,
)

properties = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "pose": torch.randn(n, 21, 3, generator=generator),
        "cpose": torch.randn(n, 21, 3, generator=generator),
        "viewpoint": torch.randn(n, 3, 3, generator=generator),
        "scale": 30 + 20 * torch.rand(n, generator=generator),
        "visible": torch.rand(n, 21, generator=generator) > 0.3,
    }


def some_errors(n=40, seed=1):
    """Errors (n, 21) from 0 to about 80 mm; joint j is visible in a share of samples that falls with j, 20 never."""
    generator = torch.Generator().manual_seed(seed)
    errors = 80 * torch.rand(n, 21, generator=generator, dtype=torch.float64) ** 1.5
    hidden = torch.rand(n, 21, generator=generator) < torch.linspace(0, 0.8, 21)
    hidden[:, 20] = True
    return errors.masked_fill(hidden, torch.nan)


def by_hand(errors):
    """For each joint that is ever visible, the list of its errors."""
    columns = [[row[joint] for row in errors.tolist() if not math.isnan(row[joint])] for joint in range(21)]
    return [column for column in columns if column]


def moved(pose, seed=0):
    """The pose turned, scaled and shifted anyhow."""
    rotation = torch.from_numpy(Rotation.random(len(pose), rng=seed).as_matrix()).to(pose)
    return 1.7 * pose @ rotation + torch.tensor([3.0, -2.0, 0.5])


def test_a_hand_of_the_wrong_size_has_no_error_at_the_true_one():
    truth = batch()
    assert np.nanmax(scaled_errors(0.6 * truth["pose"], truth)) < 1e-3
    assert np.nanmin(joint_errors(0.6 * truth["pose"], truth)) > 0.1


def test_what_only_lies_elsewhere_has_no_error_after_procrustes():
    truth = batch()
    assert np.nanmax(procrustes_errors(moved(truth["pose"]), truth)) < 1e-3
    assert np.nanmean(procrustes_errors(truth["pose"] * torch.tensor([-1.0, 1, 1]), truth)) > 5  # not a mirror image


def test_procrustes_is_the_best_of_all_similarities():
    """SciPy's search over rotation, scale and shift ends no better."""
    truth = batch(n=3) | {"visible": torch.ones(3, 21, dtype=torch.bool)}
    prediction = moved(truth["pose"] + 0.3 * batch(n=3, seed=5)["pose"])
    found = procrustes_errors(prediction, truth).square().sum(1)
    for i in range(3):
        a, b, mm = (x[i].double().numpy() for x in (prediction, truth["pose"], truth["scale"]))

        def cost(v, a=a, b=b, mm=mm):
            turned = np.exp(v[3]) * a @ Rotation.from_rotvec(v[:3]).as_matrix() + v[4:]
            return (((turned - b) * mm) ** 2).sum()

        starts = Rotation.random(12, rng=1).as_rotvec()
        best = min(minimize(cost, [*start, 0, 0, 0, 0]).fun for start in starts)
        assert found[i].item() == pytest.approx(best, rel=1e-3)


def pck_by_hand(errors, threshold):
    shares = [sum(1 for error in column if error <= threshold) / len(column) for column in by_hand(errors)]
    return sum(shares) / len(shares)


def trapezoid_by_hand(thresholds, shares):
    area = 0
    for i in range(len(thresholds) - 1):
        area += (thresholds[i + 1] - thresholds[i]) * (shares[i] + shares[i + 1]) / 2
    return area / (thresholds[-1] - thresholds[0])


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


def test_a_prediction_that_is_no_number_is_infinitely_wrong_and_not_left_out():
    truth = batch() | {"visible": torch.ones(6, 21, dtype=torch.bool)}
    truth["visible"][1, 4] = False
    prediction = truth["pose"].clone()
    prediction[0, 3, 1] = torch.nan
    prediction[1, 4] = torch.nan  # hidden: nobody asks
    prediction[2, 5, 0] = torch.inf
    errors = joint_errors(prediction, truth)
    assert errors[0, 3] == errors[2, 5] == torch.inf and errors[1, 4].isnan() and errors.nansum() == torch.inf
    scores = score_pose(errors, "palm")
    assert scores.not_a_number == 2 and scores.epe == math.inf
    assert scores.pck[0] == pytest.approx((19 + 2 * 5 / 6) / 21)
    assert scores.auc_20_50 == pytest.approx((19 + 2 * 5 / 6) / 21)
    text = json.dumps(scores.as_json(), allow_nan=False)
    assert json.loads(text)["epe"] is None and json.loads(text)["epe_per_joint"][0] == 0


def test_scores_against_plain_loops():
    errors = some_errors()
    columns = by_hand(errors)
    assert len(columns) == 20
    scores = score_pose(errors, "wrist")
    means, medians = [statistics.fmean(c) for c in columns], [statistics.median(c) for c in columns]
    assert scores.epe == pytest.approx(sum(means) / 20) == pytest.approx(epe(errors))
    assert scores.median_epe == pytest.approx(sum(medians) / 20)
    np.testing.assert_allclose(scores.epe_per_joint[:20], means)
    np.testing.assert_allclose(scores.median_epe_per_joint[:20], medians)
    assert math.isnan(scores.epe_per_joint[20]) and math.isnan(scores.median_epe_per_joint[20])
    assert (scores.root, scores.samples, scores.not_a_number) == ("wrist", 40, 0)
    assert scores.never_visible == ("little TIP",)

    thresholds = [i * 50 / 19 for i in range(20)]
    curve = [pck_by_hand(errors, t) for t in thresholds]
    np.testing.assert_allclose(scores.thresholds, thresholds)
    np.testing.assert_allclose(scores.pck, curve)
    assert scores.auc_0_50 == pytest.approx(trapezoid_by_hand(thresholds, curve))
    assert scores.auc_20_50_reference == pytest.approx(trapezoid_by_hand(thresholds[8:], curve[8:]))
    assert thresholds[8] == pytest.approx(21.0526, abs=1e-4) and len(thresholds[8:]) == 12
    # The exact area, by a very fine grid.
    fine = np.linspace(20, 50, 20_001)
    assert scores.auc_20_50 == pytest.approx(trapezoid_by_hand(fine, pck(errors, fine)), abs=1e-4)


def test_pck_weighs_joints_alike_where_a_pooled_one_does_not():
    errors = torch.full((10, 21), torch.nan)
    errors[:, 0] = 0  # always visible, always right
    errors[0, 1] = 100  # seen once, wrong
    assert pck(errors, [30]) == [0.5]
    assert (errors[~errors.isnan()] <= 30).float().mean() == pytest.approx(10 / 11)
    visible = some_errors()[:, :1].expand(40, 21)  # all equally often: the same
    assert pck(visible, [30])[0] == pytest.approx((visible[~visible.isnan()] <= 30).double().mean().item())


@pytest.mark.parametrize("error", [0.0, 12.5, 20.0, 35.0, 50.0, 70.0])
def test_a_constant_error_makes_a_step(error):
    errors = torch.full((5, 21), error, dtype=torch.float64)
    np.testing.assert_array_equal(pck(errors, [error - 0.01, error, error + 0.01]), [0, 1, 1])
    # ∫ [e ≤ t] dt from a to b is b − e, if e is between them.
    assert exact_auc(errors, 0, 50) == pytest.approx(max(0, (50 - error) / 50))
    assert exact_auc(errors, 20, 50) == pytest.approx(min(1, max(0, (50 - error) / 30)))
    # On the grid the step is a ramp up to the first threshold at or above e.
    step = 50 / 19
    first = math.ceil(error / step - 1e-12)
    expected = 1 if first == 0 else max(0, (50 - first * step + step / 2) / 50)
    assert score_pose(errors, "palm").auc_0_50 == pytest.approx(expected if error <= 50 else 0)


def test_area_of_a_curve():
    t = [0, 10, 20, 30]
    assert auc(t, [0.5] * 4, 0, 30) == pytest.approx(0.5)
    assert auc(t, [0, 0, 0, 1], 0, 30) == pytest.approx(1 / 6)
    assert auc(t, [0, 0, 0, 1], 15, 50) == pytest.approx(1 / 2)
    with pytest.raises(ValueError, match="1 points"):
        auc(t, [0, 0, 0, 1], 25, 50)


@pytest.mark.parametrize("errors", [torch.zeros(0, 21), torch.full((3, 21), torch.nan)])
def test_nothing_to_score_is_said(errors):
    for score in (epe, pck, lambda e: exact_auc(e, 20, 50), lambda e: score_pose(e, "palm")):
        with pytest.raises(UserError, match="nothing to score"):
            score(errors)


def test_scores_as_json_and_the_curve_as_csv(tmp_path):
    scores = score_pose(some_errors(), "palm")
    scores.to_csv(tmp_path / "deep" / "pck.csv")
    saved = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert saved["pck"] == list(scores.pck) and saved["auc_20_50"] == scores.auc_20_50 and saved["root"] == "palm"
    assert saved["epe_per_joint"][20] is None and saved["never_visible"] == [JOINTS[20]]
    with open(tmp_path / "deep" / "pck.csv", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["threshold_mm", "pck"]
    np.testing.assert_array_equal(np.array(rows, dtype=float), np.stack([scores.thresholds, scores.pck], axis=1))
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"pck.csv"}


# Errors in mm, some of joints that are not visible, of which at least one is.
lengths = st.floats(0, 200, width=32) | st.just(math.nan)
error_tables = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(21)), elements=lengths).filter(
    lambda table: not np.isnan(table).all()
)


@properties
@given(error_tables)
def test_pck_rises_and_areas_are_shares(table):
    errors = torch.from_numpy(table)
    scores = score_pose(errors, "palm")
    curve = pck(errors, np.linspace(0, 250, 60))
    assert (np.diff(curve) >= 0).all() and curve[0] >= 0 and curve[-1] == pytest.approx(1)
    for area in (scores.auc_0_50, scores.auc_20_50_reference, scores.auc_20_50):
        assert -1e-12 <= area <= 1 + 1e-12
    # A staircase that rises is never further from its trapezoids than half a step's width.
    assert abs(scores.auc_0_50 - exact_auc(errors, 0, 50)) <= 1 / 19 / 2 + 1e-9


@properties
@given(error_tables, st.randoms(use_true_random=False))
def test_neither_the_order_of_samples_nor_of_joints_matters(table, random):
    rows, columns = list(range(len(table))), list(range(21))
    random.shuffle(rows)
    random.shuffle(columns)
    scores, other = (score_pose(torch.from_numpy(t), "palm") for t in (table, table[rows][:, columns]))
    for name in ("epe", "median_epe", "pck", "auc_0_50", "auc_20_50_reference", "auc_20_50"):
        assert getattr(other, name) == pytest.approx(getattr(scores, name), rel=1e-9, abs=1e-12)


@properties
@given(error_tables, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_errors_and_thresholds_scale_together(table, factor):
    """Powers of two, since scaling by them is exact: an error at a threshold stays there."""
    errors = torch.from_numpy(table)
    np.testing.assert_allclose(pck(factor * errors, factor * THRESHOLDS), pck(errors))
    assert epe(factor * errors) == pytest.approx(factor * epe(errors))
    assert exact_auc(factor * errors, 20 * factor, 50 * factor) == pytest.approx(exact_auc(errors, 20, 50))


# Unit quaternions; a rotation of any angle about any axis.
quaternions = arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1)
rotations = quaternions.map(lambda q: torch.from_numpy(Rotation.from_quat(q).as_matrix()))


@properties
@given(rotations, rotations, rotations)
def test_geodesic_is_a_metric_that_no_rotation_of_both_changes(a, b, c):
    ab = geodesic(a, b)
    assert 0 <= ab <= 180 and geodesic(a, a) < 1e-6
    assert geodesic(b, a) == pytest.approx(ab.item(), abs=1e-6)
    assert geodesic(c @ a, c @ b) == pytest.approx(ab.item(), abs=1e-6)
    assert geodesic(a @ c, b @ c) == pytest.approx(ab.item(), abs=1e-6)
    assert geodesic(a, c) <= ab + geodesic(b, c) + 1e-6


@properties
@given(rotations, rotations)
def test_geodesic_is_scipys(a, b):
    between = Rotation.from_matrix(a.numpy()).inv() * Rotation.from_matrix(b.numpy())
    assert geodesic(a, b).item() == pytest.approx(np.rad2deg(between.magnitude()), abs=1e-6)


@properties
@given(quaternions.map(lambda q: q[:3]).filter(lambda v: np.linalg.norm(v) > 0.1), st.floats(-180, 180), rotations)
def test_geodesic_is_the_angle_about_an_axis(axis, angle, start):
    turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis), degrees=True).as_matrix()
    assert geodesic(start, start @ torch.from_numpy(turn)).item() == pytest.approx(abs(angle), abs=1e-5)


@pytest.mark.parametrize("angle", [0.01, 1.0, 90.0, 179.0, 179.99])
def test_geodesic_in_single_precision_is_as_good_at_both_ends(angle):
    turn = torch.from_numpy(Rotation.from_rotvec([angle, 0, 0], degrees=True).as_matrix()).float()
    start = torch.from_numpy(Rotation.random(random_state=0).as_matrix()).float()
    assert geodesic(start, start @ turn).item() == pytest.approx(angle, abs=1e-4)


def test_viewpoints_are_read_as_the_nearest_rotation():
    truth = torch.from_numpy(Rotation.random(7, random_state=1).as_matrix())
    turn = torch.from_numpy(Rotation.from_rotvec([0, 30, 0], degrees=True).as_matrix())
    prediction = truth @ turn
    prediction[0] *= 3.5  # a matrix and its positive multiples are one rotation
    prediction[1:3] @= torch.diag(torch.tensor([1.2, 0.9, 1.4], dtype=torch.float64))  # a stretch is undone
    expected = torch.full((7,), 30.0, dtype=torch.float64)
    torch.testing.assert_close(viewpoint_errors(prediction, truth), expected)
    prediction[3, 0, 0] = torch.nan
    prediction[4] = torch.inf
    expected[3:5] = 180
    torch.testing.assert_close(viewpoint_errors(prediction, truth), expected)
    # A reflection is no rotation: the nearest one is found, not the reflection kept.
    reflected = torch.diag(torch.tensor([1.0, 1.0, -0.5])).expand(1, 3, 3)
    torch.testing.assert_close(viewpoint_errors(reflected, torch.eye(3).expand(1, 3, 3)), torch.zeros(1))


def test_mean_labels():
    parts = [batch(seed=1), batch(seed=2)]
    for name, mean in mean_labels(parts).items():
        torch.testing.assert_close(mean, (parts[0][name].mean(0) + parts[1][name].mean(0)) / 2)
