import pytest

from image_exps.judge.pictures import pictures
from image_exps.judge.verdict import Verdict


def verdict(network_ms):
    cells = [{"target": "ring-2d", "evaluations": n, "own": {"mean": 0.2 / n}, "baselines": [{"name": "ddim@time",
              "mean": 0.4 / n}]} for n in (5, 10, 20)]  # fmt: skip
    parts = {"good": {"cells": cells}, "cost": {"ddim": 1.0, "step": 3.0}}
    return Verdict({"network_ms": network_ms, "parts": parts})


def test_quality_is_drawn_against_seconds_where_the_cost_of_a_network_is_given():
    (axis,) = pictures(verdict(97.0))["seconds"].axes
    best, judged = axis.lines
    assert list(best.get_xdata()) == pytest.approx([0.49, 0.98, 1.96])
    assert list(judged.get_xdata()) == pytest.approx([0.5, 1.0, 2.0])


def test_without_a_cost_there_is_no_such_picture():
    assert "seconds" not in pictures(verdict(None))
