"""Disentangling Latent Hands: the disentangled VAE (Yang & Yao, CVPR 2019) and the cross-modal VAE it builds on.

Names are imported on first use: using a model requires neither the packages for training nor those of the renderer.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvae_lib.experiments.run import load_or_train
    from dvae_lib.files import UserError
    from dvae_lib.models import DVAE, CrossModalVAE, GaussianHead, Modality, Regressor, load
    from dvae_lib.training.fit import fit

try:
    __version__ = version("dvae-lib")
except PackageNotFoundError:  # a checkout that was not installed
    __version__ = "unknown"

_HOME = {
    "CrossModalVAE": "models",
    "DVAE": "models",
    "GaussianHead": "models",
    "Modality": "models",
    "Regressor": "models",
    "UserError": "files",
    "fit": "training.fit",
    "load": "models",
    "load_or_train": "experiments.run",
}
__all__ = [
    "DVAE",
    "CrossModalVAE",
    "GaussianHead",
    "Modality",
    "Regressor",
    "UserError",
    "fit",
    "load",
    "load_or_train",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module “dvae_lib” has no attribute “{name}”")
    return getattr(import_module(f"dvae_lib.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
