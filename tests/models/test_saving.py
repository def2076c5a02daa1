"""A model in one file: what is loaded computes what was saved, and other files are refused in a sentence."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import dvae_lib
from dvae_lib.files import UserError
from dvae_lib.models import DVAE, CrossModalVAE, GaussianHead, Modality, Regressor, modality


def variants():
    image, pose = modality("image", 32, foreground_precision=4.0), modality("pose", 32, 0.5)
    content = Modality("content", categories=6)
    return [
        DVAE([(pose, 5), (content, 3)], [image], embeddings=["image", modality("keypoints", 32)], beta=3.0, width=2),
        DVAE([(pose, 5)], [image], ("image", 3), ["image"], shared=True),
        CrossModalVAE([image, pose, modality("keypoints", 32)], 6, 0.2, ["image"], decoded=["pose", "image"]),
        Regressor([modality("cpose", 32), modality("viewpoint", 32)], 8),
    ]


def batch_for(model):
    torch.manual_seed(0)
    batch = {name: torch.rand(2, *m.shape) for name, m in model.modalities.items() if m.shape}
    return batch | {"content": torch.tensor([1, 5]), "image": torch.rand(2, 3, 32, 32)}


@pytest.mark.parametrize("which", range(4))
def test_what_is_loaded_predicts_what_was_saved(tmp_path, which):
    model, path = variants()[which].eval(), tmp_path / "mine.safetensors"
    model.save(path)
    for loaded in (type(model).load(path), dvae_lib.load(path)):
        assert not loaded.training and loaded.declaration == model.declaration
        batch = batch_for(model)
        torch.testing.assert_close(loaded.predictions(batch), model.predictions(batch), rtol=0, atol=0)
        assert getattr(loaded, "beta", None) == getattr(model, "beta", None) and loaded.lambdas == model.lambdas


class Encoder(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), GaussianHead(64, d))

    def forward(self, x):
        return self.layers(x)


class Decoder(nn.Sequential):
    def __init__(self, d):
        super().__init__(nn.Linear(d, 64), nn.Unflatten(1, (1, 8, 8)))


def test_own_networks_are_handed_in_again(tmp_path, monkeypatch):
    monkeypatch.setattr("dvae_lib.models.networks.resnet18", lambda **_: 1 / 0)  # none is built first
    image, own = Modality("image", (1, 8, 8)), {"image": (Encoder, Decoder)}
    model = DVAE([(Modality("age", (1,)), 2)], [image], ("image", 3), ["image"], networks=own).eval()
    model.save(path := tmp_path / "own.safetensors")
    with pytest.raises(UserError, match=r"its own networks for image.*DVAE.load\(path, networks="):
        DVAE.load(path)
    x = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(DVAE.load(path, networks=own).encode("image", x).mean, model.encode("image", x).mean)


POSE = CrossModalVAE([Modality("pose", (21, 3))], 4).declaration


def rewritten(path, **changes):
    """The file with another declaration."""
    with safe_open(path, "pt") as file:
        content = json.loads(file.metadata()["dvae_lib"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {"dvae_lib": json.dumps(content | changes)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b"\x05" + bytes(40)), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "damaged"),
        (lambda path: save_file({"a": torch.zeros(2)}, path), "not saved by this version"),
        (lambda path: rewritten(path, format=99), "format is 99, but this version reads format 1"),
        (lambda path: rewritten(path, model="Popen"), "not saved by this version"),
        (lambda path: rewritten(path, declaration={"networks": [], "d": 3}), "does not declare a valid model"),
        (lambda path: rewritten(path, declaration={}), "does not declare a valid model"),
        (lambda path: rewritten(path, declaration=[3]), "not saved by this version"),
        (lambda path: rewritten(path, declaration={"networks": 3}), "does not declare a valid model"),
        (lambda path: rewritten(path, declaration=POSE | {"modalities": [{"shape": 3}]}), "does not declare a valid"),
        (
            lambda path: rewritten(path, declaration=POSE | {"d": 10**9}),
            "declares a model that its weights do not match",
        ),
        (lambda path: rewritten(path, declaration=POSE | {"pretrained": "imagenet"}), "requires pretrained weights"),
        (lambda path: save_file({"a": torch.zeros(2)}, path, {"dvae_lib": "[" * 100_000}), "damaged"),
        (lambda path: save_file({"a": torch.zeros(2)}, path, {"dvae_lib": "[]"}), "not saved by this version"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, change, said):
    path = tmp_path / "mine.safetensors"
    CrossModalVAE([Modality("pose", (21, 3))], 4).save(path)
    change(path)
    with pytest.raises(UserError, match=said):
        CrossModalVAE.load(path)


def test_another_kind_of_model_is_refused(tmp_path):
    path = tmp_path / "mine.safetensors"
    CrossModalVAE([Modality("pose", (21, 3))], 4).save(path)
    with pytest.raises(UserError, match="contains a CrossModalVAE, not a DVAE: load it with CrossModalVAE.load"):
        DVAE.load(path)
