"""The models of the paper: objectives, networks, and the models built from them."""

from dvae_lib.models.cross_modal import CrossModalVAE
from dvae_lib.models.disentangled import DVAE
from dvae_lib.models.modalities import Modality, modality
from dvae_lib.models.networks import GaussianHead
from dvae_lib.models.regressors import Regressor
from dvae_lib.models.saving import load

__all__ = ["DVAE", "CrossModalVAE", "GaussianHead", "Modality", "Regressor", "load", "modality"]
