"""What is kept of a run of the study once it is trained: numbers, the errors of every sample, no weights (chapter 10).

A record is two files, `<name>-seed-<k>.json` and `.safetensors`. Names of arrays have a slash between what was asked
and what was measured, as “image/pose”: from images the error of the pose. “unit” beside them says which samples are not
independent: see `datasets.units`. Errors are halves: they are rounded by a two-thousandth. Under “sheet” are drawn
images, uint8, of the first seed alone; in the file they are pictures in WebP, and the JSON has their shapes.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from scipy.stats import special_ortho_group
from torch import Tensor

from dvae_lib.datasets import Part
from dvae_lib.datasets.digits import GESTURES
from dvae_lib.experiments import counterfactuals, find, probes
from dvae_lib.experiments.evaluation import MEAN_POSE, decoder_disagreement
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError, atomic_write, read_json, write_json
from dvae_lib.metrics.disentanglement import beta_vae_score
from dvae_lib.metrics.frechet import frechet_distance
from dvae_lib.models import DVAE, CrossModalVAE, Regressor

Arrays = dict[str, Tensor]
Numbers = dict[str, Any]
_CURVE = 120  # points of a loss curve
_POSES = 320  # samples whose poses are kept themselves
_SHEETS, _QUALITY = "sheet/", 90
_SHEET, _WALKS = 12, 3  # pairs whose drawn images and walks are kept, of one seed
_WORST = 10  # of photographs those, too, that are drawn worst
_PEOPLE, _TAG = 8, 5  # students of the table, and the gesture of theirs that it takes as the tag: an open hand
_ROTATIONS, _DRAWS = 20, 16


def _packed(images: Tensor) -> Tensor:
    """Images (…, 3, S, S) uint8 below one another, as the bytes (n,) of a picture."""
    column = images.flatten(0, -4).permute(0, 2, 3, 1).flatten(0, 1).numpy()
    file = io.BytesIO()
    Image.fromarray(column).save(file, "WEBP", quality=_QUALITY)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def _unpacked(picture: Tensor, shape: Sequence[int]) -> Tensor:
    with Image.open(io.BytesIO(picture.numpy().tobytes())) as image:
        column = torch.from_numpy(np.array(image.convert("RGB")))
    size = shape[-1]
    return column.unflatten(0, (-1, size)).permute(0, 3, 1, 2).reshape(*shape).contiguous()


@dataclass(frozen=True)
class Record:
    """numbers: as JSON has them; arrays: see above."""

    numbers: Numbers
    arrays: Arrays

    def save(self, path: Path) -> None:
        """Writes both files, the JSON last: a record without it is none."""
        sheets = {name: list(values.shape) for name, values in self.arrays.items() if name.startswith(_SHEETS)}
        arrays = {name: _packed(x) if name in sheets else x.contiguous() for name, x in self.arrays.items()}
        with atomic_write(path.with_suffix(".safetensors")) as temporary:
            temporary.write_bytes(as_bytes(arrays))
        write_json(path.with_suffix(".json"), self.numbers | ({"sheets": sheets} if sheets else {}))

    @classmethod
    def load(cls, path: Path) -> "Record":
        """Raises UserError if a file is missing or damaged."""
        numbers, arrays = (path.with_suffix(end) for end in (".json", ".safetensors"))
        try:
            known, found = read_json(numbers), load_file(arrays)
            sheets = {name: _unpacked(found[name], shape) for name, shape in known.pop("sheets", {}).items()}
            return cls(known, found | sheets)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise UserError(
                f"{arrays} is missing or damaged ({error}): fetch it again, or delete {numbers}, and "
                "`dvae study --test` makes both anew."
            ) from error

    def by_unit(self, name: str) -> Tensor:
        """The mean (U,) over the samples of each unit of what is kept under a name, without samples that lack it."""
        group = name.split("/")[0]
        unit = self.arrays.get(f"{group}/unit", self.arrays["unit"]).long()
        values, known = self.arrays[name].double(), ~self.arrays[name].isnan()
        sums = torch.zeros(int(unit.max()) + 1, dtype=torch.float64)
        counts = sums.index_add(0, unit, known.double())
        return sums.index_add(0, unit, values.nan_to_num()) / counts


def measure(run: Run, estimator: Regressor | None = None, part: Part = "test") -> Record:
    """Everything that the claims, figures and tables ask of a run, on a part of its data. estimator: reads poses off
    drawn images; without it nothing is drawn.
    """
    model = run.load()
    evaluation = run.evaluate(model, part)
    arrays: Arrays = {"unit": torch.from_numpy(run.units(part)).short()}
    for source, errors in evaluation.errors.items():
        kept = _kept(run, source)
        arrays |= {f"{source}/{name}": values.half() for name, values in errors.items() if name in kept}
    report = evaluation.report
    for source in (report[MEAN_POSE], *report["from"].values()):
        if source is not report["from"].get("image"):
            source.pop("scores", None)
    numbers: Numbers = {"report": report, "train": _on_training_samples(run, model)}
    arrays |= _curves(run)
    for more in _MORE.get(run.experiment.name.removesuffix("-rhd"), ()):
        own_numbers, own_arrays = more(run, model, estimator, part)
        numbers |= own_numbers
        arrays |= own_arrays
    pictured = run.experiment.seed == 1
    return Record(numbers, {name: x for name, x in arrays.items() if pictured or not name.startswith(_SHEETS)})


def _kept(run: Run, source: str) -> tuple[str, ...]:
    """What is kept of the errors from a source: what tables and claims ask for."""
    name = run.experiment.name.removesuffix("-rhd")
    if source == MEAN_POSE:
        return ("pose", "cpose") if name == "dvae-pose" else ()
    objective = ("bound", "kl") if name.startswith(("ablation", "steady")) else ()
    if source in ("factors", "keypoints", "pose"):
        return ("pose", "image", *objective)
    both = ("composed", "disagreement_mm") if name == "dvae-pose" else ()
    return ("pose", "cpose", "viewpoint", "image", *both, *objective)


def _curves(run: Run) -> Arrays:
    """The loss, and what was watched, thinned."""
    curves: Arrays = {}
    for name, values in run.metrics.items():
        if name in ("step", "loss"):
            kept = values[:: max(1, len(values) // _CURVE)]
        elif name.endswith(("held-out bound", "moved")):
            kept = values[np.isfinite(values)]
        else:
            continue
        curves[f"curve/{name}"] = torch.from_numpy(kept.copy()).float()
    return curves


@torch.inference_mode()
def _on_training_samples(run: Run, model: Any, count: int = 1024) -> Numbers:
    """The means over training samples of the objective that the last step but the embedding raises, and its terms."""
    if not isinstance(model, DVAE) or "image" not in model.observations:
        return {}
    dataset, indices = run.subsets(run.learnt_from)[0]
    chosen = indices[np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(int)]
    torch.manual_seed(0)
    total: dict[str, float] = {}
    batches = counterfactuals.samples_at(run, chosen, run.experiment.images(), run.learnt_from)
    for batch in batches.in_order():
        bound, terms = model.disentangling_bound(batch)
        for name, values in {"bound": bound, **terms}.items():
            total[name] = total.get(name, 0.0) + values.sum().item() / len(chosen)
    return total


def _pairs(run: Run, part: Part) -> counterfactuals.Pairs:
    """Those of dvae-image, for whatever draws them."""
    drawing = Run(find("dvae-image", run.profile), run.profile)
    take = counterfactuals.photographed_pairs if counterfactuals.of_photographs(run) else counterfactuals.draw_pairs
    return take(drawing, part=part)


def _transfers(run: Run, model: Any, estimator: Regressor | None, part: Part) -> tuple[Numbers, Arrays]:
    """Claims 6 and 7: images with the pose of one sample and the content of another, and walks between such pairs; of a
    cross-modal VAE images of the poses.
    """
    if estimator is None or "image" not in run.experiment.outputs:
        return {}, {}
    pairs = _pairs(run, part)
    if isinstance(model, CrossModalVAE):
        with torch.inference_mode():
            return _judged(model.translate("pose", pairs.inputs["pose"], "image"), pairs, estimator)
    numbers, arrays = _judged(counterfactuals.transfer(model, pairs.inputs), pairs, estimator)
    walks = counterfactuals.drifts(model, pairs, estimator)
    arrays |= {f"pairs/walk, {name}": values.half() for name, values in walks.items()}
    if counterfactuals.of_photographs(run):
        arrays |= _people_and_gestures(run, model, part)
    z, some = counterfactuals.encode(model, pairs.inputs), _evenly(len(pairs.partner), _WALKS)
    content = [name for name in model.slices if name not in ("pose", "place")]
    for name, slices in (("content", content), ("pose", ["pose"])):
        way = model.walk(z[some], z[pairs.partner[some]], 7, slices)
        with torch.inference_mode():
            images = torch.stack([model.decode(step, ["image"])["image"] for step in way], 1)
        arrays[f"sheet/{name} walks"] = _bytes(images)
    return numbers, arrays


def _people_and_gestures(run: Run, model: DVAE, part: Part) -> Arrays:
    """Some of the students who are held out whole, each in all ten gestures, drawn from one photograph of theirs and
    the pose of the photograph that is asked for; with the numbers (students, 10) of these among the samples.
    """
    dataset, held_out = run.subsets(part)[0]
    student, gesture = (np.asarray(dataset[name])[held_out] for name in ("content", "sequence"))
    whole = [k for k in np.unique(student) if len(set(gesture[student == k].tolist())) == GESTURES]
    chosen = [whole[i] for i in _evenly(len(whole), _PEOPLE).tolist()]
    first = {(s, g): i for s, g, i in reversed([*zip(student.tolist(), gesture.tolist(), held_out, strict=True)])}
    table = np.array([[first[k, g] for g in range(GESTURES)] for k in chosen])
    asked = next(counterfactuals.samples_at(run, table.ravel(), ("image",), part).in_order())
    tags = asked["image"].unflatten(0, table.shape)[:, _TAG].repeat_interleave(GESTURES, 0)
    inputs = {"pose": asked["pose"], "place": asked["place"], "image": tags, "tag": tags}
    drawn = counterfactuals.transfer(model, inputs).unflatten(0, table.shape)
    return {"sheet/people and gestures": _bytes(drawn), "table": torch.from_numpy(table)}


def _evenly(count: int, most: int) -> Tensor:
    return torch.linspace(0, count - 1, min(most, count)).long()


def _bytes(images: Tensor) -> Tensor:
    """Images in [−1, 1] as uint8."""
    return ((images + 1) * 127.5).round().clamp(0, 255).byte()


def _judged(drawn: Tensor, pairs: counterfactuals.Pairs, estimator: Regressor) -> tuple[Numbers, Arrays]:
    """What drawn images (N, 3, S, S) of pairs are worth."""
    scores = counterfactuals.score(drawn, pairs.targets, estimator)
    if "content" in estimator.modalities:
        scores["student"] = counterfactuals.is_correct_student(drawn, pairs, estimator)
    else:
        scores["room"] = counterfactuals.is_correct_room(drawn, pairs)
    with torch.inference_mode():
        features = [estimator.encoder(images).mean for images in (drawn, pairs.targets["image"])]
    arrays = {f"pairs/{name}": values.half() for name, values in scores.items()}
    arrays["pairs/unit"] = pairs.unit.short()
    arrays["sheet/images"] = _bytes(drawn[_evenly(len(drawn), _SHEET)])
    if "content" in estimator.modalities:
        arrays["worst"] = scores["psnr"].argsort()[:_WORST]
        arrays["sheet/worst"] = _bytes(drawn[arrays["worst"]])
    return {"fréchet": frechet_distance(*features)}, arrays


@torch.inference_mode()
def _of_poses(run: Run, model: Any, _: Regressor | None, part: Part) -> tuple[Numbers, Arrays]:
    """Claim 3: how far decoded and composed poses are apart, over all joints in mm, and the poses of some samples, for
    the same distance from another training's. And how sure `predict` says it is: the spread of poses in mm, over the
    joints that count in the error.
    """
    collected: dict[str, list[Tensor]] = {"poses": [], "apart": [], "spread": []}
    torch.manual_seed(0)
    for batch in run.batches(part).in_order():
        q, visible = model.encode("image", batch["image"]), batch["visible"].float()
        means = model.decode(q.mean)
        draws = torch.stack([model.decode(z, ["pose"])["pose"] for z in q.sample((_DRAWS,))])
        spread = (draws - draws.mean(0)).square().sum(-1).mean(0).sqrt() * visible
        collected["poses"].append(means["pose"] * batch["scale"][:, None, None])
        collected["apart"].append(decoder_disagreement(means) * batch["scale"])
        collected["spread"].append(spread.sum(-1) / visible.sum(-1) * batch["scale"])
    poses, apart, spread = (torch.cat(values).half() for values in collected.values())
    return {}, {"poses": poses[_evenly(len(poses), _POSES)], "image/apart": apart, "image/spread": spread}


def _table_4(run: Run, model: Any, estimator: Regressor | None, part: Part) -> tuple[Numbers, Arrays]:
    """Claim 10."""
    arrays: Arrays = {}
    for column, errors in probes.table_4(run, part=part).items():
        arrays[f"table 4/{column}, cpose"] = probes.area(errors["cpose"]).half()
        arrays[f"table 4/{column}, viewpoint"] = errors["viewpoint"].half()
        arrays["table 4/unit"] = errors["unit"].short()
    return {}, arrays


def _beta_vae(run: Run, model: Any, estimator: Regressor | None, part: Part) -> tuple[Numbers, Arrays]:
    """Claim 9: the score of codes from images, from labels, from images turned by random rotations, and from images by
    an encoder that was not trained.
    """
    grid = probes.poses_and_contents(run, poses=40, part=part)
    codes = {
        "images": grid.as_array(probes.encode_images(model, grid.batch)),
        "labels": grid.as_array(counterfactuals.encode(model, grid.batch)),
        "untrained": grid.as_array(probes.encode_images(cast(DVAE, run.build().eval()), grid.batch)),
    }
    scores = {name: beta_vae_score(z) for name, z in codes.items()}
    turns = special_ortho_group.rvs(model.d, _ROTATIONS, random_state=0)
    scores["turned"] = float(np.mean([beta_vae_score(codes["images"] @ turn) for turn in turns]))
    return {"β-VAE score": scores}, {}


def _untrained(run: Run, model: Any, _: Regressor | None, part: Part) -> tuple[Numbers, Arrays]:
    """Of the estimator: the true images of the pairs, and what methods without any training draw, by its judgement."""
    pairs = _pairs(run, part)
    drawing = Run(find("dvae-image", run.profile), run.profile)
    images = {"true image": pairs.targets["image"], "tag": pairs.inputs["image"]}
    images |= counterfactuals.baselines(drawing, pairs, None, part)
    distances: Numbers = {}
    arrays: Arrays = {}
    for name, drawn in images.items():
        own_numbers, own = _judged(drawn, pairs, model)
        distances[name] = own_numbers["fréchet"]
        arrays |= {key.replace("/", f"/{name}, "): values for key, values in own.items() if "unit" not in key}
        arrays["pairs/unit"] = own["pairs/unit"]
    if counterfactuals.of_photographs(run):  # whose true images are on everybody's own disk, and not published again
        arrays = {name: x for name, x in arrays.items() if not name.startswith(_SHEETS)}
    return {"fréchet": distances}, arrays


# Of experiments, on whatever data, what is asked beside the errors of all that they read.
_MORE: dict[str, tuple[Callable[..., tuple[Numbers, Arrays]], ...]] = {
    "cross-modal": (_transfers, _table_4),
    **dict.fromkeys(("dvae-image", "dvae-image-place", "dvae-zu", "dvae-zu-without-loop"), (_transfers,)),
    "dvae-pose": (_of_poses, _table_4),
    "dvae-image-8": (_beta_vae,),
    "estimator": (_untrained,),
}
