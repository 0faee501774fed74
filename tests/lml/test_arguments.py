"""Bad input to the public functions of `lml`: a ValueError that names the argument, the value and what is allowed."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from enum import StrEnum

import pytest
import torch

from lml.arguments import check_choice, check_integer, check_number, check_positive, shown
from lml.correction import LML
from lml.geometry import DampedOuterProduct
from lml.kernel import lml_direction, lml_direction_rank, lml_direction_textbook

_E = torch.ones((3, 4))
_FLOAT8 = [getattr(torch, name) for name in dir(torch) if name.startswith("float8")]
_BAD_DAMPING = [
    (0.0, "damping must be a finite positive number, got 0.0"),
    (-1.0, "damping must be a finite positive number, got -1.0"),
    (math.nan, "damping must be a finite positive number, got nan"),
    (math.inf, "damping must be a finite positive number, got inf"),
    ("1", "damping must be a finite positive number, got '1'"),
    (True, "damping must be a finite positive number, got True"),
    (None, "damping must be a finite positive number, got None"),
    (10**400, "damping must be a finite positive number, got an integer of 1329 bits"),
    pytest.param(10**5000, "damping must be a finite positive number, got an integer of 16610 bits", id="10**5000"),
    (torch.tensor([1.0, 0.0, 1.0]), "damping must be finite and positive, got 0.0 for sample 1 of 3"),
    (torch.tensor([1.0, math.nan, -1.0]), "damping must be finite and positive, got nan for sample 1 of 3, and 1 more"),
    (torch.tensor(-2.0), "damping must be finite and positive, got -2.0"),
    (torch.ones(2), "damping must be one number or one per sample, of shape (3,), got shape (2,)"),
    (torch.ones(3, 1), "damping must be one number or one per sample, of shape (3,), got shape (3, 1)"),
    (
        torch.ones(3, dtype=torch.int64),
        "damping must have a real floating-point dtype of 16 to 64 bits, got torch.int64",
    ),
    (torch.ones(3).to(_FLOAT8[0]), f"damping must have a real floating-point dtype of 16 to 64 bits, got {_FLOAT8[0]}"),
    (torch.ones(3).to_sparse(), "damping must be dense, got a tensor of layout torch.sparse_coo"),
    (torch.ones(3, device="meta"), "damping must be on the device of noise, cpu, got meta"),
]
_BAD_MIXING = [
    (-0.1, "mixing must lie in [0, 1), got -0.1"),
    (1.0, "mixing must lie in [0, 1), got 1.0"),
    (math.nan, "mixing must lie in [0, 1), got nan"),
    (10**400, "mixing must lie in [0, 1), got an integer of 1329 bits"),
    (False, "mixing must lie in [0, 1), got False"),
    ("0", "mixing must lie in [0, 1), got '0'"),
    (None, "mixing must lie in [0, 1), got None"),
    (torch.tensor(0.5), "mixing must lie in [0, 1), got Tensor of shape ()"),
]
_BAD_NOISE = [
    ([1.0], "noise must be a torch.Tensor, got list"),
    (
        torch.ones(3, 4, dtype=torch.int32),
        "noise must have a real floating-point dtype of 16 to 64 bits, got torch.int32",
    ),
    (
        torch.ones(3, 4, dtype=torch.complex64),
        "noise must have a real floating-point dtype of 16 to 64 bits, got torch.c",
    ),
    *((_E.to(each), f"noise must have a real floating-point dtype of 16 to 64 bits, got {each}") for each in _FLOAT8),
    (_E.to_sparse(), "noise must be dense, got a tensor of layout torch.sparse_coo"),
    (_E.to_mkldnn(), "noise must be dense, got a tensor of layout torch._mkldnn"),
    (torch.tensor(1.0), "noise must have a batch dimension first, got a tensor of shape ()"),
]
_BAD_PREVIOUS = [
    (torch.ones(3, 5), "previous must have the shape of noise, (3, 4), got (3, 5)"),
    (torch.ones(4), "previous must have the shape of noise, (3, 4), got (4,)"),
    (_E.double(), "previous must have the dtype of noise, torch.float32, got torch.float64"),
    (_E.to("meta"), "previous must have the device of noise, cpu, got meta"),
    (_E.to_sparse(), "previous must be dense, got a tensor of layout torch.sparse_coo"),
    (2.0, "previous must be a torch.Tensor, got float"),
]


def _rank(noise: object, previous: object, **arguments: object) -> object:
    return lml_direction_rank(noise, (previous,), **arguments)


_FUNCTIONS = [lml_direction, lml_direction_textbook, _rank]


def refused(message: str, call: Callable[..., object], *args: object, **kwargs: object) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared below
        call(*args, **kwargs)
    assert message in str(caught.value)


@pytest.mark.parametrize("function", _FUNCTIONS)
@pytest.mark.parametrize(("value", "message"), _BAD_DAMPING)
def test_bad_damping_is_refused(function: Callable[..., object], value: object, message: str) -> None:
    refused(message, function, _E, _E, damping=value, mixing=0.5)
    refused(message, function, _E, _E, damping=value, mixing=0)  # also where it would not be used


@pytest.mark.parametrize("function", _FUNCTIONS)
@pytest.mark.parametrize(("value", "message"), _BAD_MIXING)
def test_bad_mixing_is_refused(function: Callable[..., object], value: object, message: str) -> None:
    refused(message, function, _E, _E, damping=1.0, mixing=value)


@pytest.mark.parametrize("function", _FUNCTIONS)
@pytest.mark.parametrize(("value", "message"), _BAD_NOISE)
def test_bad_noise_is_refused(function: Callable[..., object], value: object, message: str) -> None:
    refused(message, function, value, _E, damping=1.0, mixing=0.5)


@pytest.mark.parametrize("function", _FUNCTIONS)
@pytest.mark.parametrize(("value", "message"), _BAD_PREVIOUS)
def test_bad_previous_noise_is_refused(function: Callable[..., object], value: object, message: str) -> None:
    refused(message, function, _E, value, damping=1.0, mixing=0.5)


@pytest.mark.parametrize(("value", "message"), _BAD_DAMPING)
def test_geometry_refuses_bad_damping(value: object, message: str) -> None:
    refused(message, DampedOuterProduct, _E, value)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (torch.ones(3), "vector must have shape (B, d), got (3,)"),
        (torch.ones(3, 2, 2), "vector must have shape (B, d), got (3, 2, 2)"),
        (
            torch.ones(3, 2, dtype=torch.int64),
            "vector must have a real floating-point dtype of 16 to 64 bits, got torch.int64",
        ),
        (1.0, "vector must be a torch.Tensor, got float"),
    ],
)
def test_geometry_refuses_a_bad_vector(vector: object, message: str) -> None:
    refused(message, DampedOuterProduct, vector, 1.0)


@pytest.mark.parametrize("method", ["matvec", "solve", "sqrt_solve"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(2, 4), "x must have the shape of the geometry's vector, (3, 4), got (2, 4)"),
        (torch.ones(3, 4, dtype=torch.float64), "x must have the dtype of the geometry's vector"),
        (torch.ones(3, 4, device="meta"), "x must have the device of the geometry's vector, cpu, got meta"),
        ([1.0], "x must be a torch.Tensor, got list"),
    ],
)
def test_geometry_refuses_operands_unlike_its_vector(method: str, x: object, message: str) -> None:
    refused(message, getattr(DampedOuterProduct(_E, 1.0), method), x)


def test_divergence_refuses_other_shapes() -> None:
    G = DampedOuterProduct(_E, 1.0)
    refused("hessian_vector must have the shape", G.divergence, torch.ones(3), torch.ones(3))
    refused("laplacian must have shape (3,), got (3, 1)", G.divergence, _E, torch.ones(3, 1))


def test_a_damping_that_is_wrong_is_named_and_not_printed_whole() -> None:
    noise = torch.ones((4096, 2))
    damping = torch.ones(4096)
    damping[17:29] = 0
    with pytest.raises(ValueError, match=r"got 0.0 for sample 17 of 4096, and 11 more that are not$") as caught:
        lml_direction(noise, noise, damping=damping, mixing=0.1)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("value", [1, 7, 2**70])
def test_integers_are_returned(value: int) -> None:
    assert check_integer(value, "count") == value


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (0, {}, "count must be a positive integer, got 0"),
        (1.0, {}, "count must be a positive integer, got 1.0"),
        (True, {}, "count must be a positive integer, got True"),
        ("3", {}, "count must be a positive integer, got '3'"),
        (None, {}, "count must be a positive integer, got None"),
        (-1, {"least": 0}, "count must be an integer of at least 0, got -1"),
        (3, {"least": 4}, "count must be an integer of at least 4, got 3"),
        (2**63, {"least": 0, "below": 2**63}, "count must be an integer in [0, 9223372036854775808), got 92233"),
        (5, {"least": 2, "below": 5}, "count must be an integer in [2, 5), got 5"),
        pytest.param(
            -(10**5000), {}, "count must be a positive integer, got an integer of 16610 bits", id="-(10**5000)"
        ),
        (torch.tensor(3), {}, "count must be a positive integer, got Tensor of shape ()"),
    ],
)
def test_bad_integers_are_refused(value: object, bounds: dict[str, int], message: str) -> None:
    refused(message, check_integer, value, "count", **bounds)


@pytest.mark.parametrize(
    ("value", "bounds", "allowed"),
    [
        (math.nan, {}, "be a finite number"),
        (-math.inf, {}, "be a finite number"),
        (-0.1, {"least": 0}, "be a finite number of at least 0"),
        (2.0, {"above": 2}, "be a finite number above 2"),
        (0.0, {"above": 0}, "be a finite positive number"),
        (2.5, {"most": 2}, "be a finite number of at most 2"),
        (2.0, {"below": 2}, "be a finite number below 2"),
        (1.5, {"least": 0, "most": 1}, "lie in [0, 1]"),
        (1.0, {"least": 0, "below": 1}, "lie in [0, 1)"),
        (0.0, {"above": 0, "below": 1}, "lie in (0, 1)"),
        (0.0, {"above": 0, "most": 0.5}, "lie in (0, 0.5]"),
        (True, {"least": 0, "most": 1}, "lie in [0, 1]"),
        ("0", {"least": 0, "most": 1}, "lie in [0, 1]"),
        (1j, {}, "be a finite number"),
    ],
)
def test_bad_numbers_are_refused(value: object, bounds: dict[str, float], allowed: str) -> None:
    refused(f"share must {allowed}, got {value!r}", check_number, value, "share", **bounds)


def test_numbers_within_their_bounds_are_returned_as_floats() -> None:
    ends = {"least": 0, "most": 1}
    found = [check_number(value, "share", **ends) for value in (0, 1, 0.5)]
    assert found == [0.0, 1.0, 0.5]
    assert all(type(value) is float for value in found)
    assert check_positive(5e-324, "size") == 5e-324
    assert check_number(-3, "shift") == -3.0


class _Kind(StrEnum):
    A = "a"


def test_a_choice_is_one_of_the_names_or_numbers_and_of_their_type() -> None:
    assert check_choice("a", "kind", ("a", "b")) == "a"
    assert check_choice(_Kind.A, "kind", {"a": 1}) == "a"
    assert check_choice(5, "evaluations", (5, 6)) == 5
    for value, shows in (("c", "'c'"), (["a"], "['a']"), (None, "None"), (torch.ones(2), "Tensor of shape (2,)")):
        refused(f"kind must be one of a, b, got {shows}", check_choice, value, "kind", ("a", "b"))
    refused("order must be one of 1, 2, got True", check_choice, True, "order", (1, 2))
    refused("order must be one of 1, 2, got 1.0", check_choice, 1.0, "order", (1, 2))


def test_values_are_shown_in_brief() -> None:
    assert shown(2**100) == str(2**100)
    assert len(shown("x" * 10_000)) <= 200
    assert len(shown(list(range(10_000)))) <= 200
    assert shown(torch.ones(2, 3)) == "Tensor of shape (2, 3)"


def test_a_correction_names_what_is_wrong_with_it() -> None:
    for name, value, message in (
        ("rank", True, "rank must be a positive integer, got True"),
        ("start", 10**400, "start must lie in [0, 1], got an integer of 1329 bits"),
        ("stop", "1", "stop must lie in [0, 1], got '1'"),
        ("damping", 10**400, "damping must be a finite positive number, got an integer"),
        ("damping_mode", ["relative"], "damping_mode must be one of absolute, relative, adaptive, got ['relative']"),
    ):
        refused(message, LML, **{name: value})


def test_numbers_are_checked_without_torch() -> None:
    command = "import sys, lml.arguments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0
