"""How panels are arranged in print and on a phone."""

import pytest

from paper_figures.layout import ONE_COLUMN, TWO_COLUMNS, finish, lowest, panels, panels_by_name
from paper_figures.style import style
from theory_checks.ledger.plotting import on_a_phone


def places(axes):
    return [
        (a.get_subplotspec().rowspan.start, a.get_subplotspec().colspan.start) for a in axes.ravel() if a is not None
    ]


@pytest.fixture
def looks():
    with style():
        yield


def test_in_print_panels_stand_as_asked(looks):
    figure, axes = panels(2, 3, height=4)
    assert figure.get_size_inches().tolist() == [TWO_COLUMNS, 4]
    assert places(axes) == [(i, j) for i in range(2) for j in range(3)]


def test_the_lowest_panel_of_a_column_stands_above_the_place_that_is_left_over(looks):
    _, axes = panels(2, 2, height=4, sharex=True, count=3)
    assert lowest(axes) == [axes[1, 0], axes[0, 1]]
    assert [axis.xaxis.get_tick_params()["labelbottom"] for axis in axes.ravel()[:3]] == [False, True, True]
    _, (row,) = panels(1, 3, height=4, sharex=True, count=2)
    assert lowest(row[None]) == [row[0], row[1]]


def test_on_a_phone_wide_panels_are_stacked_in_the_order_of_reading(looks):
    with on_a_phone():
        figure, axes = panels(2, 2, height=4)
        _, by_column = panels(2, 2, height=4, by_column=True)
    assert axes.shape == by_column.shape == (2, 2)
    assert places(axes) == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert places(by_column) == [(0, 0), (2, 0), (1, 0), (3, 0)]
    assert figure.get_figwidth() == ONE_COLUMN
    assert figure.get_figheight() == pytest.approx(
        4 * 2 * ONE_COLUMN / (TWO_COLUMNS / 2)
    )  # the shape of a panel is kept


def test_on_a_phone_no_panel_is_as_high_as_it_is_wide(looks):
    with on_a_phone():
        figure, _ = panels(1, 3, height=6)
    assert figure.get_figheight() < 3 * ONE_COLUMN


def test_on_a_phone_small_panels_keep_their_width_and_share_outer_labels(looks):
    with on_a_phone():
        figure, axes = panels(2, 4, height=3, sharex=True, sharey=True, count=7)
        for axis in (*axes[1, :3], axes[0, 3]):
            axis.set_xlabel("steps")
        for axis in axes[:, 0]:
            axis.set_ylabel("error")
        finish(figure)
    assert places(axes) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)]
    assert axes[1, 3] is None
    there = [axis for axis in axes.ravel() if axis is not None]
    assert [axis.get_ylabel() for axis in there] == ["error", ""] * 3 + ["error"]
    assert [axis.get_xlabel() for axis in there] == [""] * 5 + ["steps"] * 2


def test_on_a_phone_a_panel_says_what_its_row_and_column_share_in_print(looks):
    with on_a_phone():
        figure, axes = panels(2, 2, height=4, sharex="col", sharey="row")
        axes[1, 0].set_xlabel("damping")
        axes[1, 1].set_xlabel("mixing")
        axes[0, 0].set_ylabel("one")
        axes[1, 0].set_ylabel("two")
        finish(figure)
    assert [(a.get_xlabel(), a.get_ylabel()) for a in axes.ravel()] == [
        ("damping", "one"), ("mixing", "one"), ("damping", "two"), ("mixing", "two")
    ]  # fmt: skip
    axes[0, 0].set_xlim(3, 4)
    assert axes[1, 0].get_xlim() == (3, 4)
    assert axes[0, 1].get_xlim() != (3, 4)


def test_on_a_phone_labels_that_are_not_shared_are_left_alone(looks):
    with on_a_phone():
        figure, axes = panels(1, 2, height=2)
        axes[0, 0].set_ylabel("one")
        finish(figure)
    assert axes[0, 1].get_ylabel() == ""


def test_on_a_phone_a_legend_has_as_many_columns_as_fit_and_takes_no_panel_its_height(looks):
    with on_a_phone():
        figure, axes = panels(1, 2, height=2)
        for i in range(6):
            axes[0, 0].plot([0, 1], [0, i], label=f"a line with a long name {i}")
        before = figure.get_figheight()
        legend = figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    box = legend.get_window_extent()
    assert box.width <= figure.bbox.width
    assert figure.get_figheight() == pytest.approx(before + box.height / figure.dpi, rel=0.01)
    assert figure.legends == [legend]


def test_named_panels_are_stacked_on_a_phone_each_once(looks):
    with on_a_phone():
        figure, axes = panels_by_name([["a", "a", "b"], ["c", "d", "e"]], height=4)
    assert list(axes) == ["a", "b", "c", "d", "e"]
    assert figure.get_figwidth() == ONE_COLUMN
    assert [axis.get_subplotspec().rowspan.start for axis in axes.values()] == [0, 1, 2, 3, 4]


def test_after_a_phone_it_is_print_again(looks):
    with on_a_phone():
        panels(1, 1, height=2)
    assert panels(1, 1, height=2)[0].get_figwidth() == TWO_COLUMNS
