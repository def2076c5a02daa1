"""Tables of the book, with a name to refer to and a caption."""

from collections.abc import Sequence

import torch
from IPython.display import Markdown
from torch import Tensor, nn

from dvae_lib.networks import count_parameters


def table(name: str, caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Markdown:
    """A labelled MyST table; the cell that shows it has `"mystnb": {"markdown_format": "myst"}` in its metadata."""
    lines = [" | ".join(map(str, line)) for line in [header, ["---"] * len(header), *rows]]
    body = "\n".join(f"| {line} |" for line in lines)
    return Markdown(f"```{{table}} {caption}\n:name: {name}\n{body}\n```")


def _describe(module: nn.Module) -> str:
    """A layer as the supplement's tables put it; its input is the layer above it in the table."""
    kind = type(module).__name__
    if isinstance(module, nn.ConvTranspose2d):
        return f"`{kind}` {module.kernel_size[0]} × {module.kernel_size[1]}, stride {module.stride[0]}"
    return f"`{kind}`"


def layers(network: nn.Module, example: Tensor) -> list[list[str]]:
    """A row for each layer of a network, in the order of execution: its name, the shape out of it, its parameters.

    example: an input with a batch axis, which the shapes leave out.
    """
    rows, hooks = [], []

    def note(module: nn.Module, _, output: Tensor) -> None:
        shape = " × ".join(map(str, output.shape[1:]))
        rows.append([_describe(module), shape, f"{count_parameters(module):,}" if count_parameters(module) else ""])

    for module in network.modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(note))
    with torch.inference_mode():
        network(example)
    for hook in hooks:
        hook.remove()
    return rows
