"""Every figure on small data: files, texts, cache, fonts, axes, and the command."""

import math
import re
import string
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator
from PIL import Image

from image_exps.sweeps.store import FORMAT
from paper_figures import cache, sweeps
from paper_figures.figure import MOST_WORDS, NAMES, PaperFigure, find, typed_numbers
from paper_figures.layout import ONE_COLUMN, TWO_COLUMNS, finish, panels
from paper_figures.render import render
from paper_figures.style import style
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.plotting import on_a_phone

SETTINGS = Settings(seed=3)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The data of every figure, small, computed once."""
    folder = tmp_path_factory.mktemp("data")
    made = {}

    def data_of(name):
        if name not in made:
            figure = find(name)
            if sentence := figure.missing():
                pytest.skip(sentence)
            made[name], _ = cache.data_of(figure, SETTINGS, folder, parameters=figure.small)
        return made[name]

    return data_of


@pytest.mark.parametrize("name", NAMES)
def test_figure_has_print_screen_and_a_caption_of_its_data(name, small, tmp_path):
    figure, data = find(name), small(name)
    files = render(figure, data, SETTINGS, tmp_path)
    for path, wide, highest in ((files.png, TWO_COLUMNS, 9.5), (files.phone, ONE_COLUMN, math.inf)):  # a page; a scroll
        with Image.open(path) as image:
            width, height = image.size
            dpi = image.info["dpi"][0]
            pixels = np.asarray(image.convert("L"))
        assert width / dpi == pytest.approx(wide, abs=0.01)
        assert 1 < height / dpi < highest
        assert pixels.std() > 5  # not blank
        edge = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
        assert edge.min() == 255  # nothing is cut
    caption, methods = (path.read_text(encoding="utf-8") for path in (files.caption, files.methods))
    assert f"python -m paper_figures {name} --profile quick --seed 3" in methods
    assert "{" not in caption + methods
    for text in figure.facts(data).values():
        assert text in caption + methods
        assert "nan" not in text.split()


@pytest.mark.parametrize("name", NAMES)
def test_caption_is_short(name, small):
    assert len(find(name).filled(small(name)).split()) <= MOST_WORDS == 80


@pytest.mark.parametrize("name", NAMES)
def test_a_logarithmic_axis_is_seen_to_be_one(name, small):
    figure, data = find(name), small(name)
    for layout in (nullcontext, on_a_phone):
        with style(), layout():
            drawn = figure.draw(data)
            finish(drawn)
            for axis in (a for axes in drawn.axes if axes.axison for a in (axes.xaxis, axes.yaxis)):
                if axis.get_scale() != "log" or isinstance(axis.get_major_locator(), FixedLocator):
                    continue  # linear, or ticks where the data are
                low, high = sorted(axis.get_view_interval())
                ticks = [x for x in axis.get_majorticklocs() if 0.999 * low <= x <= 1.001 * high]
                assert len(ticks) >= 3, (axis.get_label_text(), low, high, ticks)


@pytest.mark.parametrize("name", NAMES)
def test_caption_is_filled_from_the_data(name, small):
    figure, data = find(name), small(name)
    template = figure.caption + figure.methods
    fields = {field for _, field, _, _ in string.Formatter().parse(template) if field}
    assert fields == set(figure.facts(data))
    followed = set()
    for key, value in data.items():
        if value.dtype.kind not in "if":
            continue
        try:
            changed = figure.facts({**data, key: value + 1})
        except (KeyError, IndexError):  # by this number other data are looked up
            changed = {}
        followed |= {field for field, text in changed.items() if text != figure.facts(data)[field]}
    assert len(followed) >= min(3, len(fields))


def numbers(text):
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]


def said(name, small, pattern):
    """Return the numbers of a part of the texts."""
    figure, data = find(name), small(name)
    return numbers(re.search(pattern, figure.filled(data) + figure.described(data, SETTINGS))[1])


def test_schematic_draws_what_the_kernel_returns(small):
    data = small("schematic")
    assert data["plain: turned"] == pytest.approx(data["eps"], abs=1e-15)
    solved = data["mixed: solved"]
    assert data["mixed: turned"] == pytest.approx(solved / np.linalg.norm(solved), abs=1e-12)
    base, algorithm, published = (data[f"step: {name}"] for name in ("base", "algorithm", "published"))
    assert np.array_equal(published[1], base[1])  # the estimate of the data is the base's
    assert published[2] - published[1] == pytest.approx(algorithm[2] - algorithm[1], abs=1e-15)


def test_quality_says_the_values_that_it_draws(small):
    rows = sweeps.table(small("quality"))
    row = rows[(rows["arm"] == "ddim/lml") & (rows["evaluations"] == 5) & (rows["distance"] == "endpoint-rmse")].iloc[0]
    expected = [row["value"], row["low"], row["high"]]
    assert said("quality", small, r"LML on it (\S+ \[.*?\]), noise") == pytest.approx(expected, rel=5e-3)


def test_order_says_the_figure_of_its_claim(small):
    expected = small("order")["figure: observed order with LML, all bases"][:3]
    assert said("order", small, r"With LML the order is (\S+ \[.*?\])") == pytest.approx(expected, abs=6e-3)


def test_precision_says_what_float32_adds(small):
    row = small("precision")["float32"][0]
    (percent,) = said("precision", small, r"float32 adds (\d+%)")
    assert percent == float(f"{100 * row[2]:.0f}")


def test_a_number_that_is_typed_is_refused():
    assert typed_numbers("Figure 6 and Prop. 2 of claim K3, in float32, DPM-Solver-3 and W2") == []
    assert typed_numbers("n = 512 samples {n} at 0.5") == ["512", "0.5"]
    with pytest.raises(ValueError, match=r"caption of geometry must take its numbers from the data, got 512"):
        replace(find("geometry"), caption="n = 512")
    with pytest.raises(ValueError, match=r"methods of geometry must take its numbers from the data, got 512"):
        replace(find("geometry"), methods="n = 512")


@pytest.mark.parametrize("name", ["geometry", "samples"])
def test_the_same_data_give_the_same_bytes_without_dates(name, small, tmp_path):
    one, two = (render(find(name), small(name), SETTINGS, tmp_path / folder) for folder in "ab")
    for first, second in zip(vars(one).values(), vars(two).values(), strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert b"CreationDate" not in one.pdf.read_bytes()


@pytest.mark.parametrize("name", ["geometry", "convergence"])
def test_fonts_are_embedded_in_the_pdf(name, small, tmp_path):
    pdf = render(find(name), small(name), SETTINGS, tmp_path).pdf.read_bytes()
    described, embedded = pdf.count(b"/Type /FontDescriptor"), pdf.count(b"/FontFile2")
    assert described > 0
    assert embedded == described  # each font that is named is there, as TrueType
    assert b"/Type3" not in pdf


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_seven_points_or_more_at_print_size(name, small):
    figure, data = find(name), small(name)
    for layout, width in ((nullcontext, TWO_COLUMNS), (on_a_phone, ONE_COLUMN)):
        with style(), layout():
            drawn = figure.draw(data)
            texts = [t for t in drawn.findobj(lambda o: hasattr(o, "get_fontsize")) if t.get_text().strip()]
        assert min(t.get_fontsize() for t in texts) >= 7
        assert drawn.get_size_inches()[0] == width


@pytest.mark.parametrize("name", NAMES)
def test_no_two_lines_of_a_panel_differ_by_colour_alone(name, small):
    with style():
        drawn = find(name).draw(small(name))
    for axis in drawn.axes:
        looks = [_without_colour(handle) for handle in axis.get_legend_handles_labels()[0]]
        looks = [look for look in looks if look is not None]
        assert len(set(looks)) == len(looks), axis.get_title(loc="left")


def _without_colour(handle):
    line = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
    if not isinstance(line, Line2D):
        return None  # a surface
    filled = line.get_markerfacecolor() not in ("white", "none")
    return line.get_marker(), str(line._unscaled_dash_pattern), line.get_linewidth() > 3, filled


def test_networks_are_drawn_from_the_rows_of_their_sweep(tmp_path, monkeypatch):
    part = {"targets": ["ring-2d"], "arms": ["ddim", "ddim/lml", "ddim/noise", "unipc-3"], "evaluations": [5, 6],
            "count": 20, "distances": ["frechet"]}  # fmt: skip
    rows = sweeps.table(sweeps.rows_of({"name": "t", "repeats": 5, "part": [part]}, use_shipped=False))
    rows = rows.assign(format=FORMAT, model="network", distance="FD-EffNetLite0")
    path = tmp_path / "results.parquet"
    figure = find("quality_networks")
    monkeypatch.setattr(sweeps, "shipped", lambda: ())
    assert "`networks`" in figure.missing()
    with pytest.raises(ValueError, match="no sweep of networks"):
        figure.compute(SETTINGS)
    rows.to_parquet(path)
    monkeypatch.setattr(sweeps, "shipped", lambda: (path, path))  # twice the same rows are one
    assert figure.missing() == ""
    data = figure.compute(SETTINGS)
    assert len(data["rows: value"]) == len(rows)
    value = rows[(rows["arm"] == "ddim/lml") & (rows["evaluations"] == 5)]["value"].iloc[0]
    assert f"LML {value:.3g} [" in render(figure, data, SETTINGS, tmp_path).methods.read_text(encoding="utf-8")


def test_pictures_of_networks_need_nothing_from_outside(monkeypatch):
    monkeypatch.setenv("LML_OUTSIDE", "none")
    assert find("samples_network").missing() == ""


@pytest.mark.parametrize(("name", "count"), [("quality", 2048), ("ablations", 2048), ("quality_networks", 256)])
def test_sweeps_that_are_shipped_are_drawn(name, count):
    figure = find(name)
    data = figure.compute(Settings())
    assert data.get("shipped", True)
    assert set(data["rows: count"]) == {count}


def test_shipped_rows_serve_where_they_are_complete(tmp_path, monkeypatch):
    grid = {
        "name": "t",
        "repeats": 5,
        "part": [{"targets": ["ring-2d"], "arms": ["ddim"], "evaluations": [5], "count": 20, "distances": ["frechet"]}],
    }
    own = sweeps.rows_of(grid, use_shipped=False)
    frame = sweeps.table(own)
    frame["format"] = FORMAT
    frame["value"] = 7.0
    path = tmp_path / "results.parquet"
    frame.to_parquet(path)
    monkeypatch.setattr(sweeps, "shipped", lambda: (path,))
    assert sweeps.rows_of(grid)["rows: value"].tolist() == [7.0]
    wider = frame.assign(evaluations=7.0)
    pd.concat((frame, wider)).to_parquet(path)
    assert sweeps.rows_of(grid)["rows: evaluations"].tolist() == [5]  # what was not asked for stays out
    grid["part"][0]["evaluations"] = [6]
    there = sweeps.rows_of(grid)
    assert not there["shipped"]
    assert there["rows: value"].tolist() != [7.0]


def test_curve_is_the_mean_over_seeds_with_its_interval():
    frame = sweeps.table(
        {f"rows: {c}": np.array(v) for c, v in {
            **{c: ["a"] * 3 for c in sweeps._COLUMNS},
            "evaluations": [5.0, 5.0, 10.0], "value": [1.0, 3.0, 4.0], "low": [0.0, 2.0, 3.5], "high": [2.0, 4.0, 4.5],
        }.items()}
    )  # fmt: skip
    found = sweeps.curve(frame)
    assert found.x.tolist() == [5, 10]
    assert found.value.tolist() == [2, 4]
    assert found.high - found.value == pytest.approx([np.sqrt(2) / 2, 0.5])


def test_drawing_leaves_the_readers_settings_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style():
        panels(1, 1, height=2)
    assert dict(mpl.rcParams) == before


def test_every_figure_is_known_by_its_own_name():
    for name in NAMES:
        figure = find(name)
        assert isinstance(figure, PaperFigure)
        assert figure.name == name
        assert figure.title[0] != " "


def test_time_of_drawing_alone_is_seconds(small, tmp_path):
    start = time.perf_counter()
    render(find("geometry"), small("geometry"), SETTINGS, tmp_path)
    assert time.perf_counter() - start < 20
