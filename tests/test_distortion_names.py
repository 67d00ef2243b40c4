"""Names of distortions, and the operations that they stand for."""

import pytest
from pydantic import ValidationError

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.distort.names import (
    Vocabulary,
    check_kernels,
    is_deterministic,
    label,
    operations,
    position,
    specification,
)

MIX = [{"op": "blur", "kernel": 23, "sigma": [1, 5], "probability": 0.4}, {"op": "noise", "sigma": [0.1, 0.3]}]


def words(pixel_scale=1.0):
    return Vocabulary.model_validate(
        {"pixel_scale": pixel_scale, "blur_sigmas": {21: 5, 37: 9}, "distortions": {"other": "rm90", "mix": MIX}}
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clean", []),
        ("rm90", [{"op": "mask", "fraction": [0.9, 0.9]}]),
        ("rm5", [{"op": "mask", "fraction": [0.05, 0.05]}]),
        ("rm50to95", [{"op": "mask", "fraction": [0.5, 0.95]}]),
        ("gn50", [{"op": "noise", "sigma": [0.5, 0.5]}]),
        ("gn10to30", [{"op": "noise", "sigma": [0.1, 0.3]}]),
        ("gb37", [{"op": "blur", "kernel": 37, "sigma": [9, 9]}]),
        ("other", [{"op": "mask", "fraction": [0.9, 0.9]}]),
        ("mix", MIX),
    ],
)
def test_what_a_name_stands_for(name, expected):
    assert specification(name, words()) == operations(*expected)


def test_blurs_scale_with_the_images_and_nothing_else_does():
    assert specification("gb37", words(0.75)) == operations({"op": "blur", "kernel": 27, "sigma": [6.75, 6.75]})
    assert specification("gb21", words(48 / 224)) == operations({"op": "blur", "kernel": 5, "sigma": [1.071429] * 2})
    assert specification("gb37", words(0.72))[0].kernel == 27  # of 26.64, the nearest odd number
    blur, noise = specification("mix", words(0.5))
    assert blur == operations(MIX[0] | {"kernel": 11, "sigma": [0.5, 2.5]})[0]
    assert noise == operations(MIX[1])[0]


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UserError, match="unknown distortion 'rn90'; did you mean 'rm90'"):
        specification("rn90", words())
    with pytest.raises(UserError, match="unknown distortion 'gb22'; did you mean 'gb21'"):
        specification("gb22", words())
    with pytest.raises(UserError, match="unknown distortion 'oter'; did you mean 'other'"):
        specification("oter", words())
    with pytest.raises(UserError, match="; known: clean, gb21, gb37, gn10to30, gn50, mix, other, rm50to95, rm90$"):
        specification("xxxxxxxxx", words())


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        ({"op": "mask", "fraction": [0.5, 1.1]}, "less than or equal to 1"),
        ({"op": "mask", "fraction": [-0.1, 0.5]}, "greater than or equal to 0"),
        ({"op": "mask", "fraction": [0.6, 0.5]}, "lower bound comes first"),
        ({"op": "mask", "fraction": [0.6]}, "at least 2"),
        ({"op": "noise", "sigma": [-0.1, 0.5]}, "greater than or equal to 0"),
        ({"op": "noise", "sigma": [0.3, 0.1]}, "lower bound comes first"),
        ({"op": "noise", "sigma": [0.1, 0.2, 0.3]}, "at most 2"),
        ({"op": "noise", "sigma": [0.1, 0.2], "probability": 1.5}, "less than or equal to 1"),
        ({"op": "noise", "fraction": [0.1, 0.2]}, "unknown key 'fraction'"),
        ({"op": "blur", "kernel": 22, "sigma": [1, 1]}, "22 is even"),
        ({"op": "blur", "kernel": -1, "sigma": [1, 1]}, "greater than or equal to 1"),
        ({"op": "jitter", "brightness": -0.1}, "greater than or equal to 0"),
        ({"op": "jitter", "hue": 0.6}, "less than or equal to 0.5"),
        ({"op": "melt"}, "does not match any of the expected tags"),
    ],
)
def test_impossible_operations_are_refused(operation, problem):
    with pytest.raises(ValidationError, match=problem):
        operations(operation)


def test_only_blur_of_one_deviation_on_every_image_draws_nothing():
    blur = {"op": "blur", "kernel": 5, "sigma": [1, 1]}
    assert is_deterministic(operations(blur, blur)) and is_deterministic([])
    for other in (blur | {"sigma": [1, 2]}, blur | {"probability": 0.5}, {"op": "mask", "fraction": [0.5, 0.5]}):
        assert not is_deterministic(operations(blur, other))


def test_what_people_read():
    assert [label(n) for n in ("rm90", "rm50to95", "gn30", "gn10to30", "gb21", "shot_noise")] == [
        "mask 90 %", "mask 50–95 %", "noise σ = 0.3", "noise σ = 0.1–0.3", "blur n = 21", "shot noise",
    ]  # fmt: skip
    assert [position(n) for n in ("rm90", "gn30", "2.5")] == [90, 0.3, 2.5]


def test_a_kernel_s_half_is_smaller_than_the_image_that_its_padding_reflects():
    check_kernels(operations({"op": "blur", "kernel": 95, "sigma": [1, 1]}), 48, "distortions.x")
    with pytest.raises(ValueError, match="a kernel of 97 px is too large for images of 48 px"):
        check_kernels(operations({"op": "blur", "kernel": 97, "sigma": [1, 1]}), 48, "distortions.x")
