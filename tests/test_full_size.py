"""The script for the paper's sizes, from end to end in small: every file, and networks that draw what was trained."""

import json
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from benchmarks.full.decoders import image_network
from dvae_lib import settings
from dvae_lib.experiments.run import Run

SHEETS = {f"{name}.png" for name in ("transfer", "walks", "transfer-zu", "walks-zu", "poses", "truth")}


@pytest.mark.slow
def test_the_script_leaves_its_eight_files(tmp_path):
    out, work = tmp_path / "out", tmp_path / "work"
    asked = ["--minutes", "0.3", "--size", "32", "--device", "cpu", "--out", str(out), "--work", str(work)]
    command = [sys.executable, "-m", "benchmarks.full", *asked]
    done = subprocess.run(command, cwd=settings.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == SHEETS | {"full.json", "decoders.safetensors"}
    assert all(min(Image.open(out / name).size) > 200 for name in SHEETS)

    found = json.loads((out / "full.json").read_text(encoding="utf-8"))
    assert found["provenance"]["size"] == 32 and found["hands"]["drawn"].keys() == found["hands"]["at most"].keys()
    assert list(found["seconds"]) == [
        "drawing", "timing", "dvae-image", "dvae-zu", "dvae-pose-rhd", "transfer"
    ]  # fmt: skip
    assert found["transfer"].keys() >= {"the true image", "dvae-image", "dvae-zu", "mean image"}
    readers = {name: {key for key in scores if "epe" in key} for name, scores in found["transfer"].items()}
    assert readers["dvae-image"] == {"epe by dvae-zu"} and readers["dvae-zu"] == {"epe by dvae-image"}
    assert len(readers["mean image"]) == len(readers["the true image"]) == 2

    kept = load_file(out / "decoders.safetensors")
    assert {tensor.dtype for tensor in kept.values()} <= {torch.float16, torch.int64}
    for name in ("dvae-image", "dvae-zu"):
        (folder,) = (work / "runs" / "full").glob(f"{name}-*")
        model = Run.open(folder).load()
        assert found["runs"][name]["experiment"]["steps"] == Run.open(folder).experiment.steps
        network = image_network(model)
        z = torch.randn(4, model.d)
        drawn = network(z)
        network.load_state_dict(
            {key.removeprefix(f"{name}."): t.float() for key, t in kept.items() if key.startswith(name)}
        )
        torch.testing.assert_close(network(z), drawn, atol=0.02, rtol=0)
