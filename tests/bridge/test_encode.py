from __future__ import annotations

import json
from collections import OrderedDict
from datetime import date, datetime
from enum import IntEnum
from pathlib import PurePosixPath

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hs_deepatoms.bridge.encode import TAG, decode_json, encode_json
from tests.bridge.images import assert_equal

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=9), st.complex_numbers(),
    st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3),
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)),
    hnp.arrays(np.float32, (2,)).map(lambda a: a[0]),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=4), st.just(TAG), st.integers()), inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(values)
def test_whatever_goes_in_comes_out(value):
    text = encode_json(value)
    assert text.isascii()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert_equal(decode_json(text), value)


@pytest.mark.parametrize(
    "value",
    [{1, 2}, frozenset("a"), datetime(2024, 1, 2, 3, 4, 5), date(2024, 1, 2), np.datetime64("2024-01-02", "ns"),
     np.array([1.5, None, "a"], object), np.array([(1, 2.5)], dtype=[("r", "u1"), ("z", "f8", (2,))]),
     np.zeros((0, 3)), np.array(["a", "bcd"]), "half \ud800", {TAG: "tuple"}],
)  # fmt: skip
def test_other_kinds(value):
    found = decode_json(encode_json(value))
    if isinstance(value, np.ndarray):
        assert_equal(found, value)
    else:
        assert found == value and type(found) is type(value)


def test_masked_undefined_paths_and_dask():
    import traits.api

    masked = np.ma.MaskedArray([1, 2], mask=[False, True])
    assert decode_json(encode_json(masked)).mask.tolist() == [False, True]
    assert decode_json(encode_json(traits.api.Undefined)) is traits.api.Undefined
    assert str(decode_json(encode_json(PurePosixPath("a/b")))) in ("a/b", "a\\b")
    assert_equal(decode_json(encode_json(da.arange(3, dtype="i2"))), np.arange(3, dtype="i2"))


def test_what_cannot_be_kept_becomes_text_with_a_warning_that_says_where():
    class Odd:
        def __repr__(self):
            return "Odd()"

    with pytest.warns(UserWarning, match=r"a\.b\[1\] \(.*Odd\)"):
        assert decode_json(encode_json({"a": {"b": [1, Odd()]}})) == {"a": {"b": [1, "Odd()"]}}


def test_subclasses_keep_their_value():
    class Compression(IntEnum):
        NONE = 1

    assert_equal(decode_json(encode_json([Compression.NONE, OrderedDict(a=1)])), [1, {"a": 1}])


def test_unknown_tags_are_errors():
    with pytest.raises(ValueError, match="unknown kind"):
        decode_json(json.dumps({TAG: "pickle", "value": "x"}))
