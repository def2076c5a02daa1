"""The explorer's weights, put through torch's own layers, draw what the model draws."""

import base64

import numpy as np
import pytest
import torch
from torch.nn.functional import conv_transpose2d

from dvae_lib.explorer import SAMPLES, Directions, _still, directions, export, join
from dvae_lib.explorer.page import Page
from dvae_lib.models import DVAE
from dvae_lib.models.modalities import Modality, modality

SIZE = 32


def lived_in(model):
    """As if trained: running statistics and affine parameters of the normalisations are no zeros and ones."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(0.5 + torch.rand_like(tensor))
    return model.eval()


def labelled():
    torch.manual_seed(0)
    factors = [(modality("pose", SIZE), 8), (modality("tag", SIZE), 5)]
    return lived_in(DVAE(factors, [modality("image", SIZE)]))


def with_place():
    torch.manual_seed(0)
    factors = [(modality("place", SIZE), 3), (modality("pose", SIZE), 6), (modality("tag", SIZE), 4)]
    return lived_in(DVAE(factors, [modality("image", SIZE)]))


def with_u():
    torch.manual_seed(0)
    image = modality("image", SIZE)
    return lived_in(DVAE([(modality("pose", SIZE), 8)], [image], ("image", 5), shared=True))


def estimator():
    torch.manual_seed(0)
    return lived_in(DVAE([(modality("cpose", SIZE), 8), (Modality("viewpoint", (3, 3)), 5)], [modality("pose", SIZE)]))


def somewhere(model):
    return {name: directions(torch.randn(50, len(range(model.d)[part]))) for name, part in model.slices.items()}


def unpacked(data, weights):
    integers = np.frombuffer(base64.b64decode(data["weights"]), "<i2")
    units = np.array(weights["units"])
    rows = integers[weights["at"] :][: len(units) * weights["row"]].reshape(len(units), -1)
    return torch.from_numpy(rows * units[:, None])


@pytest.mark.parametrize(("make", "outputs"), [(labelled, 2), (with_place, 2), (with_u, 1), (estimator, 1)])
def test_what_is_exported_decodes_as_the_model(make, outputs):
    model = make()
    parts = somewhere(model)
    coordinates = torch.randn(3, 13)
    with torch.no_grad():
        expected = model.decode(join(parts, coordinates))
    data = export(model, parts)
    assert sum(part["directions"] for part in data["parts"]) == 13 and len({"image", "pose"} & set(data)) == outputs
    c = torch.cat([torch.ones(3, 1), coordinates], dim=1).double()
    if "image" in data:
        image = data["image"]
        found = (c @ unpacked(data, image["start"])).unflatten(1, (image["start"]["pixels"],) * 2 + (-1,))
        found = found.permute(0, 3, 1, 2)
        for layer in image["layers"]:
            weights = unpacked(data, layer["weights"]).unflatten(1, (5, 5, -1)).permute(0, 3, 1, 2)
            bias = torch.tensor(layer["bias"]).double()
            found = conv_transpose2d(found.relu(), weights, bias, stride=2, padding=2, output_padding=1)
        assert found.shape[-1] == image["size"] == SIZE
        torch.testing.assert_close(found.tanh().float(), expected["image"], atol=1e-3, rtol=0)
    if "pose" in data:
        pose = data["pose"]
        hidden = (c @ unpacked(data, pose["start"])).relu()
        found = hidden @ unpacked(data, pose["last"]["weights"]).T + torch.tensor(pose["last"]["bias"]).double()
        torch.testing.assert_close(found.float().unflatten(1, (21, 3)), expected["pose"], atol=1e-3, rtol=0)


@pytest.mark.parametrize("make", [labelled, with_place])
def test_what_encodes_a_pose_in_the_page_is_the_encoder(make):
    model = make()
    parts, pose = somewhere(model), torch.randn(4, 21, 3)
    with torch.no_grad():
        mean = model.encoders["pose"](pose).mean
    data = export(model, parts)
    first, last = (data["encoder"][name] for name in ("first", "last"))
    hidden = (pose.flatten(1).double() @ unpacked(data, first["weights"]).T + torch.tensor(first["bias"])).relu()
    found = hidden @ unpacked(data, last["weights"]).T + torch.tensor(last["bias"])
    # All directions are kept here, so that the coordinates say exactly where the mean is.
    torch.testing.assert_close(found.float() @ parts["pose"].basis + parts["pose"].mean, mean, atol=2e-3, rtol=0)
    before = list(parts)[: list(parts).index("pose")]
    assert data["encoder"]["from"] == sum(len(parts[name].basis) for name in before)


@pytest.mark.parametrize("make", [with_u, estimator])
def test_without_a_decoded_factor_pose_no_encoder_is_in_the_page(make):
    model = make()
    assert "encoder" not in export(model, somewhere(model))


def test_directions_are_principal_and_samples_are_codes():
    torch.manual_seed(0)
    spread = torch.tensor([3.0, 1.0, 0.3, 0.0])
    turn, _ = torch.linalg.qr(torch.randn(4, 4))
    codes = torch.randn(2000, 4) * spread @ turn + 5
    found = directions(codes)
    assert isinstance(found, Directions) and len(found.basis) == 3  # where nothing varies, there is no direction
    torch.testing.assert_close(found.basis.norm(dim=1), spread[:3], rtol=0.1, atol=0)
    torch.testing.assert_close((found.basis @ turn.T).abs(), spread.diag()[:3], rtol=0.1, atol=0.15)
    assert found.kept == pytest.approx(1, abs=1e-5)
    there = join({"all": found}, found.samples)
    assert (there[:, None] - codes).norm(dim=-1).amin(1).max() < 1e-3
    assert (there[:, None] - there).norm(dim=-1).fill_diagonal_(9).min() > 1


def test_the_page_holds_all_that_it_needs():
    data = export(labelled(), somewhere(labelled()))
    html = Page("explorer.js", data, b"picture", "Hands.")._repr_html_()
    assert 'alt="Hands."' in html and base64.b64encode(b"picture").decode() in html and data["weights"] in html
    assert "src=" not in html.replace('src="data:image/png;base64', "") and "fetch(" not in html


def test_a_still_shows_two_parts_and_the_mean_of_a_third(monkeypatch):
    model, asked = with_place(), []
    parts = somewhere(model)
    monkeypatch.setattr(model, "decode", lambda z, names: asked.append(z) or {"image": torch.zeros(len(z), 3, 4, 4)})
    assert _still(model, parts, "image", "pose", "tag").startswith(b"\x89PNG")
    (z,) = asked
    drawn = {name: model.select(z, name).unflatten(0, (SAMPLES, SAMPLES)) for name in parts}
    samples = {name: part.mean + part.samples @ part.basis for name, part in parts.items()}
    torch.testing.assert_close(drawn["pose"], samples["pose"][:, None].expand_as(drawn["pose"]))
    torch.testing.assert_close(drawn["tag"], samples["tag"][None].expand_as(drawn["tag"]))
    torch.testing.assert_close(drawn["place"], parts["place"].mean.expand_as(drawn["place"]))
    assert {p["label"]: p["order"] for p in export(model, parts)["parts"]} == {"Pose": 0, "Content": 1, "Place": 2}
