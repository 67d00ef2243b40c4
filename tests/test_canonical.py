"""One spelling of a description, and its digest."""

import pytest

from contrastive_inversion.base.canonical import canonical, digest, normalised


def test_equal_descriptions_are_equal_texts():
    assert canonical({"b": 1.0, "a": [2.5, (3.0, None)], "c": None}) == '{"a":[2.5,[3,null]],"b":1}'
    assert canonical({"b": {"y": None, "x": {"z": -0.0}}, 7: "ü"}) == '{"7":"ü","b":{"x":{"z":0}}}'
    assert canonical(True) == "true" and canonical(1e22) == "10000000000000000000000"


def test_values_keep_their_types_but_for_whole_floats():
    kept = normalised({1: True, "b": [1.0, "1.0", 1.5]})
    assert kept == {"1": True, "b": [1, "1.0", 1.5]}
    assert [type(value) for value in (kept["1"], kept["b"][0])] == [bool, int]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": value})


def test_digests_are_the_published_sha256():
    """FIPS 180-2's example, and the UTF-8 bytes of a letter outside of ASCII."""
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest("ü") == "607474ca475a9724d7360aba71a56d5df77e61350e3f724cfa1f46e857e2d85f"
