"""Algorithms 1 and 2 and Eq. 5 as trainings: what is trained in which stage, and nothing lost where one is killed."""

import copy

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from dvae_lib.datasets.batches import Batches
from dvae_lib.models import DVAE
from dvae_lib.models.modalities import Modality
from dvae_lib.training import algorithm_1, algorithm_2, joint_objective, train
from dvae_lib.training.checkpoints import METRICS, read_metrics
from tests.helpers.batches import TaggedDataset
from tests.helpers.models import SIZE, labelled, with_u
from tests.helpers.training import killed_at


def fit(folder, stages, make=labelled, network=None, **options):
    network, dataset = network or make(), TaggedDataset()
    names = ["image", "tag"] if "tag" in network.factors else ["image"]
    batches = Batches([(dataset, np.arange(48))], 6, names, seed=3)
    settings = {"lr": 1e-3, "decay": True, "save_every": 2, "save_seconds": 0, "log_every": 1, "seed": 3} | options
    train(network, [(stage, batches) for stage in stages], folder, Fabric(accelerator="cpu", devices=1), **settings)
    return network


def test_the_embedding_step_leaves_all_else_alone_running_statistics_too(tmp_path):
    model = fit(tmp_path / "a", algorithm_1(3, 0))
    before = copy.deepcopy(model.state_dict())
    fit(tmp_path / "b", algorithm_1(0, 3), network=model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith("embedding_encoders."), name


@pytest.mark.parametrize(("algorithm", "at"), [("1", 7), ("2", 4)])
def test_a_run_killed_in_either_step_ends_with_the_same_weights(tmp_path, monkeypatch, at, algorithm):
    make = labelled if algorithm == "1" else with_u

    def stages():
        return algorithm_1(5, 4) if algorithm == "1" else algorithm_2(5, 2, 4)

    whole = fit(tmp_path / "whole", stages(), make)
    with killed_at(at, monkeypatch):
        fit(tmp_path / "killed", stages(), make)
    resumed = fit(tmp_path / "killed", stages(), make)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert (tmp_path / "killed" / METRICS).read_text() == (tmp_path / "whole" / METRICS).read_text()


def test_algorithm_2_has_its_inner_loop(tmp_path, monkeypatch):
    asked = []
    original = DVAE.forward
    monkeypatch.setattr(DVAE, "forward", lambda self, batch, step: asked.append(step) or original(self, batch, step))
    fit(tmp_path, algorithm_2(2, 3, 1), with_u)
    assert asked == ["disentangling", *["independence"] * 3] * 2 + ["embedding"]


def test_stages_are_told_apart_in_the_metrics(tmp_path):
    fit(tmp_path, algorithm_1(3, 2))
    assert [(line["step"], line["stage"]) for line in read_metrics(tmp_path)] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 1),
    ]


def test_eq_5_trains_everything_at_once(tmp_path):
    model = labelled()
    before = copy.deepcopy(model.state_dict())
    fit(tmp_path, joint_objective(2), network=model)
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


class Own:
    """Data that are no hands: three factors of other shapes, and a batch by step; nothing of the library's."""

    def batch(self, step):
        generator = torch.Generator().manual_seed(step)
        shapes = {"shape": (4,), "rotation": (2,), "colour": (3,), "image": (3, SIZE, SIZE)}
        return {name: torch.rand(5, *shape, generator=generator) for name, shape in shapes.items()}


def test_own_factors_are_declared_and_trained_like_a_hands(tmp_path):
    torch.manual_seed(1)
    image = Modality("image", (3, SIZE, SIZE))
    factors = [(Modality("shape", (4,)), 2), (Modality("rotation", (2,)), 3), (Modality("colour", (3,)), 4)]
    network = DVAE(factors, [image], embeddings=[image])
    stages = [(stage, Own()) for stage in algorithm_1(2, 2)]
    train(network, stages, tmp_path, Fabric(accelerator="cpu", devices=1), lr=1e-3, log_every=1)
    last = read_metrics(tmp_path)[-1]
    assert {f"image→{name}" for name in ("shape", "rotation", "colour", "image", "kl")} <= last.keys()
    read = network.eval().predictions(Own().batch(0))["image"]
    assert {name: tuple(mean.shape) for name, mean in read.items()} == {
        "shape": (5, 4),
        "rotation": (5, 2),
        "colour": (5, 3),
        "image": (5, 3, SIZE, SIZE),
    }
