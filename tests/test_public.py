"""What others call: names that are loaded when used, a wheel that holds all it needs, ten lines that run from it."""

import os
import shutil
import subprocess
import sys

import pytest

import dvae_lib
from dvae_lib.settings import ROOT

LIGHT = """
import sys
import dvae_lib
from dvae_lib import DVAE, Modality

DVAE([(Modality("age", (1,)), 2)], [Modality("seen", (5,))])
heavy = {"lightning_fabric", "numba", "matplotlib", "sklearn", "torchmetrics"} & set(sys.modules)
assert not heavy, heavy
"""

TEN_LINES = """
import torch
from torch import nn
from dvae_lib import DVAE, GaussianHead, Modality, fit

def encoder(d): return nn.Sequential(nn.Flatten(), GaussianHead(3 * 32 * 32, d))
def decoder(d): return nn.Sequential(nn.Linear(d, 3 * 32 * 32), nn.Unflatten(1, (3, 32, 32)))

if __name__ == "__main__":
    own = {"image": (encoder, decoder)}
    data = {"shape": torch.rand(64, 4), "image": torch.rand(64, 3, 32, 32)}
    model = DVAE(factors=[Modality("shape", (4,))], observations=[Modality("image", (3, 32, 32))], unlabelled="image",
                 embeddings=["image"], networks=own)
    fit(model, data, steps=(4, 3), folder="mine", device="cpu")
    z = model.encode("image", data["image"]).mean
    x = model.decode(model.swap(z, z.roll(1, 0), ["shape"]), ["image"])["image"]
    model.save("mine.safetensors")
    again = DVAE.load("mine.safetensors", networks=own)
    assert torch.equal(again.encode("image", data["image"]).mean, z) and x.shape == data["image"].shape
"""


def test_every_public_name_is_there():
    assert all(getattr(dvae_lib, name) is not None for name in dvae_lib.__all__)
    assert set(dvae_lib.__all__) <= set(dir(dvae_lib))
    with pytest.raises(AttributeError, match="no attribute “typo”"):
        dvae_lib.typo  # noqa: B018


@pytest.mark.slow
def test_a_model_needs_none_of_the_heavy_packages():
    subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The library alone, installed from its wheel into a folder of its own."""
    folder, source = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "dvae_lib", source / "dvae_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_every_file(installed):
    files = [path.relative_to(ROOT) for path in (ROOT / "dvae_lib").rglob("*") if path.is_file()]
    assert {file for file in files if "__pycache__" not in file.parts} == {
        path.relative_to(installed / "site")
        for path in (installed / "site/dvae_lib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mine.py"], ""),
        (["-m", "dvae_lib", "list", "--profile", "laptop"], "dvae-pose"),
        (["-m", "dvae_lib", "download", "stb"], "Download the archives of the twelve sequences"),
    ],
)
def test_the_wheel_is_enough(installed, arguments, said):
    (installed / "mine.py").write_text(TEN_LINES, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVAE_")}
    environment["PYTHONPATH"] = str(installed / "site")
    done = subprocess.run([sys.executable, *arguments], cwd=installed, env=environment, capture_output=True, text=True)
    assert done.returncode == (2 if "download" in arguments else 0), done.stderr
    assert said in done.stdout
