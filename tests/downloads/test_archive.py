"""Hostile, damaged and interrupted archives: a sentence each, nothing beside the folder, nothing lost."""

import contextlib
import errno
import shutil
import stat
import struct
import zipfile
from collections import namedtuple

import pytest

from dvae_lib.downloads import archive
from dvae_lib.downloads.archive import unpack
from dvae_lib.files import UserError, printable

FILES = {f"images/{i}.png": bytes([i]) * (3000 + i) for i in range(5)} | {"labels.mat": b"labels"}


def write_zip(path, files, method=zipfile.ZIP_DEFLATED):
    """A zip of names, or ZipInfos, and contents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def as_it_is(_, name):
    return name


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(folder, *archives, place=as_it_is):
    return unpack(archives, folder, place, progress=False)


def refused(tmp_path, files, match, place=as_it_is):
    """The archive is refused, and neither the folder nor anything beside it has been touched."""
    path = write_zip(tmp_path / "in" / "data.zip", files)
    with pytest.raises(UserError, match=match) as refusal:
        run(tmp_path / "in" / "to", path, place=place)
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "data.zip"]
    return str(refusal.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_unpacks_what_was_packed_and_only_once(tmp_path, method):
    path = write_zip(tmp_path / "data.zip", FILES, method)
    assert run(tmp_path / "to", path) == len(FILES)
    assert contents(tmp_path / "to") == FILES
    assert run(tmp_path / "to", path) == 0
    (tmp_path / "to/labels.mat").unlink()
    assert run(tmp_path / "to", path) == 1
    assert contents(tmp_path / "to") == FILES


def test_each_file_lies_where_it_is_placed(tmp_path):
    path = write_zip(tmp_path / "B1.zip", {"./top\\a.png": b"a", "top/b.png": b"b", "top/folder/": b"", "c.txt": b"c"})

    def place(path, name):
        return f"{path.stem}/{name[-5:]}" if name.endswith(".png") else None

    assert run(tmp_path / "to", path, place=place) == 2
    assert contents(tmp_path / "to") == {"B1/a.png": b"a", "B1/b.png": b"b"}


@pytest.mark.parametrize("name", [
    "../evil.png", "images/../../evil.png", "/etc/evil.png", "//server/share/evil.png", "..\\evil.png", "..", "../",
])  # fmt: skip
def test_names_that_lead_out_of_the_folder(tmp_path, name):
    message = refused(tmp_path, FILES | {name: b"evil"}, "leads out of the folder")
    assert name in message and "Nothing was written" in message


@pytest.mark.parametrize("name", [
    "C:\\evil.png", "C:evil.png", "a.png:stream", "images/NUL", "con.txt", "Com1.png", "aux .png", "a/b./c.png", "a ",
    "a\x07.png", "a\x9b.png", "x" * 201,
])  # fmt: skip
def test_names_that_are_something_else_on_some_system(tmp_path, name):
    refused(tmp_path, FILES | {name: b"evil"}, "not valid on every system")


def test_ordinary_names_that_look_like_devices(tmp_path):
    files = {"console/auxiliary.png": b"1", "nullified.png": b"2", "com10.png": b"3", "a..b.png": b"4", ".hidden": b"5"}
    run(tmp_path / "to", write_zip(tmp_path / "data.zip", files))
    assert contents(tmp_path / "to") == files


@pytest.mark.parametrize("target", ["../evil.png", "/evil.png", "a/../../evil.png", "C:\\evil.png", "", "a//b.png"])
def test_places_are_judged_and_not_only_names(tmp_path, target):
    target = f"{tmp_path}{target}" if target.startswith("/") else target
    refused(tmp_path, {"good.png": b"good"}, "not valid on every system", lambda *_: target)


def of_kind(name, kind):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


def known(_, name):
    assert not name.startswith("/") and ".." not in name.split("/")  # `place` never has to fear this
    return name if name in FILES else None


@pytest.mark.parametrize("name", [
    "Icon\r", "labels.mat:Zone.Identifier", "__MACOSX/images/._0.png", "NUL", "aux.txt", "x" * 60_000, "a.unpacking",
    "/", "./", ".", "images/", "desktop.ini ", "LABELS.MAT/inside",
    of_kind("latest", stat.S_IFLNK), of_kind("pipe", stat.S_IFIFO),
])  # fmt: skip
def test_what_nobody_needs_is_left_out_whatever_it_is(tmp_path, name):
    path = write_zip(tmp_path / "data.zip", FILES | {name: bytes(5 << 20)})  # a bomb, too
    assert run(tmp_path / "to", path, place=known) == len(FILES)
    assert contents(tmp_path / "to") == FILES


@pytest.mark.parametrize("name", ["../evil.png", "/labels.mat", "images/../labels.mat", "..\\labels.mat"])
def test_a_name_that_leads_out_is_refused_even_where_nobody_needs_it(tmp_path, name):
    refused(tmp_path, FILES | {name: b"evil"}, "leads out of the folder", known)


EVIL = "\x1b[2J\x1b[31m\x9b5m\u202e" + "x" * 60_000 + ".png"


@pytest.mark.parametrize("files, place", [
    ({f"../{EVIL}": b""}, as_it_is),
    ({EVIL: b""}, as_it_is),
    ({"a.png": b"1", EVIL: b"2"}, lambda *_: "a.png"),
    ({EVIL: b"1", "a.png": b"2"}, lambda *_: "a.png"),
    ({EVIL: bytes(5 << 20)}, lambda *_: "a.png"),
])  # fmt: skip
def test_names_in_messages_are_printable_and_short(tmp_path, files, place):
    message = refused(tmp_path, files, r"“(\.\./)?\\x1b\[2J.*…x+\.png”", place)
    assert message.isprintable() and len(message) < 600


def test_the_name_of_a_damaged_member_is_printable_and_short(tmp_path):
    path = write_zip(tmp_path / "data.zip", {EVIL: b"content"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"content", b"changed"))
    with pytest.raises(UserError, match=r"data\.zip is damaged: “\\x1b.*Bad CRC-32 for file") as damage:
        run(tmp_path / "to", path, place=lambda *_: "a.png")
    assert str(damage.value).isprintable() and len(str(damage.value)) < 600


@pytest.mark.parametrize("name, shown", [
    ("images/0.png", "images/0.png"), ("Größe é.png", "Größe é.png"), ("\x1b[31m", "\\x1b[31m"), ("a\nb", "a\\nb"),
    ("\udc80", "\\udc80"), ("a" * 12, "a" * 12), ("abcdefghijklm", "abcdefg…jklm"),
    ("\x1b" * 60_000, "\\x1b\\x1…\\x1b"),
])  # fmt: skip
def test_printable(name, shown):
    assert printable(name, 12) == shown


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices(tmp_path, kind):
    message = refused(tmp_path, FILES | {of_kind("images/link.png", kind): "/etc/passwd"}, "is a link or a device")
    assert "images/link.png" in message


def test_a_bomb_by_its_ratio(tmp_path):
    refused(tmp_path, FILES | {"bomb.png": bytes(5 << 20)}, r"“bomb.png” in it would expand from \d{4} to 5242880")


def test_small_files_may_have_any_ratio(tmp_path):
    run(tmp_path / "to", write_zip(tmp_path / "data.zip", {"black.png": bytes(1 << 20)}))


@pytest.mark.parametrize("cap, value", [("MAX_BYTES", 15_000), ("MAX_FILES", 5)])
def test_a_bomb_by_its_sum(tmp_path, monkeypatch, cap, value):
    monkeypatch.setattr(archive, cap, value)
    refused(tmp_path, FILES, "data.zip would unpack to 6 files")


def test_a_bomb_that_hides_its_size_is_cut_off(tmp_path, monkeypatch):
    """Announced as 100 bytes, the member has 5 MB: no more than was announced is ever unpacked."""
    path = write_zip(tmp_path / "data.zip", {"bomb.png": bytes(5 << 20)})
    size = struct.pack("<L", 5 << 20)
    assert path.read_bytes().count(size) == 2  # in the file's own header and in the directory
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<L", 100)))
    written = []
    copy = shutil.copyfileobj

    def count(source, file, length):
        try:
            copy(source, file, length)
        finally:
            written.append(file.tell())

    monkeypatch.setattr(shutil, "copyfileobj", count)
    with pytest.raises(UserError, match=r"data\.zip is damaged: “bomb\.png”"):
        run(tmp_path / "to", path)
    assert written[0] <= 100 and contents(tmp_path / "to") == {}


@pytest.mark.parametrize("files, match", [
    ({"a.png": b"1", "A.png": b"2"}, r"“A.png” in it has the same name as another file or folder \(“a.png”\)"),
    ({"a/b.png": b"1", "A": b"2"}, "“A” in it has the same name as another file or folder"),
    ({"b.png.unpacking": b"1"}, "has the name of an unfinished file"),
])  # fmt: skip
def test_names_that_get_in_each_others_way(tmp_path, files, match):
    refused(tmp_path, files, match)


def test_the_same_file_twice_is_taken_once_and_two_of_one_name_are_refused(tmp_path):
    first, again = (write_zip(tmp_path / name, {"a.png": b"1", name: b"x"}) for name in ("1.zip", "1 (1).zip"))
    assert run(tmp_path / "to", first, again) == 3
    other = write_zip(tmp_path / "2.zip", {"b/a.png": b"2"})
    with pytest.raises(
        UserError, match=r"2\.zip.*“b/a.png” in it has the same destination as another file, “a.png” of 1\.zip"
    ):
        run(tmp_path / "else", first, other, place=lambda _, name: name.rpartition("/")[2])
    assert not (tmp_path / "else").exists()


def test_what_cannot_be_unpacked_here_says_so_at_once(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    # The flag of encryption; the methods deflate64, bzip2 and LZMA.
    for offset, value in ((8, b"\x01\x00"), *((10, bytes([method, 0])) for method in (9, 12, 14))):
        changed = content.copy()
        changed[entry + offset : entry + offset + 2] = value
        path.write_bytes(changed)
        with pytest.raises(UserError, match=r"“labels.mat” in it is encrypted or packed with an .* such as 7-Zip"):
            run(tmp_path / "to", path)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("cut", [0, 10, 1000, -1, -30])
def test_an_archive_that_is_cut_short_is_named(tmp_path, cut):
    path = write_zip(tmp_path / "data.zip", FILES, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        UserError, match=r"data\.zip is not a zip archive, or is incomplete .*Delete it and fetch it again"
    ):
        run(tmp_path / "to", path)
    assert not (tmp_path / "to").exists()


def test_what_is_no_archive_or_holds_nothing_of_use(tmp_path):
    with pytest.raises(UserError, match=r"data\.zip does not exist"):
        run(tmp_path / "to", tmp_path / "data.zip")
    path = write_zip(tmp_path / "holiday.zip", {"beach.jpg": b"sun"})
    with pytest.raises(UserError, match=r"holiday\.zip contains no file of the data set"):
        run(tmp_path / "to", path, place=lambda *_: None)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_is_named_and_the_rest_goes_on_from_a_good_copy(tmp_path, method):
    good = write_zip(tmp_path / "good.zip", FILES, method)
    content = bytearray(good.read_bytes())
    second = content.index(b"PK\x03\x04", 4)
    data = second + 30 + len("images/1.png")
    content[data + 9 : data + 30] = bytes(255 - b for b in content[data + 9 : data + 30])
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.zip is damaged: “images/1\.png” in it .* fetch it again"):
        run(tmp_path / "to", damaged)
    assert contents(tmp_path / "to") == {"images/0.png": FILES["images/0.png"]}
    assert run(tmp_path / "to", good) == len(FILES) - 1
    assert contents(tmp_path / "to") == FILES


def test_any_damage_is_a_sentence_and_never_a_wrong_file(tmp_path):
    """Each byte in turn, and then the rest from a good copy."""
    files = {"a.png": b"picture" * 9, "b.mat": b"labels"}
    good = write_zip(tmp_path / "in/good.zip", files)
    whole, damaged, to = good.read_bytes(), tmp_path / "in/damaged.zip", tmp_path / "in/to"
    for i in range(len(whole)):
        damaged.write_bytes(whole[:i] + bytes([whole[i] ^ 0x41]) + whole[i + 1 :])
        with contextlib.suppress(UserError):
            run(to, damaged, place=lambda _, name: name if name in files else None)
        assert contents(to).items() <= files.items()
        run(to, good)
        assert contents(to) == files
        shutil.rmtree(to)
    assert {p.name for p in tmp_path.rglob("*")} == {"in", "good.zip", "damaged.zip"}


def test_a_killed_unpacking_goes_on(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "data.zip", FILES)
    copy, copied = shutil.copyfileobj, []

    def killed(source, file, length):
        if len(copied) == 2:
            file.write(source.read(100))
            raise KeyboardInterrupt
        copied.append(copy(source, file, length))

    monkeypatch.setattr(shutil, "copyfileobj", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "to", path)
    monkeypatch.undo()
    left = contents(tmp_path / "to")
    unfinished = left.pop("images/2.png.unpacking")
    assert 0 < len(unfinished) <= 100
    assert left == {name: FILES[name] for name in ("images/0.png", "images/1.png")}
    assert run(tmp_path / "to", path) == 4
    assert contents(tmp_path / "to") == FILES


def test_nothing_that_is_there_is_overwritten(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    (tmp_path / "to/images").mkdir(parents=True)
    mine = {"images/3.png": bytes(len(FILES["images/3.png"])), "labels.mat": b"mine"}
    for name, content in mine.items():
        (tmp_path / "to" / name).write_bytes(content)
    with pytest.raises(UserError, match=r"2 files already exist, but differ .*3\.png, .*labels\.mat\. Nothing was"):
        run(tmp_path / "to", path)
    assert contents(tmp_path / "to") == mine


def test_a_disk_without_room_is_told_before_and_a_full_one_when_it_happens(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "data.zip", FILES)
    usage = namedtuple("usage", "total used free")
    needed = 6 * 4096  # six small files take a cluster each
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, needed - 1))
    with pytest.raises(UserError, match="needs another 0.00 GB, but only 0.00 GB are free.*DVAE_DATA_ROOT"):
        run(tmp_path / "to", path)
    assert not (tmp_path / "to").exists()

    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, needed))
    copy = shutil.copyfileobj

    def full(source, file, length):
        if "3.png" in file.name:
            file.write(b"some")
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(source, file, length)

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(UserError, match=r"The disk is full: .*3\.png could not be written"):
        run(tmp_path / "to", path)
    monkeypatch.setattr(shutil, "copyfileobj", copy)
    assert contents(tmp_path / "to") == {f"images/{i}.png": FILES[f"images/{i}.png"] for i in range(3)}
    assert run(tmp_path / "to", path) == 3


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    (tmp_path / "to").mkdir()
    (tmp_path / "to/images").write_bytes(b"a file where a folder should be")
    with pytest.raises(UserError, match=r"images is a file where .*0\.png needs a folder"):
        run(tmp_path / "to", path)
