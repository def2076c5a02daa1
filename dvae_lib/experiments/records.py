"""The record of a trained run of the study: numbers and the errors of every sample, without weights (chapter 10).

A record consists of two files, `<name>-seed-<k>.json` and `.safetensors`. Names of arrays have a slash between source
and quantity: “image/pose” is the error of the pose from images. The array “unit” groups dependent samples: see
`datasets.units`. Errors are in half precision, with a relative rounding error below 1/2000. “sheet” arrays are
generated images, uint8, of the first seed only; the file stores them as WebP images, and the JSON their shapes.
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
_POSES = 320  # samples whose predicted poses are stored
_SHEETS, _QUALITY = "sheet/", 90
_SHEET, _WALKS = 12, 3  # pairs whose generated images and walks are stored, for one seed
_WORST = 10  # for photographs, also the worst generated images
_PEOPLE, _TAG = 8, 5  # students in the table, and the gesture of their tag: an open hand
_ROTATIONS, _DRAWS = 20, 16


def _packed(images: Tensor) -> Tensor:
    """Images (…, 3, S, S) uint8, stacked vertically, as the bytes (n,) of one WebP image."""
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
    """numbers: in JSON types. arrays: see the module."""

    numbers: Numbers
    arrays: Arrays

    def save(self, path: Path) -> None:
        """Writes both files, the JSON last: without it a record is incomplete."""
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
                "`dvae study --test` recomputes both."
            ) from error

    def by_unit(self, name: str) -> Tensor:
        """The mean (U,) of the named array over the samples of each unit, without samples that have no value."""
        group = name.split("/")[0]
        unit = self.arrays.get(f"{group}/unit", self.arrays["unit"]).long()
        values, known = self.arrays[name].double(), ~self.arrays[name].isnan()
        sums = torch.zeros(int(unit.max()) + 1, dtype=torch.float64)
        counts = sums.index_add(0, unit, known.double())
        return sums.index_add(0, unit, values.nan_to_num()) / counts


def measure(run: Run, estimator: Regressor | None = None, part: Part = "test") -> Record:
    """Everything that the claims, figures and tables need from a run, on a part of its data. estimator: predicts poses
    from generated images; without it no images are generated.
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
    """The names of the stored errors from a source: those that tables and claims need."""
    name = run.experiment.name.removesuffix("-rhd")
    if source == MEAN_POSE:
        return ("pose", "cpose") if name == "dvae-pose" else ()
    objective = ("bound", "kl") if name.startswith(("ablation", "steady")) else ()
    if source in ("factors", "keypoints", "pose"):
        return ("pose", "image", *objective)
    both = ("composed", "disagreement_mm") if name == "dvae-pose" else ()
    return ("pose", "cpose", "viewpoint", "image", *both, *objective)


def _curves(run: Run) -> Arrays:
    """The loss, thinned, and the monitored quantities."""
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
    """The means over training samples of the disentangling step's objective and of its terms."""
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
    """The pairs of dvae-image, which all methods use."""
    drawing = Run(find("dvae-image", run.profile), run.profile)
    take = counterfactuals.photographed_pairs if counterfactuals.of_photographs(run) else counterfactuals.draw_pairs
    return take(drawing, part=part)


def _transfers(run: Run, model: Any, estimator: Regressor | None, part: Part) -> tuple[Numbers, Arrays]:
    """Claims 6 and 7: images with the pose of one sample and the content of another, and walks between such pairs; for
    a cross-modal VAE, images of the poses.
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
    """Some of the completely held-out students, each in all ten gestures, generated from one of their photographs and
    the pose of the target photograph; with the indices (students, 10) of the targets in the data set.
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
    """The scores of generated images (N, 3, S, S) of pairs."""
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
    """Claim 3: the distance between decoded and composed poses over all joints in mm, and the poses of some samples,
    for their distance from those of another training run. Also the uncertainty that `predict` reports: the spread of
    poses in mm, over the joints that count in the error.
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
    """Claim 10: the columns of Table 4."""
    arrays: Arrays = {}
    for column, errors in probes.table_4(run, part=part).items():
        arrays[f"table 4/{column}, cpose"] = probes.area(errors["cpose"]).half()
        arrays[f"table 4/{column}, viewpoint"] = errors["viewpoint"].half()
        arrays["table 4/unit"] = errors["unit"].short()
    return {}, arrays


def _beta_vae(run: Run, model: Any, estimator: Regressor | None, part: Part) -> tuple[Numbers, Arrays]:
    """Claim 9: the score of codes from images, of codes from labels, of codes from images after random rotations of the
    latent, and of codes from images by an untrained encoder.
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
    """For the estimator: its scores of the true images of the pairs, and of the images of untrained methods."""
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
    if counterfactuals.of_photographs(run):  # whose true images are not redistributed
        arrays = {name: x for name, x in arrays.items() if not name.startswith(_SHEETS)}
    return {"fréchet": distances}, arrays


# By experiment, on any data: what is measured besides the errors of its predictions.
_MORE: dict[str, tuple[Callable[..., tuple[Numbers, Arrays]], ...]] = {
    "cross-modal": (_transfers, _table_4),
    **dict.fromkeys(("dvae-image", "dvae-image-place", "dvae-zu", "dvae-zu-without-loop"), (_transfers,)),
    "dvae-pose": (_of_poses, _table_4),
    "dvae-image-8": (_beta_vae,),
    "estimator": (_untrained,),
}
