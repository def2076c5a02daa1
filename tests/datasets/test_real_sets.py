"""The paper's two data sets, from files on disk to a trained run: miniature trees stand in for them."""

import numpy as np
import pytest
import scipy.io

from dvae_lib.datasets.stb_layout import SEQUENCES
from dvae_lib.experiments import experiments, find
from dvae_lib.experiments.run import Run, load_or_train
from dvae_lib.files import UserError
from dvae_lib.hand import ORDERS
from tests.helpers.rhd_tree import write_rhd
from tests.helpers.stb_tree import write_stb


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_stb(root / "stb", tuple(SEQUENCES), frames=4, cameras=("BB_left", "SK_depth"))
    write_rhd(root / "rhd", training=56, evaluation=8)
    return root


@pytest.fixture(autouse=True)
def here(data_root, tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_DATA_ROOT", str(data_root))
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))


CROSS_MODAL = ["vae-pose", "cross-modal", "cross-modal-depth", "steady-joint", "steady-alternating", "steady-passes"]
UNLABELLED = ["dvae-zu", "dvae-zu-without-loop"]
POSE = ["dvae-pose", "dvae-pose-depth", "two-stream", "resnet"]
SUPERVISION = [f"{kind}-{percent}" for percent in (5, 10, 25, 50) for kind in ("labelled", "semi", "weak", "both")]
SUPERVISION.append("labelled-100")
ABLATION = [f"ablation-{beta}-{d}" for beta in (10, 100, 1000) for d in (8, 64, 256)]
# Of the four frames of each of STB's sequences, two lie in blocks that are held out from synthesis.
TESTED = [
    *(("stb", name, 8) for name in (*CROSS_MODAL, *POSE)),
    *(
        ("stb", name, 24)
        for name in ("dvae-image", "dvae-image-place", "dvae-image-joint", "dvae-image-8", *UNLABELLED, *ABLATION)
    ),
    *(("rhd", name, 4) for name in (*CROSS_MODAL, *UNLABELLED, *POSE, *SUPERVISION)),
]


@pytest.mark.parametrize(("data", "name", "tested"), TESTED)
def test_every_experiment_runs_on_the_papers_data(monkeypatch, data, name, tested):
    monkeypatch.setenv("DVAE_DATA", data)
    assert name in experiments() and len(experiments()) == sum(data == of for of, _, _ in TESTED)
    run = load_or_train(name)
    assert run.experiment.data == (data,) and run.evaluation["samples"] == tested
    source = list(run.evaluation["from"])[0]
    curve = np.loadtxt(run.folder / f"pck-{source}.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(curve[:, 1], run.evaluation["from"][source]["scores"]["pck"])


def test_a_batch_of_stb_is_its_labels(data_root):
    """The test's poses, from the label files without the loader: relative to the labelled palm, in bone lengths."""
    run = Run(find("vae-pose", "smoke", "stb"), "smoke")
    pose = np.concatenate([batch["pose"] for batch in run.batches("test").in_order()])
    expected = []
    for sequence in ("B1Counting", "B1Random"):
        labels = scipy.io.loadmat(data_root / "stb" / "labels" / f"{sequence}_BB.mat")["handPara"].transpose(2, 1, 0)
        joints = labels[[0, 375, 750, 1125]][:, ORDERS["stb"]]
        scale = np.linalg.norm(joints[:, 9] - joints[:, 10], axis=-1)
        expected.append((joints - joints[:, :1]) / scale[:, None, None])
    np.testing.assert_allclose(pose, np.concatenate(expected), atol=1e-4)


@pytest.mark.parametrize("data", ["stb", "rhd"])
def test_the_root_is_the_palm_or_the_wrist(data):
    palm, wrist = (Run(find("vae-pose", "smoke", data, root), "smoke") for root in ("palm", "wrist"))
    assert palm.folder != wrist.folder
    ours, theirs = (next(run.batches("validation").in_order()) for run in (palm, wrist))
    # Only the origin differs: the fingers' joints are the same seen from each other, and the scale is one.
    difference = ours["pose"][:, 1:] - theirs["pose"][:, 1:]
    np.testing.assert_allclose(difference, difference[:, :1].expand_as(difference), atol=1e-4)
    assert difference.norm(dim=-1).min() > 0.5
    wrist.train("cpu")
    assert wrist.evaluation["mean pose"]["scores"]["root"] == "wrist"


@pytest.mark.parametrize("data", ["stb", "rhd"])
def test_data_that_are_not_here_are_named_with_the_way_to_get_them(monkeypatch, tmp_path, data):
    monkeypatch.setenv("DVAE_DATA_ROOT", str(tmp_path / "nothing"))
    monkeypatch.setenv("DVAE_DATA", data)
    with pytest.raises(UserError, match=f"nothing.{data}.*dvae download {data}"):
        load_or_train("cross-modal")


def test_the_laptop_profile_takes_one_view_and_the_full_one_both():
    assert experiments("laptop", "stb")["cross-modal"].options == {
        "stb": {"frames_per_sequence": 750, "views": ["BB_left"]}
    }
    assert experiments("full", "stb")["cross-modal"].options == {}
    assert experiments("full", "stb")["cross-modal-depth"].options == {"stb": {"views": ["SK_depth"]}}
