"""Joint orders, root, scale and the canonical frame, against the reference values of the STB label file."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.io import loadmat
from scipy.linalg import polar
from scipy.spatial.transform import Rotation

from dvae_lib import settings
from dvae_lib.hand import BONES, JOINTS, ORDERS, PARENTS, bone_scale, mirror, project, silhouette, with_root
from dvae_lib.hand.canonical import canonicalise, compose, project_to_rotation

# B1Counting, frame 0, left camera, as the public evaluation code prints it: RHD order, units of the bone scale.
VIEWPOINT = [[0.88411, -0.45983, -0.08303], [0.44913, 0.88530, -0.12053], [0.12893, 0.06927, 0.98923]]
CANONICAL = {
    1: (-1.03325, -1.07331, -0.24141),
    4: (-0.63883, 0.43960, 0),
    9: (0.48221, -3.03742, -0.27384),
    12: (0, -0.97628, 0),
    20: (0.78232, -0.48269, 0),
}
STB_LABELS = settings.data_root() / "stb" / "labels" / "B1Counting_BB.mat"
RHD_TO_BOOK = ORDERS["rhd"]


def random_poses(n=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pose = torch.randn(n, 21, 3, generator=generator, dtype=torch.float64) * 40
    pose[..., 2] += 600
    return pose


def test_skeleton_is_a_tree_of_five_chains():
    assert len(JOINTS) == 21 and JOINTS[9] == "middle MCP" and JOINTS[20] == "little TIP"
    assert len(BONES) == 20 and all(parent < child for parent, child in BONES)
    assert [PARENTS[joint] for joint in (1, 5, 9, 13, 17)] == [0] * 5


@pytest.mark.parametrize("name", ORDERS)
def test_orders_are_permutations(name):
    assert sorted(ORDERS[name]) == list(range(21))


def test_orders_agree_with_each_other():
    """STB to RHD is new[i] = stb[21 − i]; going through the book's order must say the same."""
    stb = torch.arange(21)
    to_rhd = torch.empty(21, dtype=torch.long)
    to_rhd[torch.tensor(RHD_TO_BOOK)] = stb[torch.tensor(ORDERS["stb"])]
    assert to_rhd.tolist() == [0] + [21 - i for i in range(1, 21)]


def test_root_and_scale():
    pose = random_poses()
    assert torch.equal(with_root(pose, "wrist"), pose)
    palm = with_root(pose, "palm")
    torch.testing.assert_close(palm[:, 0], (pose[:, 0] + pose[:, 9]) / 2)
    assert torch.equal(palm[:, 1:], pose[:, 1:])
    torch.testing.assert_close(bone_scale(pose), (pose[:, 9] - pose[:, 10]).square().sum(-1).sqrt())


def test_projection_by_hand():
    K = torch.tensor([[100.0, 0, 32], [0, 100, 32], [0, 0, 1]])
    assert project(torch.tensor([[[50.0, -20, 500]]]), K).tolist() == [[[42.0, 28.0]]]


@pytest.mark.parametrize("right", [False, True])
def test_round_trip(right):
    pose = random_poses()
    cpose, viewpoint = canonicalise(pose, right)
    error = compose(cpose, viewpoint, right) + pose[:, :1] - pose
    assert error.abs().max() < 1e-5  # millimetres
    identity = torch.eye(3, dtype=torch.float64).expand(len(pose), 3, 3)
    torch.testing.assert_close(viewpoint @ viewpoint.mT, identity)
    torch.testing.assert_close(torch.linalg.det(viewpoint), torch.ones(len(pose), dtype=torch.float64))
    assert cpose[:, 9, [0, 2]].abs().max() < 1e-9 and (cpose[:, 9, 1] < 0).all()
    assert cpose[:, 17, 2].abs().max() < 1e-9 and (cpose[:, 17, 0] > 0).all()


def test_cpose_ignores_rotation_and_translation():
    pose = random_poses()
    R = torch.from_numpy(Rotation.random(len(pose), random_state=1).as_matrix())
    torch.testing.assert_close(canonicalise(pose @ R + 123)[0], canonicalise(pose)[0])


def test_mirrored_hands_share_one_cpose():
    """A left hand and its mirror image, labelled as a right hand, are the same gesture."""
    pose = random_poses()
    right = torch.arange(len(pose)) % 2 == 0
    both = mirror(pose, right)
    left_cpose = canonicalise(pose)[0]
    # The mirror image's little finger is on the other side: canonicalise turns it by 180° about y, hence z → −z.
    torch.testing.assert_close(canonicalise(both, right)[0], left_cpose)


def test_nearest_rotation_is_the_polar_factor():
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(50, 3, 3, generator=generator, dtype=torch.float64)
    turning = matrix[torch.linalg.det(matrix) > 0]
    expected = torch.from_numpy(np.stack([polar(m)[0] for m in turning.numpy()]))
    torch.testing.assert_close(project_to_rotation(turning), expected)
    # Also for reflections: no rotation found at random is nearer.
    nearest = project_to_rotation(matrix)
    torch.testing.assert_close(torch.linalg.det(nearest), torch.ones(50, dtype=torch.float64))
    others = torch.from_numpy(Rotation.random(2000, random_state=0).as_matrix())
    distance = (matrix[:, None] - others).square().sum((-1, -2)).min(1).values
    assert ((matrix - nearest).square().sum((-1, -2)) <= distance).all()


def stb_frames():
    """Poses (1500, 21, 3) mm of the real label file, in the book's order, palm root."""
    return torch.from_numpy(loadmat(STB_LABELS)["handPara"]).permute(2, 1, 0)[:, ORDERS["stb"]]


def test_canonical_frame_inverts_the_reference_values():
    """The printed CPose and viewpoint, composed and split again, come back: the convention is the protocol's."""
    points = torch.zeros(1, 21, 3, dtype=torch.float64)
    for rhd_index, point in CANONICAL.items():
        points[0, RHD_TO_BOOK.index(rhd_index)] = torch.tensor(point, dtype=torch.float64)
    viewpoint = torch.tensor(VIEWPOINT, dtype=torch.float64)
    cpose, found = canonicalise(compose(points, viewpoint))
    torch.testing.assert_close(found[0], viewpoint, atol=2e-5, rtol=0)
    torch.testing.assert_close(cpose, points, atol=2e-5, rtol=0)


@pytest.mark.real_data("stb")
def test_reference_values_on_the_real_stb_labels():
    pose = stb_frames()
    scale = bone_scale(pose)
    torch.testing.assert_close(scale, torch.full_like(scale, 40.0), atol=0.01, rtol=0)
    torch.testing.assert_close(
        pose[0, 0], torch.tensor([126.50, 56.84, 664.35], dtype=torch.float64), atol=0.01, rtol=0
    )
    cpose, viewpoint = canonicalise(pose / scale[:, None, None])
    torch.testing.assert_close(viewpoint[0], torch.tensor(VIEWPOINT, dtype=torch.float64), atol=1e-5, rtol=0)
    for rhd_index, point in CANONICAL.items():
        expected = torch.tensor(point, dtype=torch.float64)
        torch.testing.assert_close(cpose[0, RHD_TO_BOOK.index(rhd_index)], expected, atol=1e-5, rtol=0)
    cosine = (torch.einsum("nii->n", viewpoint @ viewpoint[0].T) - 1) / 2
    angle = cosine.clamp(-1, 1).acos().rad2deg()
    assert abs(angle.median() - 13.3) < 0.1 and abs(angle.max() - 34.1) < 0.1
    back = compose(cpose, viewpoint) * scale[:, None, None] + pose[:, :1]
    assert (back - pose).abs().max() < 1e-5


# Properties, on hands that hypothesis makes up.

HANDS = st.builds(
    lambda seed, spread: spread * torch.from_numpy(np.random.default_rng(seed).normal(size=(21, 3))),
    st.integers(0, 2**32 - 1),
    st.floats(5, 80),
)


def _is_a_hand(pose):
    """The palm's triangle must have an area: without one there is no canonical frame."""
    middle, little = pose[9] - pose[0], pose[17] - pose[0]
    lengths = middle.norm(), little.norm()
    return min(lengths) > 1 and torch.linalg.cross(middle, little).norm() > 1e-2 * lengths[0] * lengths[1]


@given(pose=HANDS, turn=arrays(np.float64, 3, elements=st.floats(-3, 3)), right=st.booleans())
def test_the_cpose_does_not_know_the_viewpoint_and_both_compose_the_pose(pose, turn, right):
    assume(_is_a_hand(pose))
    cpose, viewpoint = canonicalise(pose, right)
    relative = pose - pose[:1]
    torch.testing.assert_close(compose(cpose, viewpoint, right), relative, atol=1e-6, rtol=0)
    torch.testing.assert_close(viewpoint @ viewpoint.T, torch.eye(3).double(), atol=1e-9, rtol=0)
    assert torch.linalg.det(viewpoint) > 0
    seen = pose @ torch.from_numpy(Rotation.from_rotvec(turn).as_matrix())
    torch.testing.assert_close(canonicalise(seen, right)[0], cpose, atol=1e-4, rtol=0)
    twin, _ = canonicalise(mirror(pose), not right)
    torch.testing.assert_close(twin, cpose, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_silhouette_covers_half_a_fingers_width_around_every_bone(mirrored):
    joints = random_poses(3).float() + torch.tensor([0.0, 0, 900])
    K = torch.tensor([[120.0, 0, 30], [0, 120, 34], [0, 0, 1]]).expand(3, 3, 3).clone()
    if mirrored:  # as batches are: the space and its camera both turned over
        joints, K = mirror(joints), K.clone()
        K[:, 0, 0] *= -1
    found = silhouette(joints, K, 64)
    assert found.shape == (3, 1, 64, 64) and found.dtype == torch.bool
    uv = project(joints, K).double().numpy()
    lines = [*BONES, (5, 9), (9, 13), (13, 17), (2, 5)]
    for sample in range(3):
        radius = 0.28 * bone_scale(joints)[sample].item() * 120 / joints[sample, 9, 2].item()
        for x, y in [(5, 9), (30, 34), (20, 50), (41, 17), (33, 30), (28, 36)]:
            nearest = np.inf
            for a, b in lines:
                way = uv[sample, a] + np.linspace(0, 1, 2001)[:, None] * (uv[sample, b] - uv[sample, a])
                nearest = min(nearest, np.linalg.norm(way - [x + 0.5, y + 0.5], axis=1).min())
            if abs(nearest - radius) > 0.02:
                assert found[sample, 0, y, x].item() == (nearest < radius)
