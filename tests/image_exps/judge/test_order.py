"""An observed order: what agrees with its interval, whose ends belong to it."""

import pytest

from image_exps.judge.order import Order


@pytest.mark.parametrize(("order", "expected"), [(1.75, True), (2.25, True), (2.0, True), (1.7, False), (2.3, False)])
def test_an_order_agrees_with_those_in_its_interval(order, expected):
    assert Order(2.0, 1.75, 2.25, 0, 4, ()).agrees(order) is expected
    assert not Order(2.0, 1.75, 2.25, 0, 4, (), "no asymptotic range").agrees(order)
