"""A card for each trained run: its purpose, its data and its accuracy (appendix “Trained models”)."""

from dataclasses import dataclass

from dvae_lib.experiments.run import Run
from dvae_lib.models.networks import count_parameters

DRAWN = "drawn by this library: MIT"
TERMS = {
    "stb": "STB: MIT",
    "rhd": "RHD: research only",
    "realhand": "realhand: non-commercial research and education",
    "digits": "digits: Apache 2.0",
}


@dataclass(frozen=True)
class Card:
    """terms: of the data, which their users have agreed to, and which the weights may inherit. parameters: how many.
    errors: by source, of validation samples, the EPE of the 3DPose in mm and, where an image is drawn, its RMSE.
    """

    name: str
    purpose: str
    data: tuple[str, ...]
    terms: tuple[str, ...]
    size: int | None
    parameters: int
    seed: int
    errors: dict[str, dict[str, float]]
    provenance: dict[str, str]


def card(run: Run) -> Card:
    """Of a trained run."""
    e = run.experiment
    kept = {
        source: {k: v for k, v in of.items() if k in ("epe", "image")} for source, of in run.evaluation["from"].items()
    }
    return Card(
        e.name,
        e.about,
        e.data,
        tuple(TERMS.get(name, DRAWN) for name in e.data),
        e.size,
        count_parameters(run.build()),
        e.seed,
        kept,
        run.provenance,
    )
