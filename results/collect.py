"""Writes results/realhand.json from this machine's runs on the photographs: the reference that chapter 12 quotes.

dvae train --all --data realhand
python results/collect.py "two CPU cores"
"""

import sys
from datetime import date
from pathlib import Path

from dvae_lib import settings
from dvae_lib.experiments import experiments
from dvae_lib.experiments.run import Run
from dvae_lib.files import write_json

KEPT = ("epe", "relative", "cpose", "viewpoint", "composed")


def main(hardware: str) -> None:
    profile = settings.profile()
    runs = {name: Run(e, profile).evaluation for name, e in experiments(profile, "realhand").items()}
    scores = {name: run["from"]["image"] for name, run in runs.items()}
    reference = {
        "provenance": f"{profile} profile, {hardware}, {date.today():%B %Y}",
        "samples": runs["cross-modal"]["samples"],
        "mean pose": runs["cross-modal"]["mean pose"]["epe"],
        "runs": {name: {key: score[key] for key in KEPT if key in score} for name, score in scores.items()},
    }
    write_json(Path(__file__).with_name("realhand.json"), reference)


if __name__ == "__main__":
    main(sys.argv[1])
