"""Trains the paper's sizes on one GPU within minutes: python -m benchmarks.full --minutes 9 --out results/full

Renders as many hands as fit into a quarter of the time, times the training loop, trains dvae-image and dvae-zu on
synth-stb and dvae-pose-rhd on synth-rhd in the remaining time, evaluates them and creates the chapters' figures. In the
end OUT contains eight files: full.json, the image decoders in half precision, and six sheets of figures. Each result is
written as soon as it is available. Rendered data and trained runs are stored in --work.
"""

import argparse
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch

from benchmarks.full import decoders, plan, sheets, speed
from dvae_lib import __version__, settings
from dvae_lib.datasets import open_part
from dvae_lib.datasets.resident import on_device
from dvae_lib.experiments import counterfactuals
from dvae_lib.experiments.run import Run
from dvae_lib.files import write_json
from dvae_lib.metrics.intervals import bootstrap_ci
from dvae_lib.models import DVAE
from dvae_lib.plots.hands import use_book_style
from dvae_lib.training.distributed import make_fabric

POSES = 96  # poses in the pairs on which pose transfer is measured


class Full:
    """One call of the script: its arguments, its clock, and its results."""

    def __init__(self, minutes: float, size: int, device: str, out: Path):
        self.clock, self.size, self.out = plan.Clock(minutes), size, out
        self.where = make_fabric(device).device
        self.device = self.where.type
        on_gpu = self.device == "cuda"
        hardware = torch.cuda.get_device_name(self.where) if on_gpu else f"{os.cpu_count()} CPU cores"
        self.found: dict = {
            "provenance": {
                "hardware": hardware, "minutes": minutes, "size": size, "date": date.today().isoformat(),
                "torch": torch.__version__, "version": __version__,
            },
            "seconds": {},
        }  # fmt: skip
        self.runs: dict[str, Run] = {}

    def done(self, phase: str, **values: object) -> None:
        """Saves the results of a phase."""
        self.found |= values
        self.found["seconds"][phase] = round(60 * self.found["provenance"]["minutes"] - self.clock.left)
        write_json(self.out / "full.json", self.found)
        print(f"{phase}: done, {self.clock.left:.0f} s left", flush=True)

    def draw(self) -> None:
        self.counts, costs = plan.hands(self.size, self.clock.share(plan.DRAWING))
        parts = [("synth-stb", "train"), ("synth-rhd", "train"), ("synth-rhd", "validation")]
        options = plan.options(self.counts)
        sets = [open_part(name, self.size, part, **options[name])[0] for name, part in parts]
        if self.device == "cuda":  # copied to the GPU once, for all later phases
            self.kept = [on_device(s, field, self.where) for s in sets for field in plan.FIELDS]
        cores = os.cpu_count() or 1
        each = {name: round(1 / (cost * cores), 1) for name, cost in costs.items()}
        self.done("drawing", hands={"drawn": self.counts, "at most": plan.MOST, "a second and core": each})

    def time(self) -> None:
        """Times each stage that uses images, with small and large batches, while there is time."""
        until = self.clock.left - self.clock.share(plan.TIMING)
        subjects = [("dvae-image", 0), ("dvae-pose-rhd", 1)]
        each, results = self.clock.share(plan.TIMING) / (4 * len(subjects)), {}
        for name, stage in subjects:
            for size in speed.BATCHES:
                if self.clock.left > until:
                    e = replace(plan.experiment(name, self.size, self.counts), batch=size)
                    results[f"{name}, batch {size}"] = speed.loop_against_networks(e, stage, self.device, each)
        if self.device == "cuda" and self.clock.left > until:
            seconds = self.clock.left - until
            results["compiled ÷ as they are, speed"] = speed.compilation("dvae-image", self.size, self.device, seconds)
        side_by_side = speed.side_by_side(self.device, self.clock, until)
        self.done("timing", speed=results | {"pixels a second, by small runs at once": side_by_side})

    def train(self) -> None:
        seconds = self.clock.left - self.clock.share(plan.EVALUATION)
        for name, (share, disentangling) in plan.MODELS.items():
            e = plan.experiment(name, self.size, self.counts)
            run = Run(plan.with_steps(e, share * seconds, disentangling, self.device), "full")
            run.train(self.device)
            self.runs[name] = run
            images = run.experiment.batch * (run.experiment.steps + run.experiment.embedding_steps)
            trained = {"experiment": run.experiment.config(), "images": images, "evaluation": run.evaluation}
            self.done(name, runs=self.found.get("runs", {}) | {name: trained})
            self.show(name)

    def show(self, name: str) -> None:
        """Saves the sheets of one run, and the image decoders of all runs so far."""
        draw = {
            "dvae-image": {"transfer": sheets.transfer, "walks": sheets.walks},
            "dvae-zu": {"transfer-zu": sheets.transfer, "walks-zu": sheets.content_walks},
            "dvae-pose-rhd": {"poses": sheets.poses},
        }[name]
        for sheet, figure in draw.items():
            sheets.save(figure(self.runs[name]), self.out / f"{sheet}.png")
        drawing = {name: run.load() for name, run in self.runs.items() if "image" in run.experiment.outputs}
        decoders.save(drawing, self.out / "decoders.safetensors")

    def transfer(self) -> None:
        """Pose transfer of both models, compared with the truth.

        Poses are estimated by both models, but never by the one that generated the image; only errors of the same
        estimator can be compared.
        """
        run = self.runs["dvae-image"]
        pairs = counterfactuals.draw_pairs(run, POSES)
        models: dict[str, DVAE] = {name: self.runs[name].load() for name in ("dvae-image", "dvae-zu")}
        drawn = {name: counterfactuals.transfer(model, pairs.inputs) for name, model in models.items()}
        others = counterfactuals.baselines(run, pairs, None)
        scores = {}
        for name, images in {"the true image": pairs.targets["image"], **drawn, **others}.items():
            values = {"right content": counterfactuals.is_correct_room(images, pairs)}
            for reader, model in models.items():
                if reader != name:
                    scored = counterfactuals.score(images, pairs.targets, model)
                    values |= {f"epe by {reader}": scored.pop("epe")} | scored
            # A copy of the truth has an infinite PSNR.
            finite = {what: v for what, v in values.items() if v.isfinite().all()}
            scores[name] = {what: bootstrap_ci(v, pairs.contents_per_pose) for what, v in finite.items()}
        nearest = "nearest pose, right content"
        inputs = {"pose of": counterfactuals.images(run, pairs.index[:, 0]), "content of": pairs.inputs["image"]}
        figure = sheets.against_the_truth(inputs, pairs.targets["image"], drawn | {nearest: others[nearest]})
        sheets.save(figure, self.out / "truth.png")
        self.done("transfer", transfer=scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="time limit in minutes")
    parser.add_argument("--size", type=int, default=256, help="side of the crops in pixels; 256 in the paper")
    parser.add_argument("--device", choices=settings.DEVICES, default="auto")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--work", type=Path, default=settings.ROOT / "_build" / "full", help="folder for data and runs")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    os.environ["DVAE_RUNS_ROOT"] = str(asked.work.resolve() / "runs")
    os.environ["DVAE_CACHE_ROOT"] = str(asked.work.resolve() / "cache")
    use_book_style()
    full = Full(asked.minutes, asked.size, asked.device, asked.out)
    for phase in (full.draw, full.time, full.train, full.transfer):
        phase()


if __name__ == "__main__":
    main()
