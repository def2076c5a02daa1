"""Images of every depth, with and without alpha, however they were held; and what stops a file, in a sentence."""

import errno
import os
import struct
import sys
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from PIL import EpsImagePlugin, ExifTags, Image

from dvae_lib import files
from dvae_lib.files import UserError, atomic_write, exclusive_lock, explain_os_errors, read_image, read_json, write_json

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def grey(values):
    return np.repeat(np.asarray(values)[..., None], 3, axis=2)


@pytest.mark.parametrize("values, suffix", [
    (RAMP.astype(np.uint16) * 257, ".png"),
    (RAMP.astype(np.uint16) * 257, ".tif"),
    (RAMP.astype(">u2") * 257, ".tif"),
    (RAMP.astype(np.int32), ".tif"),
    (RAMP.astype(np.int32) * 257, ".tif"),
    (RAMP.astype(np.float32) / 255, ".tif"),
    (RAMP.astype(np.float32), ".tif"),
    (RAMP.astype(np.float32) * 257, ".tif"),
])  # fmt: skip
def test_deep_images_are_scaled_to_eight_bits(tmp_path, values, suffix):
    Image.fromarray(values).save(tmp_path / f"deep{suffix}")
    with Image.open(tmp_path / f"deep{suffix}") as stored:
        assert stored.mode[0] in "IF"  # the test's own check: this one is deep
    np.testing.assert_array_equal(read_image(tmp_path / f"deep{suffix}"), grey(RAMP))


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_a_dark_image_of_sixteen_bits_stays_dark(tmp_path, suffix):
    Image.fromarray(np.full((4, 4), 200, np.uint16)).save(tmp_path / f"dark.{suffix}")
    assert read_image(tmp_path / f"dark.{suffix}").max() == 1


def test_no_file_starts_ghostscript(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it was started"))
    drawing = Image.new("RGB", (9, 9))
    drawing.save(tmp_path / "hand.eps")
    (tmp_path / "hand.eps").rename(tmp_path / "hand.png")
    with pytest.raises(UserError, match="is not an image but a PostScript drawing"):
        read_image(tmp_path / "hand.png")


@pytest.mark.parametrize("value", [-1.0, 1e6, np.nan, np.inf])
def test_numbers_that_are_no_brightness_are_refused(tmp_path, value):
    values = np.ones((4, 4), np.float32)
    values[1, 2] = value
    Image.fromarray(values).save(tmp_path / "depth.tif")
    with pytest.raises(UserError, match=r"depth\.tif cannot be read as an image: .*its values range from"):
        read_image(tmp_path / "depth.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_what_is_transparent_is_grey(tmp_path, mode):
    """Left a white that is hidden, in the middle a half-hidden one, right one that is seen."""
    image = Image.new("RGBA", (3, 1), "white")
    image.putalpha(Image.fromarray(np.array([[0, 128, 255]], np.uint8)))
    options = {}
    if mode == "P":
        image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
        image.putpalette([255] * 768)
        options = {"transparency": bytes([0, 128, 255])}
    elif mode == "L":
        image, options = Image.fromarray(np.array([[7, 192, 255]], np.uint8)), {"transparency": 7}
    image.convert(mode).save(tmp_path / "cut out.png", **options)
    found = read_image(tmp_path / "cut out.png")
    np.testing.assert_allclose(found, grey([[128, 192, 255]]), atol=1)


def exif(*entries):
    """EXIF of these (tag, type, count, value of up to four bytes); type 2 is text, 3 a short integer."""
    table = b"".join(struct.pack(">HHI4s", *entry) for entry in entries)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + table + bytes(4)


ORIENTATION = ExifTags.Base.Orientation


@pytest.mark.parametrize("orientation, upright", [
    (1, lambda a: a),
    (2, lambda a: a[:, ::-1]),
    (3, lambda a: a[::-1, ::-1]),
    (4, lambda a: a[::-1]),
    (5, lambda a: a.swapaxes(0, 1)),
    (6, lambda a: np.rot90(a, -1)),
    (7, lambda a: np.rot90(a.swapaxes(0, 1), 2)),
    (8, lambda a: np.rot90(a)),
    (99, lambda a: a),
])  # fmt: skip
@pytest.mark.parametrize("odd", [False, True])
def test_photographs_are_turned_upright_whatever_else_their_exif_says(tmp_path, orientation, upright, odd):
    """By the standard: at 6 the stored image's first row is the right side of what was seen, at 8 its left side."""
    stored = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    entries = [(ORIENTATION, 3, 1, struct.pack(">H", orientation))]
    if odd:
        entries.append((ExifTags.Base.XResolution, 2, 3, b"72\0"))
    # A TIFF file's own tags are its EXIF; its reader refuses the odd one.
    for name, prefix in [("phone.png", 6)] if odd else [("phone.png", 6), ("phone.tif", 0)]:
        Image.fromarray(stored).save(tmp_path / name, exif=exif(*entries)[prefix:])
        np.testing.assert_array_equal(read_image(tmp_path / name), upright(stored))


def test_damaged_exif_is_passed_over(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "phone.jpg", exif=exif((ORIENTATION, 3, 1, b"\0\6"))[:12])
    assert read_image(tmp_path / "phone.jpg").shape == (8, 8, 3)


@pytest.mark.parametrize("head, kind", [
    (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC, AVIF or raw photograph"),
    (b"\0\0\0\x18ftypcrx \0\0\0\0", "a HEIC, AVIF or raw photograph"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript drawing"),
    (b"\0\0\0\x18ftypmif1\0\0\0\0", "a HEIC, AVIF or raw photograph"),
    (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),  # MP4
    (b"\0\0\0\x14ftypqt  \0\0\2\0", "a video"),  # QuickTime
    (b"\0\0\0\x08wide\0\0\0\0mdat", "a video"),  # QuickTime of long ago
    (b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81", "a video"),  # WebM
    (b"RIFF\x0a\0\0\0AVI LIST", "a video"),
    (b"%PDF-1.7\n%\xb5\xb5\xb5", "a PDF"),
])  # fmt: skip
def test_what_is_taken_for_an_image_is_called_by_its_name(tmp_path, head, kind):
    (tmp_path / "hand.jpg").write_bytes(head + bytes(100))
    with pytest.raises(UserError, match=rf"hand\.jpg is not an image but {kind}: export .* as (PNG|JPEG)\.$"):
        read_image(tmp_path / "hand.jpg")


def test_folders_and_addresses_are_no_images(tmp_path):
    with pytest.raises(UserError, match=rf"{tmp_path.name} is a folder: give the path of an image in it"):
        read_image(tmp_path)
    with pytest.raises(UserError, match="hand.jpg is a URL, not a file: download the image"):
        read_image(Path("https://example.org/hand.jpg"))


@pytest.mark.parametrize("error", [TypeError, KeyError, IndexError, ZeroDivisionError, struct.error, OSError])
def test_whatever_a_decoder_raises_is_a_sentence(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error("decoder")

    Image.new("RGB", (8, 8)).save(tmp_path / "hand.png")
    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(UserError, match=r"hand\.png cannot be read as an image: .*decoder.* Fetch or export it again"):
        read_image(tmp_path / "hand.png")


def test_an_image_of_another_size_is_refused_with_advice(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "hand.png")
    assert read_image(tmp_path / "hand.png", (8, 6)).shape == (6, 8, 3)
    with pytest.raises(UserError, match=r"hand\.png has 8 × 6 pixels instead of 6 × 8\. Look again\."):
        read_image(tmp_path / "hand.png", (6, 8), "Look again.")


@pytest.mark.parametrize("number, message", [
    (errno.ENOSPC, r"The disk is full: folder.name could not be written\. Free .*; it is kept\. Do\."),
    (errno.EROFS, r"folder.name cannot be read or written \(.*\): change its permissions.* Do\."),
    (errno.EACCES, r"folder.name cannot be read or written \(.*\): change its permissions.* Do\."),
    (errno.EIO, r"folder.name cannot be read or written \(.*\): choose another name or folder\. Do\."),
    (errno.EINVAL, r"folder.name cannot be read or written \(.*\): choose another name or folder\. Do\."),
    (errno.ENOENT, r"folder.name does not exist\. Do\."),
])  # fmt: skip
def test_what_the_system_says_becomes_a_sentence(number, message):
    explained = explain_os_errors(Path("folder/name"), "Do.", kept="it is kept")
    with pytest.raises(UserError, match=f"^{message}$"), explained:
        raise OSError(number, os.strerror(number))


def test_errors_that_are_not_the_system_s_pass():
    with pytest.raises(OSError, match="cannot write mode P as JPEG"), explain_os_errors(Path("name")):
        raise OSError("cannot write mode P as JPEG")


@pytest.mark.parametrize("path, message", [
    ("file/name.json", r"file is a file where .*name\.json needs a folder: move it"),
    ("file/folder/name.json", r"file is a file where .*name\.json needs a folder: move it"),
    ("n" * 300, r"cannot be read or written \(.*\): choose another name"),
    ("folder", r"folder (cannot|may not) be read or written \(.*\)"),
])  # fmt: skip
def test_what_cannot_be_written_is_said_and_nothing_is_left(tmp_path, path, message):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=message):
        write_json(tmp_path / path, {})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "old"


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(UserError, match=r"none\.json does not exist\.$"):
        read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match=rf"{tmp_path.name} (cannot|may not) be read"):
        read_json(tmp_path)


def test_the_longest_of_names_can_be_written(tmp_path):
    path = tmp_path / ("n" * 250 + ".json")
    write_json(path, [1])
    assert read_json(path) == [1] and list(tmp_path.iterdir()) == [path]


def test_what_is_written_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "ordinary").touch()
    write_json(tmp_path / "ours", {})
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_failure_leaves_the_old(tmp_path):
    write_json(tmp_path / "name.json", "old")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "name.json") as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".json"  # by which writers choose a format
        raise ZeroDivisionError
    assert read_json(tmp_path / "name.json") == "old" and len(list(tmp_path.iterdir())) == 1


def test_who_comes_second_says_so_and_waits(tmp_path, monkeypatch):
    said, inside = Event(), Event()
    monkeypatch.setattr(files.tqdm, "write", lambda text, file: (text, file) == ("waiting", sys.stderr) and said.set())

    def second():
        with exclusive_lock(tmp_path / "folder/.lock", "waiting"):
            inside.set()

    thread = Thread(target=second)
    with exclusive_lock(tmp_path / "folder/.lock", "nothing to wait for"):
        assert not said.is_set()
        thread.start()
        assert said.wait(60) and not inside.is_set()
    thread.join()
    assert inside.is_set()


def test_a_lock_that_cannot_be_had_is_said(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(UserError, match="cache is a file where"), exclusive_lock(tmp_path / "cache/.lock", ""):
        pass
