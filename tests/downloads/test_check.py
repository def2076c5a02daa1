"""What `dvae check` says of a folder."""

import hashlib
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from dvae_lib import settings
from dvae_lib.datasets import stb
from dvae_lib.downloads import check
from dvae_lib.downloads.fetch import read_hashes
from tests.helpers.miniatures import FILES, complaint, rhd_files, run, stb_files, write


def wrong_with(name, folder, *arguments):
    return complaint("check", name, "--folder", folder, *arguments)


def test_check_says_what_of_realhand_is_missing(hashes, tmp_path):
    write(tmp_path, FILES)
    assert run("check", "realhand", "--folder", tmp_path).output.startswith(f"realhand in {tmp_path} is complete")
    (tmp_path / "LICENSE").unlink()
    (tmp_path / "pose_gt.mat").write_bytes(b"damaged")
    assert wrong_with("realhand", tmp_path) == (
        f"realhand in {tmp_path} is not complete: 1 file is missing (LICENSE) and 1 file is not as published "
        "(pose_gt.mat). Run `dvae download realhand --accept-licence` to fetch what is missing or damaged."
    )


def test_check_says_what_of_stb_is_missing(small, tmp_path):
    write(tmp_path, stb_files())
    assert "is complete: all 168 files exist" in run("check", "stb", "--folder", tmp_path).output
    shutil.rmtree(tmp_path / "images/B3Random")
    for view in ("BB_left", "SK_depth"):
        (tmp_path / f"images/B1Counting/{view}_1.png").unlink()
    (tmp_path / "labels/B2Random_SK.mat").unlink()
    assert wrong_with("stb", tmp_path) == (
        f"stb in {tmp_path} is not complete: 15 of its 168 files are missing: everything in images/B3Random, "
        "1 of 24 labels/*.mat (B2Random_SK.mat), 1 of 3 images/B1Counting/BB_left_*.png (BB_left_1.png), "
        "1 of 3 images/B1Counting/SK_depth_*.png (SK_depth_1.png). `dvae download stb` shows where "
        "its archives are, and unpacks what is missing."
    )


def test_check_can_leave_out_the_depth_camera(small, tmp_path):
    write(tmp_path, {name: content for name, content in stb_files().items() if "SK_" not in name})
    assert "The stereo pairs (BB) are complete" in wrong_with("stb", tmp_path)
    result = run("check", "stb", "--folder", tmp_path, "--view", "BB_left", "--view", "BB_right")
    assert result.exit_code == 0 and "all 84 files exist" in result.output
    assert "--view is for stb" in complaint("check", "rhd", "--view", "BB_left")


def test_check_says_what_of_rhd_is_missing(small, tmp_path):
    write(tmp_path, rhd_files())
    (tmp_path / "RHD_published_v2/training/anno_training.pickle").unlink()
    (tmp_path / "RHD_published_v2/evaluation/mask/00001.png").unlink()
    assert wrong_with("rhd", tmp_path) == (
        f"rhd in {tmp_path} is not complete: 2 of its 17 files are missing: "
        "RHD_published_v2/training/anno_training.pickle, 1 of 2 RHD_published_v2/evaluation/mask/*.png (00001.png). "
        "Run `dvae download rhd --accept-licence` to fetch what is missing."
    )
    assert "none of its 17 files exists" in wrong_with("rhd", tmp_path / "nothing")


class Harmful:
    def __reduce__(self):
        return print, ("the pickle ran",)


@pytest.mark.parametrize("name, file, damage", [
    ("stb", "images/B5Random/SK_color_2.png", lambda content: content[: len(content) // 2]),
    ("stb", "images/B1Counting/BB_left_0.png", lambda content: b""),
    ("stb", "labels/B6Random_BB.mat", lambda content: content[:200]),
    ("rhd", "RHD_published_v2/training/depth/00000.png", lambda content: b"no image"),
    ("rhd", "RHD_published_v2/evaluation/anno_evaluation.pickle", lambda content: content[:-9]),
    ("rhd", "RHD_published_v2/evaluation/anno_evaluation.pickle", lambda content: pickle.dumps(Harmful())),
])  # fmt: skip
def test_check_finds_what_is_damaged(small, tmp_path, capsys, name, file, damage):
    files = stb_files() if name == "stb" else rhd_files()
    write(tmp_path, files | {file: damage(files[file])})
    said = wrong_with(name, tmp_path)
    assert f"1 file is damaged ({file}): {tmp_path / file} " in said and "Delete the damaged files first" in said
    assert "the pickle ran" not in capsys.readouterr().out


def test_check_counts_the_labels_of_rhd(small, tmp_path):
    write(tmp_path, rhd_files())
    path = tmp_path / "RHD_published_v2/training/anno_training.pickle"
    entries = pickle.loads(path.read_bytes())
    del entries[1]
    path.write_bytes(pickle.dumps(entries))
    assert "has the labels of 2 images instead of 3" in wrong_with("rhd", tmp_path)


def test_check_opens_a_sample_spread_over_the_images_or_all_of_them(small, tmp_path, monkeypatch):
    files = stb_files()
    write(tmp_path, files)
    monkeypatch.setattr(check, "SAMPLE", 2)  # so that it opens the first and the last of each kind
    assert "none of the 120 that were opened is damaged; --thorough" in run("check", "stb", "--folder", tmp_path).output
    (tmp_path / "images/B4Random/BB_right_1.png").write_bytes(b"")
    assert run("check", "stb", "--folder", tmp_path).exit_code == 0
    assert "images/B4Random/BB_right_1.png" in wrong_with("stb", tmp_path, "--thorough")


def test_check_knows_the_one_published_label_file(small, tmp_path, monkeypatch):
    write(tmp_path, stb_files())
    digest = hashlib.sha256(stb_files()["labels/B1Counting_BB.mat"]).hexdigest()
    monkeypatch.setattr(check, "STB_LABELS", {"B1Counting_BB.mat": digest})
    assert run("check", "stb", "--folder", tmp_path).exit_code == 0
    monkeypatch.setattr(check, "STB_LABELS", {"B1Counting_BB.mat": "0" * 64})
    assert "B1Counting_BB.mat can be read, but is not the published file" in wrong_with("stb", tmp_path)


@pytest.mark.real_data("stb")
def test_check_of_the_real_stb():
    """Whole where it is, and else a paragraph that says how much of it is missing, with nothing real called damaged."""
    folder = settings.data_root() / "stb"
    there = sum(len(list(folder.rglob(f"{view}_*.png"))) for view in stb.VIEWS) + len(list(folder.rglob("B*_??.mat")))
    result = run("check", "stb")
    if there == 72024:
        assert result.exit_code == 0 and "is complete: all 72024 files exist" in result.output
        return
    said = complaint("check", "stb")
    assert "damaged" not in said and "\n" not in said and len(said) < 1000
    assert said.startswith(f"stb in {folder} is not complete: {72024 - there} of its 72024 files are missing: ")
    if there == 2:  # one sequence's labels and one frame
        assert said.split("missing: ")[1].split(". `dvae")[0] == (
            "everything in 11 folders (images/B1Random, images/B2Counting, images/B2Random, …), "
            "23 of 24 labels/*.mat (B1Counting_SK.mat, B1Random_BB.mat, B1Random_SK.mat, …), "
            "1499 of 1500 images/B1Counting/BB_left_*.png (BB_left_1.png, BB_left_2.png, BB_left_3.png, …), "
            "all 1500 images/B1Counting/BB_right_*.png, all 1500 images/B1Counting/SK_color_*.png, "
            "all 1500 images/B1Counting/SK_depth_*.png"
        )


def test_the_published_hashes_cover_the_data_set():
    names = set(read_hashes(check.HASHES["realhand"]))
    assert names == {"LICENSE", "params.mat", "pose_gt.mat"} | {f"images/{i:05d}.jpg" for i in range(583)}


@pytest.mark.real_data("realhand")
def test_the_real_folder_is_complete_and_drawn(tmp_path):
    result = run("check", "realhand", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0 and "is complete: 583 photographs" in result.output
    picture = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert min(picture.shape[:2]) > 500 and picture.std() > 20
