"""The restricted unpickler: what it reads is what was written, and nothing that could do harm ever runs."""

import io
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvae_lib.datasets.formats import unpickle
from dvae_lib.files import UserError

ADVICE = "Fetch it again."
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ARRAYS = {
    "single": np.arange(6, dtype=np.float32).reshape(2, 3),
    "big-endian": np.linspace(-1, 1, 5).astype(">f8"),
    "by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "cut": np.arange(24.0).reshape(4, 6)[::2, 1::2],
    "turned": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "half": np.array(0.5, dtype=np.float16),
    "flags": np.array([[True, False]]),
    "bytes": np.array([0, 200, 255], dtype=np.uint8),
    "integers": np.array([[-(2**40)], [3]], dtype=np.int64),
    "empty": np.empty((0, 3)),
}
PLAIN = {
    1: [1, -(2**70), 2.5, True, None, "a “word”", b"\x00\xff", b"", (), (1,), {}, [], (1, 2, 3, [4])],
    "again": [[0]] * 3,
    "key": {2: {3: "deep"}},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.pickle"


def loaded(path, content: bytes):
    path.write_bytes(content)
    return unpickle.load(path, ADVICE)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_written_is_read(path, protocol):
    assert loaded(path, pickle.dumps(PLAIN, protocol)) == PLAIN
    content = {"arrays": ARRAYS, "numbers": [np.float32(0.5), np.int64(-7), np.bool_(True)]}
    found = loaded(path, pickle.dumps(content, protocol))
    assert found["numbers"] == [0.5, -7, True]
    assert [type(number) for number in found["numbers"]] == [float, int, bool]
    assert found["arrays"].keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert isinstance(found["arrays"][name], np.ndarray)
        assert found["arrays"][name].dtype == array.dtype.newbyteorder("=") or protocol == 5  # which keeps the bytes
        np.testing.assert_array_equal(found["arrays"][name], array)


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_the_names_of_either_numpy_are_known(path, core, protocol):
    content = pickle.dumps([ARRAYS["single"], np.float64(3)], protocol)
    content = content.replace(b"cnumpy._core.", b"cnumpy.core.").replace(b"cnumpy.core.", b"c" + core + b".")
    assert content.count(b"c" + core + b".multiarray") == 2
    array, number = loaded(path, content)
    np.testing.assert_array_equal(array, ARRAYS["single"])
    assert number == 3


def python_2_array(values):
    """An array as Python 2 wrote it in protocol 2: byte strings where Python 3 has text, and where it has bytes."""
    data = values.astype("<f8").tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R"
        b"(K\x01K" + bytes([len(values)]) + b"\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(data)) + data + b"tb"
    )


def test_a_pickle_of_python_2_is_read(path):
    values = np.array([0.1, -1e300, 200.0])
    found = loaded(path, b"\x80\x02}q\x00K\x07}U\x03xyz" + python_2_array(values) + b"ss.")
    assert list(found) == [7] and list(found[7]) == ["xyz"]
    np.testing.assert_array_equal(found[7]["xyz"], values)


class Harm:
    """Calls a function when unpickled; the functions below leave a file behind, so that a test can tell."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def in_an_object_array(harm):
    array = np.empty(1, dtype=object)
    array[0] = harm
    return array


def harms(trace):
    return {
        "open": Harm(open, trace, "w"),
        "os.system": Harm(os.system, f"touch {trace}"),
        "eval": Harm(eval, f"open({str(trace)!r}, 'w')"),
        "numpy.save": Harm(np.save, trace, 0),
    }


@pytest.mark.parametrize("place", [lambda h: h, lambda h: {0: {"xyz": [h]}}, lambda h: (1, h), in_an_object_array])
@pytest.mark.parametrize("name", ["open", "os.system", "eval", "numpy.save"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_harm_is_refused_before_it_runs(tmp_path, path, name, place, protocol):
    trace = str(tmp_path / "trace.npy")
    content = pickle.dumps(place(harms(trace)[name]), protocol)
    with pytest.raises(UserError, match=r"labels\.pickle was not opened: it requires .*\. Fetch it again\.$"):
        loaded(path, content)
    assert not os.path.exists(trace)
    if place is not in_an_object_array:  # the test's own check: this pickle does do harm
        pickle.loads(content)
        assert os.path.exists(trace)


@pytest.mark.parametrize("content, asks", [
    (np.array([{}, None]), r"an array of “O8”"),
    (np.array(["text"]), r"an array of “U4”"),
    (np.zeros(2, dtype=[("x", "f8"), ("y", "O")]), r"an array of “V16”"),
    (np.array(["2020-01-01"], dtype="datetime64[D]"), r"an array of “M8”"),
    ({1, 2}, r"(EMPTY_SET|builtins\.set|__builtin__\.set)"),
    (frozenset([1]), r"(FROZENSET|builtins\.frozenset|__builtin__\.frozenset)"),
    (1 + 2j, r"complex"),
    (range(3), r"range"),
    (np.ma.array([1.0]), r"_mareconstruct"),
    (np.arange(3).view(np.matrix), r"matrix"),
    (Harm(getattr, "", "join"), r"getattr"),
    (unpickle.load, r"“dvae_lib\.datasets\.formats\.unpickle\.load”"),
])  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nothing_but_numbers_text_and_their_containers(path, content, asks, protocol):
    with pytest.raises(UserError, match=rf"labels\.pickle was not opened: it requires .*{asks}"):
        loaded(path, pickle.dumps(content, protocol))


DTYPE = b"cnumpy\ndtype\n"
MAKE_DTYPE = DTYPE + b"U\x02f8\x85R"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n)R"


@pytest.mark.parametrize("content, message", [
    (b"(S'touch x'\nios\nsystem\n.", "requires an object created by the instruction INST"),
    (b"(cos\nsystem\nS'touch x'\no.", r"requires “os\.system”"),
    (b"(cnumpy\ndtype\nS'f8'\no.", "requires an object created by the instruction OBJ"),
    (b"\x80\x02cnumpy\nndarray\n)\x81.", "requires an object created by the instruction NEWOBJ"),
    (b"\x80\x04cnumpy\nndarray\n)}\x92.", "requires an object created by the instruction NEWOBJ_EX"),
    (b"\x80\x02\x82\x01.", "requires an object created by the instruction EXT1"),
    (b"Pname\n.", "requires an object created by the instruction PERSID"),
    (b"\x80\x05\x97.", "requires an object created by the instruction NEXT_BUFFER"),
    (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x07touch x\x85R.", r"requires “posix\.system”"),
    (b"\x80\x04\x8c\x05\x1b[31m\x8c\x06system\x93.", "requires something unnamed"),  # the terminal turns red
    (b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.", "damaged"),
    (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "an encoding other"),
    (b"\x80\x02" + ARRAY + b"(K\x01M\x10\x27\x85" + MAKE_DTYPE + b"\x89U\x01xtb.", r"shape \(10000,\) has 1 bytes"),
    (b"\x80\x02" + ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + MAKE_DTYPE + b"\x89U\x00tb.", "an invalid shape"),
    (b"\x80\x02" + ARRAY + b"(K\x01K\x01\x85U\x01O\x89]tb.", "the content of an array is not bytes"),
    (b"\x80\x02" + ARRAY + b"K\x01b.", "damaged"),
    (b"\x80\x02" + MAKE_DTYPE + b"(K\x03U\x01<)NNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.", "records"),
])  # fmt: skip
def test_instructions_put_together_by_hand_are_refused(path, content, message):
    with pytest.raises(UserError, match=rf"labels\.pickle was not opened: .*{message}"):
        loaded(path, content)


@pytest.mark.parametrize("name", [b"numpy\ndtype", b"numpy\nndarray", b"numpy.core.numeric\n_frombuffer"])
@pytest.mark.parametrize("state", [b"N}U\x08__init__Ns\x86b", b"}U\x08__init__Nsb"])
def test_a_pickle_cannot_change_what_it_may_name(path, name, state):
    """BUILD on a class would set its attributes, for this file and all that are read after it."""
    before = [dict(vars(known)) for known in unpickle._KNOWN.values()]
    with pytest.raises(UserError, match="damaged"):
        loaded(path, b"\x80\x02c" + name + b"\n" + state + b".")
    assert [dict(vars(known)) for known in unpickle._KNOWN.values()] == before


@pytest.mark.parametrize("content, message", [
    (b"\x80\x02]r\xff\xff\xff\xff.", "refers to an impossible place"),  # LONG_BINPUT: room for 4 294 967 295 places
    (b"]p4294967295\n.", "refers to an impossible place"),  # PUT, the same in text
    (b"\x80\x05\x96" + struct.pack("<Q", 2**36) + b"x.", "only 2 remain"),  # BYTEARRAY8
    (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "only 2 remain"),  # BINBYTES8
    (b"\x80\x02T\xff\xff\xff\xffx.", "count < 0"),  # BINSTRING of a negative length
    (b"\x80\x02]", "it ends too early"),
    (b"<html>404: Not Found", "b'<'"),
])  # fmt: skip
def test_claims_of_much_memory_are_refused_by_what_the_file_holds(path, content, message):
    with pytest.raises(UserError, match=rf"labels\.pickle was not opened: it is damaged or cut short \(.*{message}"):
        loaded(path, content)


def test_no_frame_can_hide_an_instruction_from_the_check(path):
    """Of a frame that ends within a text Python drops the rest, and takes what follows for instructions."""
    hidden = b"cbuiltins\nprint\n."
    frame, text = b"\x95" + struct.pack("<Q", 8) + b"(\x8c\x06xxxxxx", b"X" + struct.pack("<I", len(hidden)) + hidden
    content = b"\x80\x04" + frame + text + b"l."
    assert pickle.load(io.BytesIO(content)) is print  # the test's own check
    assert loaded(path, content) == ["xxxxxx", hidden.decode()]


def test_a_place_is_believed_as_far_as_instructions_before_it_can_account_for(path):
    """A writer that leaves out the places it does not need keeps the others' numbers."""
    assert loaded(path, b"\x80\x02(]]]r\x03\x00\x00\x00h\x03t.") == ([], [], [], [])


KEY = rf"a key that is neither text nor an integer below {unpickle.KEYS}"
LONGEST = b"\x8a\xff" + b"\xff" * 254 + b"\x7f"  # the largest integer that LONG1 can write


def dict_of(key):
    return b"\x80\x02}" + key + b"Ns."


@pytest.mark.parametrize("content, message", [
    (dict_of(b"N" + b"\x85" * 200_000), KEY),  # a tuple in a tuple …: to hash it takes more than the stack
    (dict_of(b")" + b"q\x00h\x00\x86" * 60), KEY),  # 2 ** 60 tuples in all: to hash them takes years
    (dict_of(b")" + b"2\x86" * 60), "an object created by the instruction DUP"),
    (dict_of(b"\x8a\x09" + (2**61 - 1).to_bytes(9, "little")), KEY),  # hash 0, as have all its multiples
    (dict_of(b"J\xff\xff\xff\xff"), KEY),
    (dict_of(b"G" + bytes(8)), KEY),
    (b"\x80\x02(N" + b"\x85" * 100_000 + b"Nd.", KEY),  # DICT
    (b"\x80\x04N" + b"\x85" * 100_000 + b"\x8c\x01x\x93.", "damaged"),  # the name of a module
    (b"\x80\x02" + MAKE_DTYPE + b"(K\x03N" + b"\x85" * 100_000 + b"NNNtb.", "records"),  # the order of bytes
    (b"\x80\x02c_codecs\nencode\nU\x01xN" + b"\x85" * 100_000 + b"\x86R.", "an encoding other"),
    (b"\x80\x02" + ARRAY + b"(K\x01N" + b"\x85" * 100_000 + MAKE_DTYPE + b"\x89U\x00tb.", "an invalid shape"),
    (b"\x80\x02" + ARRAY + b"(K\x01(" + LONGEST * 5000 + b"t" + MAKE_DTYPE + b"\x89U\x00tb.", "an invalid shape"),
    (b"\x80\x02N" + b"\x85" * 100_000 + b".", "more than 8 nested containers"),
    (b"\x80\x02" + b"]" * 10 + b"a" * 9 + b".", "more than 8 nested containers"),
    (b"\x80\x02]q\x00h\x00a.", "more than 8 nested containers"),  # a list that holds itself
    (b"\x80\x02]" + b"q\x00(h\x00h\x00l" * 7 + b".", "more values than its size allows"),  # 2 ** 7 in 45 bytes
    (b"\x80\x02]" + (b"q\x00(" + b"h\x00" * 1000 + b"l") * 7 + b".", "more values than its size allows"),  # 10 ** 21
    (b"\x80\x02(](" + b"N" * 10 + b"eq\x00cnumpy\nndarray\nh\x00Rt.", "a call has invalid arguments"),  # REDUCE
    (b"\x80\x02" + MAKE_DTYPE + b"((" + b"N" * 10 + b"tbt.", "a call has invalid arguments"),  # BUILD
    (b"I" + b"7" * 10**7 + b"\n.", "damaged"),
    (b"F" + b"x" * 10**7 + b"\n.", "damaged"),
    (b"\x80\x02\x8b" + struct.pack("<i", 10**6) + bytes(10**6) + b".", "an object created by the instruction LONG4"),
])  # fmt: skip
def test_what_would_cost_more_than_the_file_holds_is_refused(path, content, message):
    """Each of these kills Python's `pickle`, or keeps it or those who look at what it gives busy for years."""
    with pytest.raises(UserError, match=rf"labels\.pickle was not opened: .*{message}") as found:
        loaded(path, content)
    assert len(str(found.value)) < 1000


def test_bytes_are_not_multiplied(path):
    """A text of a kilobyte is decoded again and again, or put into one array after another, for a few bytes each."""
    text = b"X" + struct.pack("<I", 1000) + b"x" * 1000 + b"q\x00"
    decode = b"c_codecs\nencode\nq\x01h\x00X\x06\x00\x00\x00latin1\x86R"
    assert loaded(path, b"\x80\x02(" + text + decode + b"t.") == ("x" * 1000, b"x" * 1000)
    array = ARRAY + b"(K\x01M\xe8\x03\x85cnumpy\ndtype\nU\x02u1\x85R\x89h\x00tb"
    for multiplied in (decode, array):
        with pytest.raises(UserError, match="more bytes than its size allows"):
            loaded(path, b"\x80\x02(" + text + multiplied * 20 + b"t.")


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.pickle does not exist\. Fetch it again\."):
        unpickle.load(tmp_path / "none.pickle", ADVICE)
    with pytest.raises(UserError, match=rf"{tmp_path.name} (cannot|may not) be read .* Fetch it again\."):
        unpickle.load(tmp_path, ADVICE)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_cut_short_anywhere_is_refused(path, protocol):
    content = pickle.dumps([ARRAYS["single"], {1: [2.5, -(2**70), b"\xff"]}], protocol)
    for length in range(len(content)):
        with pytest.raises(UserError, match=r"labels\.pickle was not opened: it is damaged or cut short"):
            loaded(path, content[:length])


def is_plain(value, depth=0):
    """Whether it consists of what `load` promises; containers that hold themselves are looked into only so far."""
    if depth > 5 or isinstance(value, (str, bytes, bytearray, bool, int, float, type(None))):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    if isinstance(value, dict):
        return all(is_plain(part, depth + 1) for item in value.items() for part in item)
    return isinstance(value, (list, tuple)) and all(is_plain(part, depth + 1) for part in value)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(PROTOCOLS), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4))
def test_damaged_bytes_give_numbers_or_an_error_that_names_the_file(tmp_path_factory, protocol, changes):
    values = {3: {"xyz": ARRAYS["single"], "uv": ARRAYS["flags"]}, 4: [1.5, "x", b"y"]}
    content = bytearray(pickle.dumps(values, protocol))
    for place, byte in changes:
        content[place % len(content)] = byte
    path = tmp_path_factory.getbasetemp() / "fuzzed.pickle"
    try:
        assert is_plain(loaded(path, bytes(content)))
    except UserError as error:
        assert str(path) in str(error)
