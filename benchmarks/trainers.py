"""Our training of the cross-modal VAE against the MultiVae package's own trainer, of its MVAE and its TELBO.

The same networks, images and poses, batch size and Adam; our batches come from the cache, theirs from memory. The
models are not the same work: a step of ours encodes an image once and draws two, one from either latent; of MVAE
(Wu & Goodman 2018) it encodes two and draws two; of TELBO (Vedantam et al. 2018) it encodes one and draws one while
the joint encoder learns, and encodes two and draws two while the others do.
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

from benchmarks.common import TWO, experiment, run_of
from benchmarks.loop import loop
from benchmarks.subjects import measure, ratio
from dvae_lib.models import CrossModalVAE

STEPS = 20
ours = loop


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
    run = run_of(experiment(TWO))
    model, e = run.build(), run.experiment
    batches = [run.training_batches("joint").at(step) for step in range(STEPS)]
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


def mvae() -> Iterator[float]:
    """Seconds of a step."""
    model, encoders, decoders, data = _parts()
    theirs = MVAE(MVAEConfig(n_modalities=2, latent_dim=model.d), encoders, decoders)
    with tempfile.TemporaryDirectory() as folder:
        trainer = BaseTrainer(theirs, data, training_config=_config(BaseTrainerConfig, folder))
        while True:
            yield _seconds(trainer, 1)


def telbo(epoch: str) -> Iterator[float]:
    """Seconds of a step in epoch 1, the joint encoder's and the decoders', or 2, the other encoders'."""
    model, encoders, decoders, data = _parts()
    sizes = {name: tuple(model.modalities[name].shape) for name in encoders}
    theirs = TELBO(TELBOConfig(n_modalities=2, latent_dim=model.d, input_dims=sizes, warmup=1), encoders, decoders)
    with tempfile.TemporaryDirectory() as folder:
        trainer = MultistageTrainer(theirs, data, training_config=_config(MultistageTrainerConfig, folder))
        while True:
            yield _seconds(trainer, int(epoch))


def run() -> dict[str, float]:
    seconds = measure("trainers", [f"ours {TWO}", "mvae", "telbo 1", "telbo 2"], rounds=5)
    own = seconds.pop(f"ours {TWO}")
    both = [(first + second) / 2 for first, second in zip(seconds["telbo 1"], seconds["telbo 2"], strict=True)]
    return {
        "our images a second, of MVAE's": ratio(seconds["mvae"], own),
        "of TELBO's, either stage as long": ratio(both, own),
        "of TELBO's joint encoder": ratio(seconds["telbo 1"], own),
        "of TELBO's other encoders": ratio(seconds["telbo 2"], own),
    }
