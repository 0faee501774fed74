import numpy as np
import pytest

from image_exps.league.answer import best_spacings, choose, five_lines, remark_of, reproduced
from image_exps.league.entries import Entry
from image_exps.league.quality import RESAMPLES, TARGETS
from image_exps.league.rows import CHOICE, REPORTED, gather, read_rows, write_rows

NEAR, FAR = Entry("near", "lml", "near"), Entry("far", "lml", "far")


def cell(spacing, target, mean, seed):
    spread = 1 + 0.01 * np.random.default_rng(seed).standard_normal(RESAMPLES)
    return {"spacing": spacing, "evaluations": 8, "target": target, "spent": 8, "mean": mean, "frechet": mean**2,
            "means": list(mean * spread), "frechets": list(mean**2 * spread)}  # fmt: skip


def answers(factor, *, order=2.0, second=2.05, draws=False):
    cells = [cell(spacing, target, factor * k, i) for i, target in enumerate(TARGETS)
             for spacing, k in (("time", 2.0), ("karras", 1.0))]  # fmt: skip
    return {
        "quality": {"cells": cells},
        "right": {"claimed": 3.0, "draws": draws, "consistent": True, "symptoms": [],
                  "order": {"value": order, "low": order - 0.1, "high": order + 0.1, "reason": ""}},
        "second": {"value": second, "spread": 0.05, "reason": ""},
        "cost": {"ratio": 1.5},
    }  # fmt: skip


@pytest.fixture
def rows():
    return gather({"near ": answers(1.0), "far ": answers(3.0, second=2.9)}, (NEAR, FAR))


def test_the_nearest_has_ratio_one_and_the_others_what_they_are_further(rows):
    d = rows.distances.set_index(["what", "spacing", "target"])["ratio"]
    assert d["near", "karras", REPORTED] == pytest.approx(1)
    assert d["near", "time", REPORTED] == pytest.approx(2)
    assert d["far", "karras", CHOICE] == pytest.approx(3)


def test_pairs_of_equal_resamples_have_no_spread(rows):
    d = rows.distances.set_index(["what", "spacing", "target"])
    assert d.loc[("far", "karras", REPORTED), "low"] == pytest.approx(3)


def test_a_sampler_that_draws_is_not_the_nearest_to_a_flow():
    rows = gather({"near ": answers(1.0, draws=True), "far ": answers(3.0)}, (NEAR, FAR))
    d = rows.distances.set_index(["what", "spacing", "target"])
    assert d.loc[("far", "karras", REPORTED), "ratio"] == pytest.approx(1)
    assert d.loc[("near", "karras", REPORTED), "frechet_ratio"] == pytest.approx(1)


def test_spacings_and_winners_are_chosen(rows):
    assert best_spacings(rows) == {"near": "karras", "far": "karras"}
    best = choose(rows, 8)
    assert (best.entry["what"], best.spacing) == ("near", "karras")
    assert best.ratio == pytest.approx(best.low) == pytest.approx(best.high) == pytest.approx(1)


def test_the_figure_of_a_choice_is_held_out():
    # "far" is three times as far on all targets but one, and there 1000/3 times as near.
    near, far = answers(1.0), answers(3.0)
    for each in far["quality"]["cells"]:
        if each["target"] == "digits":
            each.update(mean=0.001 * each["mean"], means=[0.001 * value for value in each["means"]])
    best = choose(gather({"near ": near, "far ": far}, (NEAR, FAR)), 8)
    # Over five targets "far" has 3^(4/5) = 2.4, "near" (1000/3)^(1/5) = 3.2.
    assert best.entry["what"] == "far"
    # Without the digits "near" is chosen, which is 1000/3 times as far there; without another target, "far".
    assert best.ratio == pytest.approx((3**4 * 1000 / 3) ** (1 / 5))


def test_an_order_is_reproduced_if_the_second_method_agrees(rows):
    near, far = (entry for _, entry in rows.entries.iterrows())
    assert (reproduced(near), reproduced(far)) == (True, False)
    assert "Its order is 2.0, not 3." in remark_of(near)


def test_rows_are_read_as_they_were_written(rows, tmp_path):
    write_rows(rows, tmp_path)
    again = read_rows(tmp_path)
    assert again.entries.equals(rows.entries) or list(again.entries["what"]) == list(rows.entries["what"])
    assert again.distances["ratio"].equals(rows.distances["ratio"])


def test_a_folder_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no entries\.parquet"):
        read_rows(tmp_path)


def test_the_rows_that_ship_answer_in_five_lines():
    lines = five_lines(read_rows())
    assert [line.split()[0] for line in lines] == ["**5", "**8", "**10", "**20", "**30"]
    assert all("Scheduler(" in line for line in lines)


def test_no_ratio_of_a_sampler_without_lml_is_below_one_on_a_single_target():
    rows = read_rows()
    draws = dict(zip(rows.entries["what"], rows.entries["draws"], strict=True))
    d = rows.distances[~rows.distances["what"].str.endswith("/lml")]
    assert (d[[draws[what] is not True for what in d["what"]]]["ratio"] >= 1 - 1e-9).all()
