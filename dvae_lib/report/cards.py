"""What the cards of trained runs add to their files (appendix “Trained models”): the terms of the data, the errors."""

from dvae_lib.experiments.run import Run

_RENDERED = "rendered by this library: MIT"
_TERMS = {
    "stb": "STB: MIT",
    "rhd": "RHD: research only",
    "realhand": "realhand: non-commercial research and education",
    "digits": "digits: Apache 2.0",
}


def terms(data: str) -> str:
    """The licence of a data set, which may also apply to weights trained on it."""
    return _TERMS.get(data, _RENDERED)


def errors(run: Run) -> dict[str, dict[str, float]]:
    """The errors of a trained run on validation samples, by source: “epe” of the 3DPose in mm and, if an image is
    decoded, its RMSE “image”.
    """
    return {
        source: {name: value for name, value in found.items() if name in ("epe", "image")}
        for source, found in run.evaluation["from"].items()
    }
