"""Bad input to the public functions of `lml`: a ValueError that names the argument, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from lml import DampedOuterProduct, lml_direction, lml_direction_rank, lml_direction_textbook

_E = torch.ones((3, 4))
_BAD_DAMPING = [
    (0.0, "damping must be a finite positive number, got 0.0"),
    (-1.0, "damping must be a finite positive number, got -1.0"),
    (math.nan, "damping must be a finite positive number, got nan"),
    (math.inf, "damping must be a finite positive number, got inf"),
    ("1", "damping must be a finite positive number, got '1'"),
    (True, "damping must be a finite positive number, got True"),
    (None, "damping must be a finite positive number, got None"),
    (torch.tensor([1.0, 0.0, 1.0]), "damping must be finite and positive, got [1.0, 0.0, 1.0]"),
    (torch.tensor([1.0, math.nan, 1.0]), "damping must be finite and positive"),
    (torch.tensor(-2.0), "damping must be finite and positive, got -2.0"),
    (torch.ones(2), "damping must be one number or one per sample, of shape (3,), got shape (2,)"),
    (torch.ones(3, 1), "damping must be one number or one per sample, of shape (3,), got shape (3, 1)"),
    (torch.ones(3, dtype=torch.int64), "damping must have a real floating-point dtype, got torch.int64"),
    (torch.ones(3, device="meta"), "damping must be on the device of noise, cpu, got meta"),
]
_BAD_MIXING = [
    (-0.1, "mixing must lie in [0, 1), got -0.1"),
    (1.0, "mixing must lie in [0, 1), got 1.0"),
    (math.nan, "mixing must lie in [0, 1), got nan"),
    ("0", "mixing must be a Python number in [0, 1), got str"),
    (None, "mixing must be a Python number in [0, 1), got NoneType"),
    (torch.tensor(0.5), "mixing must be a Python number in [0, 1), got Tensor"),
]
_BAD_NOISE = [
    ([1.0], "noise must be a torch.Tensor, got list"),
    (torch.ones(3, 4, dtype=torch.int32), "noise must have a real floating-point dtype, got torch.int32"),
    (torch.ones(3, 4, dtype=torch.complex64), "noise must have a real floating-point dtype, got torch.complex64"),
    (torch.tensor(1.0), "noise must have a batch dimension first, got a tensor of shape ()"),
]
_BAD_PREVIOUS = [
    (torch.ones(3, 5), "previous must have the shape of noise, (3, 4), got (3, 5)"),
    (torch.ones(4), "previous must have the shape of noise, (3, 4), got (4,)"),
    (_E.double(), "previous must have the dtype of noise, torch.float32, got torch.float64"),
    (_E.to("meta"), "previous must have the device of noise, cpu, got meta"),
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
        (torch.ones(3, 2, dtype=torch.int64), "vector must have a real floating-point dtype, got torch.int64"),
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
