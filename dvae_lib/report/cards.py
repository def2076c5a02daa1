"""A card for each trained run: its purpose, its data and its accuracy (appendix “Trained models”)."""

from dataclasses import dataclass

from dvae_lib.experiments.run import Run
from dvae_lib.models.networks import count_parameters

DRAWN = "rendered by this library: MIT"
TERMS = {
    "stb": "STB: MIT",
    "rhd": "RHD: research only",
    "realhand": "realhand: non-commercial research and education",
    "digits": "digits: Apache 2.0",
}


@dataclass(frozen=True)
class Card:
    """terms: the licences of the data, which users have accepted and which may also apply to the weights.
    parameters: their number.
    errors: on validation samples, by source: the EPE of the 3DPose in mm and, if an image is decoded, its RMSE.
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
    """The card of a trained run."""
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
