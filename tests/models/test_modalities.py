"""What may be declared, what a batch must hold then, and labels that are classes or not known."""

import pytest
import torch

from dvae_lib.files import UserError
from dvae_lib.models import DVAE, CrossModalVAE, Modality
from dvae_lib.models.modalities import check_batch

IMAGE, DIGIT, AGE = Modality("image", (1, 28, 28)), Modality("digit", categories=10), Modality("age", (1,))


def digits_batch(n=6):
    torch.manual_seed(0)
    return {
        "image": torch.rand(n, 1, 28, 28) * 2 - 1,
        "digit": torch.randint(10, (n,)),
        "age": torch.randn(n, 1),
    }


def dvae(**options):
    torch.manual_seed(1)
    return DVAE([(DIGIT, 4), (AGE, 3)], [IMAGE], ("image", 5), ["image"], **options)


@pytest.mark.parametrize("name", ["", "u", "kl", "factors", "type", "keys", "a.b", "age known"])
def test_names_that_cannot_be_are_refused(name):
    with pytest.raises(UserError, match="A modality cannot be called"):
        Modality(name, (1,))


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({}, "give either a shape"),
        ({"shape": (0, 3)}, "positive integers"),
        ({"shape": (3,), "categories": 3}, "give either a shape"),
        ({"categories": 1}, "two or more"),
        ({"shape": (3,), "weight": -1.0}, "0 or more"),
    ],
)
def test_what_cannot_be_declared_is_refused(declared, said):
    with pytest.raises(UserError, match=said):
        Modality("label", **declared)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("age", torch.randn(6), r"“age” is declared as \(B, 1\).*it is \(6,\) torch.float32"),
        ("age", torch.ones(6, 1, dtype=torch.int64), r"\(6, 1\) torch.int64"),
        ("age", torch.randn(5, 1), r"B = 6, it is \(5, 1\)"),
        ("image", torch.zeros(6, 1, 28, 28, dtype=torch.uint8), r"floating point.*torch.uint8"),
        ("image", torch.zeros(6, 28, 28), r"\(6, 28, 28\)"),
        ("digit", torch.randn(6), r"declared as \(B,\), int64, a class from 0 to 9"),
        ("digit", torch.full((6,), 10), "contains classes that are not between 0 and 9"),
        ("age known", torch.ones(6), r"mask “age known” is torch.float32.*must be bool \(6,\)"),
        ("age known", torch.ones(6, 1, dtype=torch.bool), r"torch.bool \(6, 1\)"),
    ],
)
def test_a_batch_that_is_not_as_declared_is_refused(name, value, said):
    check_batch([IMAGE, DIGIT, AGE], digits_batch())
    with pytest.raises(UserError, match=said):
        check_batch([IMAGE, DIGIT, AGE], digits_batch() | {name: value})


def test_what_a_batch_lacks_is_named():
    batch = digits_batch()
    del batch["age"]
    with pytest.raises(UserError, match="no “age”, which the model learns from; it has image, digit"):
        check_batch(dvae().needs("disentangling"), batch)


def test_a_class_has_the_likelihood_of_torchs_categorical():
    batch, logits = digits_batch(), torch.randn(6, 10)
    expected = torch.distributions.Categorical(logits=logits).log_prob(batch["digit"])
    torch.testing.assert_close(DIGIT.log_likelihood(batch, logits), expected)


def test_a_class_is_encoded_one_hot_and_decoded_to_logits():
    model, batch = dvae().eval(), digits_batch()
    q = model.encode_factors(batch)["digit"]
    one_hot = torch.nn.functional.one_hot(batch["digit"], 10).float()
    assert torch.equal(q.mean, model.encoders["digit"][1](one_hot).mean)
    assert model.predictions(batch)["image"]["digit"].shape == (6, 10)


def test_unknown_labels_teach_nothing_whatever_stands_in_their_place():
    known = torch.tensor([True, True, False, True, False, True])
    batch, losses = digits_batch() | {"age known": known}, []
    for filling in (0.0, float("nan")):
        model = dvae().eval()
        batch["age"] = torch.where(known[:, None], batch["age"], filling)
        torch.manual_seed(2)
        loss, _ = model(batch, "joint")
        loss.backward()
        losses.append([loss, *(p.grad for p in model.parameters())])
    assert all(torch.isfinite(values).all() for values in losses[0])
    torch.testing.assert_close(losses[0], losses[1])


def test_a_sample_without_a_factor_is_left_out_of_the_disentangling_step():
    known, model = torch.tensor([True, False] * 3), dvae().eval()
    batch = digits_batch()
    torch.manual_seed(3)
    complete, _ = model.disentangling_bound(batch)
    torch.manual_seed(3)
    masked, _ = model.disentangling_bound(batch | {"digit known": known})
    torch.testing.assert_close(masked, torch.where(known, complete, torch.zeros(6)))


def test_an_input_that_is_not_known_gives_no_bound():
    known, batch = torch.tensor([True, False] * 3), digits_batch()
    batch["image"][~known] = torch.nan
    cross_modal, model = CrossModalVAE([IMAGE, DIGIT], d=4).eval(), dvae().eval()
    masked = batch | {"image known": known}
    for bound in (cross_modal.bounds(masked)["image"][0], model.embedding_bound("image", masked)[0]):
        assert (bound[~known] == 0).all() and (bound[known] < 0).all()
    assert (model.disentangling_bound(masked)[0][~known] == 0).all()  # z_u is encoded from it


def test_the_slices_share_d_where_none_is_given():
    model = DVAE([DIGIT, (AGE, 3)], [IMAGE], "image", ["image"], d=16)
    assert model.slices == {"digit": slice(0, 7), "age": slice(7, 10), "u": slice(10, 16)} and model.d == 16


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"unlabelled": ("typo", 8)}, "“typo” is not a factor or observation"),
        ({"unlabelled": ("age", 8)}, "z_u is encoded from an observation"),
        ({"embeddings": ["typo"]}, "“typo” is not a factor"),
        ({"observations": [IMAGE, AGE]}, "different names"),
        ({"factors": [DIGIT, AGE], "d": 1}, "at least one dimension each"),
    ],
)
def test_declarations_that_do_not_fit_are_refused(declared, said):
    with pytest.raises(UserError, match=said):
        DVAE(**{"factors": [(AGE, 2)], "observations": [IMAGE]} | declared)


def test_swap_takes_slices_from_the_donor_and_walk_ends_there():
    model, z, donor = dvae(), torch.zeros(2, 12), torch.ones(2, 12)
    swapped = model.swap(z, donor, ["age"])
    assert swapped.tolist() == [[0.0] * 4 + [1.0] * 3 + [0.0] * 5] * 2
    walk = model.walk(z, donor, 3, ["age"])
    assert torch.equal(walk[-1], swapped) and torch.equal(walk[1], swapped / 2)


def test_lambda_and_beta_are_taken_as_given():
    model = CrossModalVAE([Modality("image", (3, 32, 32)), Modality("pose", (21, 3), weight=0.3)], d=4, beta=0.7)
    assert model.lambdas == {"image": 1.0, "pose": 0.3} and model.beta == 0.7
