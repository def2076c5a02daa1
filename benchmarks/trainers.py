"""Our training of the cross-modal VAE compared with the MultiVae package's own trainer, with its MVAE and its TELBO.

Networks, images, poses, batch size and Adam are the same; our batches come from the cache, theirs from memory. To
compare the trainers, their models are trained by our loop and by theirs. Our own model does different work: a step
encodes each image once and decodes two images, one from each latent; a step of MVAE (Wu & Goodman 2018) encodes twice
and decodes two; a step of TELBO (Vedantam et al. 2018) encodes once and decodes one while the joint encoder is trained,
then twice and two.
"""

import tempfile
import time
from collections.abc import Iterator

import torch
from multivae.data.datasets import MultimodalBaseDataset
from multivae.models import MVAE, TELBO, MVAEConfig, TELBOConfig
from multivae.trainers import BaseTrainer, BaseTrainerConfig, MultistageTrainer, MultistageTrainerConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from benchmarks.common import TWO, experiment, make_run
from benchmarks.loop import loop, prepared, trained
from benchmarks.subjects import measure, ratio
from dvae_lib.models import CrossModalVAE, Modality
from dvae_lib.models.saving import SavedModule
from dvae_lib.training import Stage

STEPS = 20
own = loop


class Encoder(BaseEncoder):
    def __init__(self, network: nn.Module, d: int):
        super().__init__()
        self.network, self.latent_dim = network, d

    def forward(self, x: Tensor) -> ModelOutput:
        q = self.network(x)
        return ModelOutput(embedding=q.mean, log_covariance=2 * q.scale.log())


class Decoder(BaseDecoder):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z))


def _parts() -> tuple[CrossModalVAE, dict[str, Encoder], dict[str, Decoder], MultimodalBaseDataset]:
    run = make_run(experiment(TWO))
    model, e = run.build(), run.experiment
    batches = [run.training_batches("joint").batch(step) for step in range(STEPS)]
    data = MultimodalBaseDataset({name: torch.cat([batch[name] for batch in batches]) for name in model.encoders})
    encoders = {name: Encoder(network, e.d) for name, network in model.encoders.items()}
    return model, encoders, {name: Decoder(network) for name, network in model.decoders.items()}, data


def _seconds(trainer: BaseTrainer, epoch: int) -> float:
    start = time.perf_counter()
    trainer.train_step(epoch)
    return (time.perf_counter() - start) / len(trainer.train_loader)


def _config(kind: type[BaseTrainerConfig], folder: str) -> BaseTrainerConfig:
    e = experiment(TWO)
    return kind(output_dir=folder, per_device_train_batch_size=e.batch, learning_rate=e.lr, optimizer_cls="Adam")


class Adopted(SavedModule):
    """A MultiVae model with the interface that our loop requires."""

    def __init__(self, theirs: MVAE | TELBO):
        super().__init__()
        self.theirs = theirs

    def needs(self, epoch: int, /) -> list[Modality]:
        return []  # they check their batches themselves

    def forward(self, batch: dict[str, Tensor], epoch: int) -> tuple[Tensor, dict]:
        inputs = MultimodalBaseDataset({name: batch[name] for name in self.theirs.encoders})
        return self.theirs(inputs, epoch=epoch).loss, {}


def _mvae() -> tuple[MVAE, MultimodalBaseDataset]:
    model, encoders, decoders, data = _parts()
    return MVAE(MVAEConfig(n_modalities=2, latent_dim=model.d), encoders, decoders), data


def _telbo() -> tuple[TELBO, MultimodalBaseDataset]:
    model, encoders, decoders, data = _parts()
    sizes = {name: tuple(model.modalities[name].shape) for name in encoders}
    config = TELBOConfig(n_modalities=2, latent_dim=model.d, input_dims=sizes, warmup=1)
    return TELBO(config, encoders, decoders), data


def _by_ours(theirs: MVAE | TELBO, epoch: int) -> Iterator[float]:
    ours = prepared(experiment(TWO))
    # The parts that TELBO freezes after its warm-up are frozen from the first step on.
    learning = theirs.encoders if epoch > 1 else theirs
    stage = Stage("theirs", 0, lambda step: epoch, lambda _: [learning])
    return trained(ours._replace(model=Adopted(theirs), stage=stage))


def mvae_by_ours() -> Iterator[float]:
    """Seconds per step of MVAE, by our loop."""
    return _by_ours(_mvae()[0], 1)


def telbo_by_ours(epoch: str) -> Iterator[float]:
    """Seconds per step of TELBO, by our loop."""
    return _by_ours(_telbo()[0], int(epoch))


def mvae() -> Iterator[float]:
    """Seconds per step of MVAE, by MultiVae's trainer."""
    theirs, data = _mvae()
    with tempfile.TemporaryDirectory() as folder:
        trainer = BaseTrainer(theirs, data, training_config=_config(BaseTrainerConfig, folder))
        while True:
            yield _seconds(trainer, 1)


def telbo(epoch: str) -> Iterator[float]:
    """Seconds per step in epoch 1, of the joint encoder and the decoders, or in epoch 2, of the other encoders."""
    theirs, data = _telbo()
    with tempfile.TemporaryDirectory() as folder:
        trainer = MultistageTrainer(theirs, data, training_config=_config(MultistageTrainerConfig, folder))
        while True:
            yield _seconds(trainer, int(epoch))


def run() -> dict[str, float]:
    theirs, ours = ("mvae", "telbo 1", "telbo 2"), ("mvae_by_ours", "telbo_by_ours 1", "telbo_by_ours 2")
    seconds = measure("trainers", [f"own {TWO}", *theirs, *ours], rounds=5)
    names = ("MVAE", "TELBO's joint encoder", "TELBO's other encoders")
    results = {}
    for name, by_theirs, by_ours in zip(names, theirs, ours, strict=True):
        results[f"{name}: our loop ÷ MultiVae's trainer, speed"] = ratio(seconds[by_theirs], seconds[by_ours])
    for name, by_theirs in zip(names, theirs, strict=True):
        results[f"our own model ÷ {name} by MultiVae's trainer, speed"] = ratio(
            seconds[by_theirs], seconds[f"own {TWO}"]
        )
    return results
