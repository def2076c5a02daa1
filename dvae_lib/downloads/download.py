"""Fetches a data set, or unpacks fetched archives: `dvae download rhd --accept-licence`."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from dvae_lib import settings
from dvae_lib.datasets import rhd, stb
from dvae_lib.datasets.stb_layout import SEQUENCES
from dvae_lib.downloads import check
from dvae_lib.downloads.archive import Place, unpack
from dvae_lib.downloads.fetch import fetch, fetch_all, read_hashes
from dvae_lib.downloads.packages import PACKAGES, get_members
from dvae_lib.files import UserError, absent, check_room, exclusive_lock, printable


class Repository(NamedTuple):
    """A repository with the files of a data set. revision: the commit that the hashes are of. below: the folder of all
    files except `outside`, which are at the top level.
    """

    name: str
    revision: str
    below: str = ""
    outside: tuple[str, ...] = ()

    @property
    def licence(self) -> str:
        return f"https://github.com/{self.name}/blob/{self.revision}/LICENSE"

    def address(self, file: str, base: str, revision: str | None = None) -> str:
        path = f"{self.below}{file}" if file not in self.outside else file
        return f"{base}/{self.name}/{revision or self.revision}/{path}"


REPOSITORIES = {
    "realhand": Repository(
        "3d-hand-shape/hand-graph-cnn",
        "670bad8660e31b7083f91eac96bb96fb9dec6e4f",
        "data/real_world_testset/",
        ("LICENSE",),
    ),
    "digits": Repository("ardamavi/Sign-Language-Digits-Dataset", "4b09433"),
}
RHD_ARCHIVE, RHD_BYTES = "RHD_v1-1.zip", 7_080_690_299  # no hash was published; the archive has a checksum per file
SERVERS = dict.fromkeys(REPOSITORIES, "https://raw.githubusercontent.com") | {
    "rhd": "https://lmb.informatik.uni-freiburg.de"
}
# Data that may be used for any purpose, and what to cite.
FREE = {
    "digits": f"""\
digits: 2062 photographs of hands that show the digits 0 to 9 in sign language, by students of Ayrancı Anadolu High
School, Ankara, under the Apache licence 2.0, which is included as LICENSE. Cite A. Mavi, “A New Dataset and Proposed
Convolutional Neural Network Architecture for Classification of American Sign Language Digits”, arXiv:2011.08927.
https://github.com/{REPOSITORIES["digits"].name}""",
    "detector": f"""\
detector: MediaPipe's palm detector and hand landmark network, by Google, from the package
{PACKAGES["detector"].name}, under the Apache licence 2.0. Cite F. Zhang et al., “MediaPipe Hands: On-device Real-time
Hand Tracking”, arXiv:2006.10214.""",
    "camera": f"""\
camera: the script and the networks with which MediaPipe detects hands in a page, by Google, from the package
{PACKAGES["camera"].name}, under the Apache licence 2.0. Build the book again: its explorers then
offer your camera where the pages are served, and the camera's images do not leave the page.""",
}
LICENCES = {
    "realhand": f"""\
realhand: 583 photographs of hands with 3D poses, by Ge et al. (CVPR 2019), copyright 2019 Snap Inc.
Its licence, in short: use it for non-commercial research and education only; it is provided as is, without any
warranty, at your own risk; share it only with research associates and colleagues who agree to the same terms, together
with the complete licence; you may not use Snap's name and logo. The full text is at
{REPOSITORIES["realhand"].licence} and is included as LICENSE.""",
    "rhd": f"""\
RHD, the Rendered Hand Pose data set: 43 986 rendered images of people, by Christian Zimmermann and Thomas Brox,
University of Freiburg. Its terms, in short: use it for research only; any commercial use is forbidden; it is provided
without any warranty; research that uses it or a part of it must cite “Learning to Estimate 3D Hand Pose from Single
RGB Images” (ICCV 2017). The full text is included as README, and the data set's page is
{SERVERS["rhd"]}/resources/datasets/RenderedHandposeDataset.en.html""",
}

STB_ADVICE = """\
STB, the stereo hand pose tracking benchmark: 18 000 stereo pairs with 3D poses, by Jiawei Zhang et al., “A hand pose
tracking benchmark from stereo matching” (ICIP 2017): cite it. It is in a shared folder and can only be downloaded
manually, with a browser. The authors give the link and the licence (MIT) at
https://github.com/zhjwustc/icip17_stereo_hand_pose_dataset
(the OneDrive link in the README; or https://sites.google.com/site/zhjw1988; the older Dropbox links are dead).

Download the archives of the twelve sequences, B1Counting, B1Random … B6Counting, B6Random, and that of the labels, tens
of gigabytes in total, and do not rename them. Then
    dvae download stb --archive FOLDER
unpacks all zip files of that folder (or give one file after each --archive) to the right folders:
    {folder}/images/B1Counting/BB_left_0.png … BB_left_1499.png, and BB_right_, SK_color_, SK_depth_ likewise
    {folder}/labels/B1Counting_BB.mat, B1Counting_SK.mat, …
The experiments use the images of the stereo camera, BB; those of the depth camera, SK, are optional."""

_ARCHIVES = (".zip", ".whl", ".tgz")
_RHD_FILE = re.compile(r"(?:.*/)?((?:training|evaluation)/(?:(?:color|mask|depth)/[0-9]{5}\.png|anno_[a-z]+\.pickle))")
_README = re.compile(r"(?:RHD_published_v2/)?README(?:\.[a-z]+)?")  # the terms


def place_rhd(folder: Path) -> Place:
    """The paths in `folder` of the files of RHD's archive: as published, or as in existing files."""
    try:
        top = rhd.locate(folder).relative_to(folder)
    except UserError:
        top = Path("RHD_published_v2")

    def place(_: Path, name: str) -> str | None:
        if known := _RHD_FILE.fullmatch(name):
            return (top / known[1]).as_posix()
        return name if _README.fullmatch(name) else None

    return place


def place_stb(folder: Path) -> Place:
    """The paths in `folder` of the files of STB's archives, whatever the archives' own folders: beside existing files
    of the same kind, if any.

    The archives of B1 to B3 have no folder named after the sequence, those of B4 to B6 do [reports of users]; without
    one, the archive's own name gives the sequence.
    """
    labels, images = {}, {}
    for path in stb.expected(folder):
        target = path.relative_to(folder)
        if path.suffix == ".png":
            images[_sequences(target.parts)[-1], path.name] = target.as_posix()
        else:
            labels[path.name] = target.as_posix()
    pictures = {name for _, name in images}

    def place(archive: Path, name: str) -> str | None:
        *above, file = name.split("/")
        if file in labels:
            return labels[file]
        if file in pictures:
            named = _sequences(above)[-1:] or [s for s in SEQUENCES if s.lower() in archive.stem.lower()]
            if len(named) != 1:
                raise UserError(
                    f"{archive} does not show which sequence its “{printable(name)}” belongs to: rename it after the "
                    "sequence, as in B1Counting.zip. Nothing was unpacked."
                )
            return images[named[0], file]
        if file.lower().endswith((".zip", ".rar", ".7z")):
            raise UserError(
                f"{archive} contains other archives, such as “{printable(name)}”: unpack it, and give --archive the "
                "folder that then contains these. Nothing was unpacked."
            )
        return None

    return place


def _sequences(parts: Sequence[str]) -> list[str]:
    return [part for part in parts if part in SEQUENCES]


def archives_in(places: Sequence[Path]) -> list[Path]:
    """The archives among `places`, and those in folders among them."""
    found = []
    for path in places:
        inside = sorted(file for end in _ARCHIVES for file in path.glob(f"[!.]*{end}")) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"{path} contains no zip file. Give the folder that the archives were downloaded to.")
        found += inside
    return found


def get_files(name: str, folder: Path, base: str, revision: str | None) -> str:
    repository = REPOSITORIES[name]
    fetched = fetch_all(folder, read_hashes(check.HASHES[name]), lambda file: repository.address(file, base, revision))
    return f"{name} is complete in {folder}: {fetched} files were fetched, and every hash is correct."


def get_rhd(folder: Path, archives: list[Path], base: str) -> str:
    if not absent(rhd.expected(folder)):
        return f"rhd is complete in {folder}; `dvae check rhd` checks it in detail."
    spare = ""
    if not archives:
        archives = [folder / RHD_ARCHIVE]
        if not archives[0].exists():
            begun = sum(path.stat().st_size for path in folder.glob(f"{RHD_ARCHIVE}.part"))
            check_room(folder, 2 * RHD_BYTES - begun)  # also for the images, which the archive hardly compresses
            fetch(f"{base}/data/RenderedHandpose/{RHD_ARCHIVE}", archives[0], size=RHD_BYTES, progress=True)
        spare = f" {archives[0]} is no longer needed: delete it if you like."
    return _unpack("rhd", folder, archives, place_rhd(folder)) + spare


def _unpack(name: str, folder: Path, archives: list[Path], place: Place) -> str:
    count = unpack(archives, folder, place)
    unpacked = f"{count} {'file was' if count == 1 else 'files were'} unpacked, and every checksum is correct."
    return f"{unpacked} {_state(name, folder)}"


def _state(name: str, folder: Path) -> str:
    files = check.EXPECTED[name](folder)
    missing = absent(files)
    return f"In {folder} {check.describe(folder, files, missing) if missing else f'{name} is complete'}."


def download(
    name: str,
    folder: Path | None = None,
    accept_licence: bool = False,
    archives: Sequence[Path] = (),
    base: str | None = None,
    revision: str | None = None,
) -> None:
    """Downloads or unpacks a data set, and prints its state afterwards (`dvae download`).

    folder: that of the data set; DVAE_DATA_ROOT/<name> by default.
    archives: existing zip files of rhd or stb, or packages of detector or camera, or folders of them.
    base: a server in place of the authors'; revision: a commit or branch of the repository of realhand or digits.

    Raises UserError if a file cannot be fetched, unpacked or written; exits with status 2 and a message if the licence
    is not accepted or the archives of stb are missing.
    """
    if name not in settings.DOWNLOAD:
        raise UserError(f"“{name}” cannot be downloaded: choose one of {', '.join(settings.DOWNLOAD)}.")
    if name in REPOSITORIES and archives:
        raise UserError(f"{name} is downloaded file by file and has no archive: leave --archive out.")
    if name in FREE:
        print(FREE[name])
    if name in LICENCES:
        print(LICENCES[name])
        if not accept_licence:
            print("Nothing was downloaded: add --accept-licence if you agree to these terms.", file=sys.stderr)
            raise typer.Exit(2)
    folder, archives = folder or settings.downloaded(name), archives_in(archives)
    base = base or SERVERS.get(name, "")
    if name == "stb" and not archives:
        print(_state(name, folder))
        if absent(stb.expected(folder)):
            print(STB_ADVICE.format(folder=folder))
            print("Nothing was unpacked: no --archive was given.", file=sys.stderr)
            raise typer.Exit(2)
        return
    waiting = f"Waiting for another process that uses {folder} …"
    with exclusive_lock(folder.with_name(f"{folder.name}.lock"), waiting):
        if name in REPOSITORIES:
            print(get_files(name, folder, base, revision))
        elif name in PACKAGES:
            print(get_members(name, folder, archives))
        elif name == "rhd":
            print(get_rhd(folder, archives, base))
        else:
            print(_unpack("stb", folder, archives, place_stb(folder)))
