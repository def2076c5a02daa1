"""The public data sets in miniature, as on the servers and as on disk; and the command line."""

import functools
import hashlib
import io
import pickle
import zipfile

import numpy as np
import scipy.io
from PIL import Image
from typer.testing import CliRunner

from dvae_lib import cli
from dvae_lib.datasets import stb
from dvae_lib.datasets.stb_layout import SEQUENCES

# Three files of realhand.
FILES = {"LICENSE": b"terms", "images/00000.jpg": bytes(range(256)) * 400, "pose_gt.mat": b"poses"}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
# Three frames of each of STB's sequences, three and two images of RHD.
FRAMES, COUNTS = 3, {"training": 3, "evaluation": 2}
ARCHIVE = "/data/RenderedHandpose/RHD_v1-1.zip"


def run(*arguments):
    """The output and exit code of `dvae`."""
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def complaint(*arguments):
    """The message of `dvae` when it fails, which is a sentence and not a traceback."""
    result = run(*arguments)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.exception
    return result.output.splitlines()[-1]  # after the progress bar


def picture(number):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 256, number // 256, 0)).save(file, "PNG")
    return file.getvalue()


def joints():
    """Any hand (21, 3) in mm, half a metre away: the palm, and five straight fingers."""
    fingers = [[25 * finger - 50, -40 - 25 * joint, 500] for finger in range(5) for joint in range(4)]
    return np.array([[0, 0, 500], *fingers], dtype=float)


@functools.cache
def stb_files():
    file = io.BytesIO()
    scipy.io.savemat(file, {"handPara": np.tile(joints().T[..., None], (1, 1, FRAMES))})
    names = [f"images/{s}/{v}_{i}.png" for s in SEQUENCES for v in stb.VIEWS for i in range(FRAMES)]
    labels = {f"labels/{s}_{camera}.mat": file.getvalue() for s in SEQUENCES for camera in ("BB", "SK")}
    return {name: picture(number) for number, name in enumerate(names)} | labels


@functools.cache
def rhd_files():
    xyz = np.tile(joints()[::-1] / 1000, (2, 1))
    entry = {"xyz": xyz, "uv_vis": np.ones((42, 3)), "K": np.array([[300, 0, 160], [0, 300, 160], [0, 0, 1.0]])}
    files = {"RHD_published_v2/README": b"terms"}
    for part, count in COUNTS.items():
        folder = f"RHD_published_v2/{part}"
        files[f"{folder}/anno_{part}.pickle"] = pickle.dumps(dict.fromkeys(range(count), entry))
        for kind in ("color", "mask", "depth"):
            files |= {f"{folder}/{kind}/{i:05d}.png": picture(len(files) + i) for i in range(count)}
    return files


def sequence_archives():
    """STB as distributed: the archives of the first backgrounds without a folder, those of the others with one."""
    files = stb_files()
    for sequence in SEQUENCES:
        top = "" if sequence[1] in "123" else f"{sequence}/"
        inside = {n.rpartition("/")[2]: c for n, c in files.items() if n.startswith(f"images/{sequence}/")}
        yield f"{sequence}.zip", zipped({top + name: content for name, content in inside.items()})
    yield "labels.zip", zipped({n: c for n, c in files.items() if n.startswith("labels/")})


def zipped(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
