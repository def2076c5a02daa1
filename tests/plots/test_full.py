"""The largest run's figures and numbers: shown with where they come from, or the command that makes them."""

import json

import pytest
from PIL import Image

from dvae_lib import settings
from dvae_lib.plots import full
from dvae_lib.plots.tables import in_words

KEPT = {
    "provenance": {"size": 256, "minutes": 9, "hardware": "a GPU", "date": "2026-11-29"},
    "transfer": {
        "dvae-image": {name: [20.25, 20.0, 20.5] for name in ("psnr", "ssim", "epe by dvae-zu", "right content")}
    },
    "runs": {
        "dvae-image": {
            "images": 44_800,
            "experiment": {"steps": 1000, "embedding_steps": 400},
            "evaluation": {"from": {"image": {"epe": 12.34}}},
        }
    },
}


@pytest.fixture
def displayed(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(full, "FOLDER", tmp_path)
    monkeypatch.setattr(full, "display", shown.append)
    return shown


def test_where_nothing_is_kept_the_command_is_shown(displayed):
    full.sheet("transfer", "Rows")
    for shown in (*displayed, full.transfer_scores(), full.summary()):
        assert full.COMMAND in shown.data


def test_what_is_kept_is_shown_with_where_it_comes_from(displayed, tmp_path):
    (tmp_path / "full.json").write_text(json.dumps(KEPT), encoding="utf-8")
    Image.new("RGB", (3, 2), "red").save(tmp_path / "transfer.png")
    full.sheet("transfer", "Rows keep the pose")
    picture, caption = displayed
    assert picture.data == (tmp_path / "transfer.png").read_bytes()
    assert caption.data == "*Rows keep the pose. 256 pixels, 9 minutes in all on a GPU, 2026-11-29.*"
    assert f"| dvae-image | {in_words((20.25, 20.0, 20.5), 2)} |" in full.transfer_scores().data
    assert "| `dvae-image` | 1,400 | 44,800 | 12.3 mm |" in full.summary().data


def test_a_sheet_that_is_missing_shows_the_command(displayed, tmp_path):
    (tmp_path / "full.json").write_text(json.dumps(KEPT), encoding="utf-8")
    full.sheet("walks", "One part goes")
    assert full.COMMAND in displayed[0].data


def test_the_readme_shows_the_run_that_is_kept():
    _, shown, _ = (settings.ROOT / "README.md").read_text("utf-8").split(full.README_MARK)
    assert shown.strip() == full.for_readme(), "run python book/pictures.py"


def test_the_readme_names_gpu_and_minutes(displayed, tmp_path):
    (tmp_path / "full.json").write_text(json.dumps(KEPT), encoding="utf-8")
    Image.new("RGB", (3, 2)).save(tmp_path / "transfer.png")
    assert "(results/full/transfer.png)" in full.for_readme() and "9 minutes in all on a GPU" in full.for_readme()
