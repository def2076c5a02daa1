"""One call trains one's own model on one's own data, and a killed call goes on where it was."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from dvae_lib import DVAE, CrossModalVAE, Modality, UserError, fit
from dvae_lib.models import modality
from dvae_lib.training import fit as module
from dvae_lib.training.checkpoints import WEIGHTS
from tests.helpers.training import Killed

COUNT = 40


def data():
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(3, (COUNT,), generator=generator)
    return {
        "xy": torch.randn(COUNT, 2, generator=generator),
        "kind": kind,
        "seen": kind[:, None] + torch.rand(COUNT, 5),
    }


DATA = data()


def model():
    torch.manual_seed(1)
    factors = [(Modality("xy", (2,)), 2), (Modality("kind", categories=3), 2)]
    return DVAE(factors, [Modality("seen", (5,))], embeddings=["seen"], beta=0.1)


class Items(Dataset):
    def __len__(self):
        return COUNT

    def __getitem__(self, i):
        return {name: values[i] for name, values in DATA.items()}


SETTINGS = {"steps": (6, 4), "batch_size": 8, "device": "cpu", "quiet": True}


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_dict_and_a_data_set_of_the_same_samples_train_the_same_model(tmp_path):
    first, second = model(), model()
    log = fit(first, DATA, folder=tmp_path / "a", **SETTINGS)
    fit(second, Items(), folder=tmp_path / "b", **SETTINGS)
    assert [line["step"] for line in log] == [0, 9] and not first.training
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
    assert same(DVAE.load(tmp_path / "a" / WEIGHTS), first)


@pytest.mark.parametrize("given", ["dict", "data set", "loader"])
def test_a_killed_call_goes_on_where_it_was(tmp_path, monkeypatch, given):
    def source():
        return {"dict": DATA, "data set": Items(), "loader": DataLoader(Items(), 8)}[given]

    whole, killed = model(), model()
    fit(whole, source(), folder=tmp_path / "whole", **SETTINGS)
    original, steps = module.train, []

    def dying(network, stages, folder, fabric, **options):
        class Dying:
            def __init__(self, batches):
                self.batches = batches

            def batch(self, step):
                steps.append(step)
                if steps.count(7) == 1 and step == 7:
                    raise Killed
                return self.batches.batch(step)

        wrapped = [(stage, Dying(batches)) for stage, batches in stages]
        original(network, wrapped, folder, fabric, save_every=2, save_seconds=0, **options)

    monkeypatch.setattr(module, "train", dying)
    with pytest.raises(Killed):
        fit(killed, source(), folder=tmp_path / "killed", **SETTINGS)
    resumed = model()
    fit(resumed, source(), folder=tmp_path / "killed", **SETTINGS)
    assert steps[-4:] == [6, 7, 8, 9]  # from the checkpoint of step 6 on
    assert given == "loader" or same(resumed, whole)
    again = model()
    monkeypatch.setattr(module, "train", lambda *_, **__: 1 / 0)
    fit(again, source(), folder=tmp_path / "killed", **SETTINGS)
    assert same(again, resumed)


def test_every_sample_is_seen_once_an_epoch():
    batches = module.TensorBatches({"i": torch.arange(10)}, 4, 3, torch.device("cpu"))
    seen = torch.cat([batches.batch(step)["i"] for step in range(5)])
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()
    assert torch.equal(batches.batch(1)["i"], seen[4:8])


def test_another_training_is_not_continued_with_other_settings(tmp_path):
    fit(model(), DATA, folder=tmp_path, **SETTINGS)
    with pytest.raises(UserError, match="contains a training run with another steps, lr"):
        fit(model(), DATA, folder=tmp_path, **SETTINGS | {"steps": (6, 5), "lr": 0.1})


@pytest.mark.parametrize("steps", [(3,), (3, 0), (1, 2, 3), 4])
def test_steps_that_do_not_fit_the_model_are_refused(tmp_path, steps):
    with pytest.raises(UserError, match="requires two numbers"):
        fit(model(), DATA, folder=tmp_path, **SETTINGS | {"steps": steps})
    assert not list(tmp_path.iterdir())


def test_data_that_do_not_fit_the_declaration_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"“xy” is declared as \(B, 2\)"):
        fit(model(), DATA | {"xy": torch.randn(COUNT)}, folder=tmp_path, **SETTINGS)
    with pytest.raises(UserError, match="the same number"):
        fit(model(), DATA | {"xy": torch.randn(3, 2)}, folder=tmp_path / "b", **SETTINGS)
    with pytest.raises(UserError, match="yields no batch"):
        fit(model(), DataLoader([]), folder=tmp_path / "c", **SETTINGS)
    with pytest.raises(UserError, match="must yield dicts"):
        fit(model(), DataLoader(torch.randn(16, 2), 8), folder=tmp_path / "d", **SETTINGS)


def test_nan_is_blamed_where_it_can_be_seen(tmp_path):
    bad = DATA | {"seen": DATA["seen"].index_fill(0, torch.tensor([3]), torch.nan)}
    with pytest.raises(UserError, match=r"1 of 8 samples have NaN or infinity in “seen”"):
        fit(model(), bad, folder=tmp_path / "a", **SETTINGS)

    class Bad(Items):
        def __getitem__(self, i):
            return {name: values[i] for name, values in bad.items()}

    with pytest.raises(UserError, match="Check the data for NaN|have NaN or infinity in “seen”"):
        fit(model(), DataLoader(Bad(), 8), folder=tmp_path / "b", **SETTINGS)
    known = torch.arange(COUNT) != 3
    hidden = DATA | {"xy": DATA["xy"].index_fill(0, torch.tensor([3]), torch.nan), "xy known": known}
    fit(model(), hidden, folder=tmp_path / "c", **SETTINGS)
    with pytest.raises(UserError, match="The data are finite: lower the learning rate"):
        fit(model(), hidden, folder=tmp_path / "d", **SETTINGS | {"lr": 1e30, "decay": False})


def test_other_models_are_fitted_too(tmp_path):
    torch.manual_seed(0)
    cross_modal = CrossModalVAE([Modality("xy", (2,)), Modality("seen", (5,))], 3)
    fit(cross_modal, DATA, folder=tmp_path / "a", **SETTINGS | {"steps": 5})
    with_u = DVAE([(Modality("xy", (2,)), 2)], [modality("pose", 32)], ("pose", 2), beta=0.1)
    poses = {"xy": torch.randn(COUNT, 2), "pose": torch.randn(COUNT, 21, 3)}
    log = fit(with_u, poses, folder=tmp_path / "b", **SETTINGS | {"steps": 5})
    assert "disentangling→kl u" in log[-1]
