"""Training in several processes with the result of a single one: each process has its share of every batch.

The share is every `world`-th sample from the process's rank on. Three parts of a step depend on several samples: the
noise (`objectives.reparameterize`), batch normalisation (`convert_sync_batchnorm`), and the mean over the batch, which
the averaging of gradients restores. Where a sample requires another sample's image, for a background or for the z_u of
Algorithm 2's inner loop, it is taken from the same process; the loss is then the same only on average.
"""

from typing import Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dvae_lib.files import UserError
from dvae_lib.models.objectives import at_least_float32, rank_and_world
from dvae_lib.training.fabric import DDPStrategy, Fabric, MisconfigurationException

Precision = Literal["32-true", "64-true", "16-mixed", "bf16-mixed"]  # those of Fabric's that training is tested with


def make_fabric(device: str, devices: int = 1, nodes: int = 1, precision: str = "32-true") -> Fabric:
    """Lightning's Fabric, launched on this number of devices and nodes: by itself, or by torchrun or SLURM if these
    started the process.

    device: auto, cpu, cuda or mps. precision: "bf16-mixed" is replaced by "32-true" where the device does not support
    this arithmetic and would emulate it slowly.

    Raises UserError if this machine has no such device, or fewer of them, or if the precision does not exist.
    """
    if precision == "bf16-mixed" and not has_bfloat16(device):
        precision = "32-true"
    # The trained parameters change from step to step; the running statistics are the same in all processes.
    many = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
    strategy = many if devices * nodes > 1 else "auto"
    try:
        fabric = Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=cast(Precision, precision),  # Fabric refuses others
        )
    except (MisconfigurationException, RuntimeError, ValueError) as error:  # no such device, or too few
        raise UserError(f"Training on {devices} × “{device}” in {precision} is not possible here: {error}") from error
    fabric.launch()
    return fabric


def has_bfloat16(device: str) -> bool:
    """Whether a device, or the one that “auto” selects, has hardware multiplication in bfloat16."""
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "mps" or (device == "auto" and torch.backends.mps.is_available()):
        return False
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # which not every version of torch has
    return any(getattr(torch.cpu, name, bool)() for name in asked)


class _Sum(torch.autograd.Function):
    """The sum of every process's tensor, with its gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with the statistics of the whole batch, of which each process has an equal share.

    It corresponds to torch's SyncBatchNorm, which does not support CPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        rank, world = rank_and_world()
        if not self.training or world == 1:
            return super().forward(x)
        values = at_least_float32(x)
        own = torch.stack(torch.var_mean(values, (0, 2, 3), correction=0))
        # Each process writes to its own row: the sum then contains those of all processes.
        table = own.new_zeros(world, *own.shape).index_copy(0, torch.tensor([rank], device=x.device), own[None])
        variances, means = _Sum.apply(table).unbind(1)
        mean, var = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            count = world * values[:, 0].numel()
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (values * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def convert_sync_batchnorm(model: nn.Module) -> nn.Module:
    """Replaces every batch normalisation over images by a synchronised one, in place, with the same parameters."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                shared = SyncBatchNorm2d(child.num_features, child.eps, child.momentum)
                shared.__dict__.update(child.__dict__)
                setattr(module, name, shared)
    return model
