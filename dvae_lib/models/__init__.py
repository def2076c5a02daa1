"""The paper: objectives, networks, and the models made of them."""

from dvae_lib.models.disentangled import DVAE, CrossModalVAE

__all__ = ["DVAE", "CrossModalVAE"]
