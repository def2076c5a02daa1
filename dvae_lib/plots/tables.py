"""Tables of the book, with a name for references and a caption."""

from collections.abc import Mapping, Sequence

import torch
from IPython.display import Markdown
from torch import Tensor, nn

from dvae_lib import settings
from dvae_lib.experiments import study
from dvae_lib.experiments.records import Record
from dvae_lib.metrics.intervals import Interval, bootstrap_ci, contrast_ci
from dvae_lib.models.networks import count_parameters
from dvae_lib.report.quantities import UNTRAINED, matrix
from dvae_lib.report.report import provenance


def table(name: str, caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Markdown:
    """A labelled MyST table; the cell that shows it has `"mystnb": {"markdown_format": "myst"}` in its metadata."""
    lines = [" | ".join(map(str, line)) for line in [header, ["---"] * len(header), *rows]]
    body = "\n".join(f"| {line} |" for line in lines)
    return Markdown(f"```{{table}} {caption}\n:name: {name}\n{body}\n```")


ONLY_RENDERED = Markdown(
    "*The true image is known for rendered hands only: set* `DVAE_DATA=synthetic` *for these numbers.*"
)


def in_words(estimate: Interval, digits: int = 1, signed: bool = False, unit: str = "") -> str:
    """“18.5 (18.3 to 18.7)”; in a narrow column, the line breaks only before the bracket."""
    rounded = (round(value, digits) + 0.0 for value in estimate)  # no −0
    mean, low, high = (
        f"{value:{'+' if signed and value else ''}.{digits}f}".replace("-", "−") for value in rounded
    )  # a zero has no sign: it may have been rounded from either side
    return f"{mean}{unit} ({low}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{high})"


def share(values: Tensor, denominator: Tensor, block_size: int) -> str:
    """The mean of values (N,) in per cent of that of the denominator (N,), with its bootstrap interval."""
    mean, low, high = (100 * value for value in bootstrap_ci(values, block_size, denominator))
    return in_words((mean, low, high), 0, unit=" %")


def with_interval(values: Tensor, digits: int, block_size: int, signed: bool = False) -> str:
    """A mean with its bootstrap interval, `in_words`."""
    return in_words(bootstrap_ci(values, block_size), digits, signed)


def study_note(*names: str) -> Markdown:
    """A note for below a table or figure of the study: its training runs, or what to do if there are none."""
    if not set(names) & set(study.planned()):
        return Markdown(f"*The study has no such runs on {settings.data()} data.*")
    origins = [provenance(name) for name in names if name in study.planned()]
    if all(origin["seeds"].startswith("0 ") for origin in origins):
        return Markdown("*No seed of the study is finished yet:* `dvae study --test` *trains and tests them (hours).*")
    hardware, date = (", ".join(sorted({origin[key] for origin in origins})) for key in ("hardware", "date"))
    counts = sorted({origin["seeds"] for origin in origins})
    if len(counts) > 1:  # names the experiments with each count
        known = [name for name in names if name in study.planned()]
        by_count = {c: [f"`{n}`" for n, o in zip(known, origins, strict=True) if o["seeds"] == c] for c in counts}
        counts = [f"{count} of {' and '.join(own)}" for count, own in by_count.items()]
    return Markdown(f"*Study, test samples; seeds: {', '.join(counts)}; {hardware}; {date}.*")


def over_seeds(records: Sequence[Record], name: str, digits: int = 1, scale: float = 1.0) -> str:
    """The mean of an array of records, times a scale, with its interval over seeds and units; one seed: mean only."""
    if not records:
        return "no seed yet"
    values = scale * matrix(records, name)
    values = values[:, ~values.isnan().any(0)]  # only units with a value, not students unseen in training
    if len(values) == 1:
        return f"{values.nanmean():.{digits}f}".replace("-", "−")
    return in_words(contrast_ci([(1.0, values)], log=False), digits)


_SCALE = {"room": 100.0, "student": 100.0}
_SCORES = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 3),
    "epe": ("EPE of the estimated pose, mm", 1),
    "background": ("RMSE of background", 3),
}


def scores(
    name: str, caption: str, methods: Mapping[str, Mapping[str, Tensor]], block_size: int, signed: bool = False
) -> Markdown:
    """A row for each method with its `counterfactuals.score` and intervals; a cell without a score is empty."""
    rows = [
        [
            method,
            *(
                with_interval(values[key], digits, block_size, signed) if key in values else ""
                for key, (_, digits) in _SCORES.items()
            ),
        ]
        for method, values in methods.items()
    ]
    return table(name, caption, ["", *(title for title, _ in _SCORES.values())], rows)


def study_transfers(name: str, caption: str, methods: Mapping[str, str]) -> Markdown:
    """Like `scores`, for the study: a row for each method that transfers poses, given by its experiment, and for each
    baseline, with the share of rooms or students that are recognised, and the mean Fréchet distance over seeds.
    """
    content = "student" if settings.data() == "digits" else "room"
    shown = {**_SCORES, content: (f"{content}s recognised, %", 0)}
    judged = study.load("estimator")
    rows: list[list[object]] = []
    for method in ("true image", *UNTRAINED) if judged else ():
        one = [judged[0].by_unit(f"pairs/{method}, {score}").nanmean() * _SCALE.get(score, 1) for score in shown]
        cells = ["" if value > 1e6 else f"{value:.{d}f}" for value, (_, d) in zip(one, shown.values(), strict=True)]
        rows.append([method, *cells, f"{max(0.0, judged[0].numbers['fréchet'][method]):.2f}"])
    for method, experiment in methods.items():
        records = study.load(experiment)
        cells = [over_seeds(records, f"pairs/{s}", digits, _SCALE.get(s, 1)) for s, (_, digits) in shown.items()]
        distances = [record.numbers["fréchet"] for record in records]
        rows.append([method, *cells, f"{sum(distances) / len(distances):.2f}" if distances else ""])
    return table(name, caption, ["", *(title for title, _ in shown.values()), "Fréchet distance"], rows)


def _describe(module: nn.Module) -> str:
    """A layer in the notation of the supplement's tables; its input is the layer above it in the table."""
    kind = type(module).__name__
    if isinstance(module, nn.ConvTranspose2d):
        return f"`{kind}` {module.kernel_size[0]} × {module.kernel_size[1]}, stride {module.stride[0]}"
    return f"`{kind}`"


def layers(network: nn.Module, example: Tensor) -> list[list[str]]:
    """A row for each layer of a network, in the order of execution: its name, its output shape, its parameters.

    example: an input with a batch axis, which the shapes omit.
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
