"""Tables say what the rows of a sweep say: every figure with its interval, the best, and what is not told from it."""

import math

import pandas as pd
import pytest

from image_exps.sweeps.tables import Entry, ablation, quality_table


def row(arm, evaluations, value, half=0.1, *, seed=0, **others):
    base, _, correction = arm.partition("/")
    return {
        "target": "digits", "model": "exact", "distance": "frechet", "arm": arm, "base": base,
        "correction": correction.partition("(")[0] or "none", "evaluations": evaluations, "seed": seed, "count": 512,
        "value": value, "low": value - half, "high": value + half, "floor": 0.25, "floor_low": 0.2, "floor_high": 0.31,
        "higher_is_better": False, "remark": "", "damping": math.nan, "mixing": math.nan,
    } | others  # fmt: skip


ROWS = pd.DataFrame(
    [
        row("ddim/lml", 5, 1.15),
        row("ddim", 10, 0.5, 0.0123),
        row("ddim", 5, 2.0),
        row("ddim/lml", 10, math.nan, remark="3 of 512 samples are not finite"),
        row("unipc-3", 5, 1.0),
    ]
)


def table(rows=ROWS, **options):
    return quality_table(rows, **{"target": "digits", "distance": "frechet"} | options)


def test_the_layout_is_that_of_table_1_with_the_best_bold_and_ties_marked():
    lines = table().to_markdown().splitlines()
    assert lines[2:] == [
        "| evaluations | 5 | 10 |",
        "| --- | ---: | ---: |",
        "| ddim | 2.00 ± 0.10 | **0.500 ± 0.012** |",
        "| ddim/lml | 1.15 ± 0.10° | not finite |",
        "| unipc-3 | **1.00 ± 0.10** |  |",
    ]
    assert "floor 0.25 (0.2 to 0.31)" in lines[0]
    assert "512 samples" in lines[0]
    assert "lower is better" in lines[0]


def test_the_same_table_in_latex():
    made = table().to_latex()
    assert r"ddim & 2.00 $\pm$ 0.10 & \textbf{0.500 $\pm$ 0.012} \\" in made
    assert r"ddim/lml & 1.15 $\pm$ 0.10$^\circ$ & not finite \\" in made
    assert r"95 \% intervals" in made
    assert made.count(r"\\") == 4  # the head and three rows


def test_a_distance_that_grows_with_quality_has_its_largest_figure_in_bold():
    made = table(ROWS.assign(higher_is_better=True))
    assert made.best(0) == Entry(2.0, 1.9, 2.1)
    assert "higher is better" in made.caption


def test_seeds_are_averaged_and_their_intervals_shrink():
    rows = pd.DataFrame([row("ddim", 5, value, seed=seed) for seed, value in enumerate((1.0, 2.0, 3.0, 4.0))])
    (entry,) = table(rows).rows[0][1]
    assert entry == pytest.approx((2.5, 2.45, 2.55))  # 0.1/sqrt(4) on either side
    assert "512 samples of each of 4 seeds" in table(rows).caption


def test_no_figure_at_all_has_no_best():
    rows = pd.DataFrame([row("ddim", 5, math.nan)])
    assert table(rows).best(0) is None
    assert "| ddim | not finite |" in table(rows).to_markdown()


def test_a_remark_on_all_figures_stands_in_the_caption():
    made = table(ROWS.assign(remark="shrunk"))
    assert "(0.2 to 0.31); shrunk. Bold" in made.caption
    assert "no floor" in table(ROWS.assign(floor=math.nan)).caption


ABLATION = pd.DataFrame(
    [row("ddim", n, 2.0) for n in (5, 10)]
    + [
        row(f"ddim/lml(damping={lam})", n, 1.0 + lam, damping=lam, mixing=5e-4)
        for lam in (0.01, 0.001, 0.1)
        for n in (5, 10)
    ]
    + [
        row("ddim/lml(mixing=0.01)", 5, 9.0, damping=0.001, mixing=0.01),
        row("unipc-3/lml", 5, 0.1, damping=1, mixing=0),
    ]
)


def test_an_ablation_varies_one_parameter_at_one_value_of_the_other():
    options = {"target": "digits", "distance": "frechet", "base": "ddim"}
    lines = ablation(ABLATION, "damping", **options).to_markdown().splitlines()
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["ddim", "λ = 0.001", "λ = 0.01", "λ = 0.1"]
    assert "ddim/lml, κ = 0.0005." in lines[0]
    lines = ablation(ABLATION, "mixing", **options).to_markdown().splitlines()
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["ddim", "κ = 0.0005", "κ = 0.01"]
    assert "λ = 0.001" in lines[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: table(target="mnist"), "target must be one of digits in these results, got 'mnist'"),
        (lambda: table(distance="w2"), "distance must be one of frechet in these results, got 'w2'"),
        (lambda: table(pd.concat([ROWS, ROWS])), "one row a seed"),
        (lambda: table(pd.concat([ROWS, ROWS.assign(count=9)])), r"count must be one number.*\[9, 512\]"),
        (lambda: ablation(ROWS, "rank", target="digits", distance="frechet", base="ddim"), "damping or mixing"),
        (lambda: ablation(ROWS, "damping", target="digits", distance="frechet", base="unipc-3"), "must vary"),
    ],
)
def test_tables_that_cannot_be_made_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
