"""MATLAB files against SciPy's reader and writer, byte by byte damage, and files of other kinds."""

import tracemalloc

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dvae_lib import settings as places
from dvae_lib.datasets.formats.matlab import read_mat
from dvae_lib.files import UserError

ADVICE = "Fetch it anew."
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
TYPES = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@FUZZ
@given(
    array=st.sampled_from(TYPES).flatmap(
        lambda t: arrays.arrays(
            t,
            arrays.array_shapes(min_dims=2, max_dims=4, max_side=5),
            elements={"allow_nan": False, "allow_infinity": False} if t[0] == "f" else None,
        )
    ),
    compressed=st.booleans(),
    first=st.booleans(),
)
def test_what_scipy_writes_is_read(tmp_path, array, compressed, first):
    """Of any type and shape, alone or behind other variables."""
    others = {} if first else {"names": ["a", "bcd"], "cells": np.array([1, "x"], object), "many": np.zeros((99, 99))}
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {**others, "key": array}, do_compression=compressed)
    read = read_mat(path, "key", array.shape, ADVICE)
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, array.astype(np.float64))


@pytest.mark.parametrize("name, keys", [
    pytest.param("stb/labels/B1Counting_BB.mat", {"handPara": (3, 21, 1500)}, marks=pytest.mark.real_data("stb")),
    pytest.param("realhand/pose_gt.mat", {"pose_gt": (583, 21, 3)}, marks=pytest.mark.real_data("realhand")),
    pytest.param(
        "realhand/params.mat", {"bbox": (583, 4), "cam_param": (583, 4)}, marks=pytest.mark.real_data("realhand")
    ),
])  # fmt: skip
def test_the_real_files_are_read_as_scipy_reads_them(name, keys):
    path = places.data_root() / name
    for key, shape in keys.items():
        np.testing.assert_array_equal(read_mat(path, key, shape, ADVICE), scipy.io.loadmat(path)[key])


def test_files_from_machines_with_the_other_order_of_bytes(tmp_path):
    """A double array a = [1 2], spelt out."""
    words = [14, 64, 6, 8, 6, 0, 5, 8, 1, 2, (1 << 16) + 1, ord("a") << 24, 9, 16]
    body = np.array(words, ">u4").tobytes() + np.array([1.0, 2.0], ">f8").tobytes()
    path = tmp_path / "big.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + body)
    assert scipy.io.loadmat(path)["a"].tolist() == [[1, 2]]
    assert read_mat(path, "a", (1, 2), ADVICE).tolist() == [[1, 2]]


def test_a_value_that_is_not_a_number_is_named_by_its_frame(tmp_path):
    array = np.zeros((3, 4, 50))
    array[1, 2, 37] = np.nan
    scipy.io.savemat(tmp_path / "a.mat", {"key": array})
    with pytest.raises(UserError, match=r"a\.mat: “key” of frame 37 contains a value that is not a number\. Fetch"):
        read_mat(tmp_path / "a.mat", "key", (3, 4, 50), ADVICE, frame_axis=2)


@pytest.mark.parametrize("value, message", [
    (np.zeros((3, 5)), r"“key” is float64 \(3, 5\) instead of numbers \(3, 4\)"),
    (np.zeros((300, 500)), r"“key” is float64 \(300, 500\) instead of"),
    (np.zeros((3, 4), complex), r"“key” is complex \(3, 4\) instead of"),
    (np.zeros((3, 4), bool), r"“key” is logical \(3, 4\) instead of"),
    (np.zeros((3, 4)).astype(str), r"“key” is <U1 "),
    (np.zeros((3, 4), object), r"“key” is cell \(3, 4\) instead of"),
    ({"a": 1}, r"“key” is struct \(1, 1\) instead of"),
    (scipy.sparse.csc_array(np.eye(3, 4)), r"“key” is sparse \(3, 4\) instead of"),
])  # fmt: skip
@pytest.mark.parametrize("compressed", [False, True])
def test_other_things_than_numbers_are_named(tmp_path, value, message, compressed):
    scipy.io.savemat(tmp_path / "a.mat", {"key": value}, do_compression=compressed)
    with pytest.raises(UserError, match=rf"a\.mat: {message}"):
        read_mat(tmp_path / "a.mat", "key", (3, 4), ADVICE)


@pytest.mark.parametrize("content, message", [
    (b"", r"cannot be read as a MATLAB file \(its first bytes are not those of version 5 to 7\)"),
    (b"404: Not Found", r"cannot be read as a MATLAB file"),
    (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n", r"not those of version 5 to 7"),
    (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM", r"contains no “key”"),
])  # fmt: skip
def test_files_of_other_kinds(tmp_path, content, message):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(UserError, match=message + r".* Fetch it anew\."):
        read_mat(tmp_path / "a.mat", "key", (3, 4), ADVICE)
    with pytest.raises(UserError, match=r"b\.mat is missing\. Fetch it anew\."):
        read_mat(tmp_path / "b.mat", "key", (3, 4), ADVICE)


def test_what_unpacks_to_a_thousand_times_its_size_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"other": np.zeros((4000, 4000)), "key": np.ones((3, 4))}, do_compression=True)
    assert path.stat().st_size < 2e5
    tracemalloc.start()
    array = read_mat(path, "key", (3, 4), ADVICE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array.tolist() == np.ones((3, 4)).tolist() and peak < 1e6


@FUZZ
@given(data=st.data(), compressed=st.booleans())
def test_no_damage_does_more_than_raise_an_error(tmp_path, data, compressed):
    """Cut short, or with some bytes changed; of numbers that are not compressed any value may come out."""
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"key": np.arange(12.0).reshape(3, 4)}, do_compression=compressed)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(1, 4)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        array = read_mat(path, "key", (3, 4), ADVICE)
    except UserError as error:
        assert str(path) in str(error) and str(error).endswith(ADVICE)
    else:
        assert array.shape == (3, 4) and np.isfinite(array).all()
        assert not compressed or array.tolist() == np.arange(12.0).reshape(3, 4).tolist()
