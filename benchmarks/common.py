"""Shared by several benchmarks: experiments such as the cross-modal VAE of chapter 03, on rendered hands."""

from dataclasses import replace

from dvae_lib import settings
from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.experiments import Experiment, find
from dvae_lib.experiments.run import Run

PROFILE = settings.profile()
TWO = "image-and-pose"  # the cross-modal VAE of these two only, without augmentation


def experiment(name: str) -> Experiment:
    """An experiment on few rendered hands, so that `full` needs no long preparation."""
    few = {"synth-stb": {"frames_per_sequence": 64}}
    if name == TWO:
        two = {"lambdas": {"image": 1.0, "pose": 1.0}, "encoded": ("image", "pose"), "augmentation": Augmentation()}
        return replace(experiment("cross-modal"), **two)
    return replace(find(name, PROFILE, "synthetic"), options=few)


def make_run(e: Experiment) -> Run:
    return Run(e, PROFILE)
