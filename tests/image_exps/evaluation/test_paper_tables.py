"""The paper's tables: its figures as data, ours beside them, and the page of a folder."""

import re

import pytest
from generated_folder import generated_folder
from PIL import Image

from image_exps.evaluation import Result, write_results
from image_exps.evaluation.paper_tables import render_table, table_rows
from image_exps.evaluation.published import METHODS, published_tables, table
from image_exps.evaluation.report import contact_sheet, tables_of, write_report
from image_exps.pipelines.models import find_models
from image_exps.samplers.pipeline_sampler import pipeline_sampler


def cell(number, model, method, metric, evaluations):
    shown = table(number)
    (column,) = [i for i, c in enumerate(shown.columns) if (c.metric, c.evaluations) == (metric, evaluations)]
    (rows,) = [m.rows for m in shown.models if model in m.names]
    return rows[method][column]


# Read off the paper by hand, first and last cells and one inside of each table.
@pytest.mark.parametrize(
    ("number", "model", "method", "metric", "evaluations", "value"),
    [
        (1, "ddpm-ema-cifar10", "DDIM", "FID", 5, 42.17),
        (1, "ddpm-ema-cifar10", "DPM-Solver", "FID", 15, 4.98),
        (1, "ddpm-ema-cifar10", "LML", "FID", 100, 3.58),
        (2, "ldm-celebahq-256", "DDIM", "colourfulness", 10, 34.13),
        (2, "ldm-celebahq-256", "UniPC", "DFIQA", 10, 0.568),
        (2, "ldm-celebahq-256", "LML", "Laion-Aes", 10, 5.37),
        (3, "sd15", "DDIM", "FID", 5, 29.14),
        (3, "sd15", "LML", "FID", 15, 16.98),
        (3, "sd2-base", "PNDM", "FID", 12, 17.39),
        (3, "sd2-base", "LML", "FID", 15, 15.14),
        (4, "sd15", "DDIM", "T2I-CB color", 10, 0.3864),
        (4, "sdxl", "UniPC", "T2I-CB shape", 10, 0.4910),
        (4, "pixart-alpha-512", "PNDM", "T2I-CB color", 10, 0.4035),
        (4, "pixart-alpha-512", "LML", "T2I-CB texture", 10, 0.4684),
        (5, "ddpm-ema-cifar10", "DDIM", "seconds", 5, 0.13),
        (5, "sd15", "LML", "seconds", 100, 5.89),
        (5, "pixart-alpha-512", "LML", "seconds", 100, 8.49),
    ],
)
def test_the_published_figures_are_the_papers(number, model, method, metric, evaluations, value):
    assert cell(number, model, method, metric, evaluations) == value


def test_every_table_is_complete():
    sizes = [sum(len(row) for m in t.models for row in m.rows.values()) for t in published_tables()]
    assert sizes == [6 * 12, 6 * 6, 2 * 6 * 8, 4 * 6 * 3, 6 * 2 * 7]
    for t in published_tables():
        for m in t.models:
            assert all(len(row) == len(t.columns) for row in m.rows.values())
            assert set(m.rows) <= set(METHODS)
    with pytest.raises(ValueError, match="table must be 1 to 5, got 6"):
        table(6)


def test_tables_speak_of_models_and_samplers_that_there_are():
    assert {name for t in published_tables() for m in t.models for name in m.names} <= set(find_models())
    names = [s for samplers in METHODS.values() for s in samplers]
    assert [pipeline_sampler(name, 10).name for name in names] == names


OURS = [
    Result("ddpm-ema-cifar10", "ddim", 10, "FID", 17.512, 17.2, 17.8, 50_000),
    Result("ddpm-ema-cifar10", "dpm-solver-3m/lml", 10, "FID", 7.0),
    Result("ddpm-ema-cifar10", "ddim/lml", 10, "FID", 9.25),
    Result("ddpm-ema-cifar10", "ddim", 20, "FD-EffNetLite0", 99.0),
    Result("emoji", "ddim", 10, "FID", 88.0),
]


def test_ours_stand_beside_the_papers_and_what_was_not_run_is_blank():
    rows = {(r.method, r.origin): r.cells for r in table_rows(1, OURS)}
    place = [c.evaluations for c in table(1).columns].index(10)
    assert rows["DDIM", "paper"][place] == "17.45"
    assert rows["DDIM", "ddim"][place] == "17.51 [17.20, 17.80]"
    assert [i for i, text in enumerate(rows["DDIM", "ddim"]) if text] == [place]
    assert rows["LML", "dpm-solver-3m/lml"][place] == "7.00"
    assert rows["ddim/lml", "ddim/lml"][place] == "9.25"
    assert set(rows["UniPC", "unipc-2"]) == {""}
    # Neither another metric nor another model gets in.
    assert not any("99" in text or "88" in text for r in rows.values() for text in r)


def test_without_results_every_cell_of_ours_is_blank():
    for number in range(1, 6):
        rows = table_rows(number)
        assert all(row.origin == "paper" or set(row.cells) == {""} for row in rows)
        assert any(row.origin == "paper" for row in rows)


def test_a_table_takes_the_scale_that_it_is_for():
    sweep = [Result("sd15", "ddim", 10, "FID", g, guidance=g) for g in (5.0, 7.0, 12.0)]
    (row,) = [r for r in table_rows(3, sweep) if (r.model, r.origin) == ("SD-1.5", "ddim")]
    assert [text for text in row.cells if text] == ["7.00"]
    assert tables_of(sweep[:1]) == []
    assert tables_of(sweep) == [3]


def test_two_results_of_one_cell_are_refused():
    with pytest.raises(ValueError, match="must have FID once for ddpm-ema-cifar10, ddim, 10 evaluations"):
        table_rows(1, [OURS[0], OURS[0]])


def test_markdown_has_a_cell_for_each_column():
    for number in range(1, 6):
        lines = [line for line in render_table(number, OURS).splitlines() if line.startswith("|")]
        assert {line.count("|") for line in lines} == {4 + len(table(number).columns)}


def test_latex_is_balanced_and_escaped():
    text = render_table(4, [Result("sd15", "my_sampler", 10, "T2I-CB color", 0.5)], "latex")
    assert r"my\_sampler & my\_sampler & 0.5000" in text
    assert r"PixArt-$\alpha$" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {2 + len(table(4).columns)}
    assert re.findall(r"\\begin\{(\w+)\}", text) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", text) == ["tabular", "table"]
    with pytest.raises(ValueError, match="form must be one of markdown, latex, got 'html'"):
        render_table(1, (), "html")


@pytest.fixture
def folder(tmp_path):
    generated_folder(tmp_path / "all" / "a<b>", 5)
    write_results(OURS, tmp_path / "all" / "a<b>" / "results.parquet")
    sweep = [
        Result("sd15", s, 10, metric, value + (s == "ddim"), guidance=g)
        for s in ("ddim", "ddim/lml")
        for g in (5.0, 7.0)
        for metric, value in (("CLIP x", g), ("FID", 20 - g))
    ]
    # One of the sweep belongs into a table, the others are at its other scales.
    write_results(sweep, tmp_path / "results-sweep.parquet")
    return tmp_path


def test_a_page_has_tables_pictures_and_the_rest(folder):
    assert write_report(folder / "all", folder / "page.html", pictures=3) == len(OURS)
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "Table 1. FID on CIFAR-10" in page
    assert "Table 3." not in page
    assert "17.51 [17.20, 17.80]" in page
    assert "FD-EffNetLite0" in page
    assert page.count("<img") == 1
    assert "a&lt;b&gt;" in page
    assert "<b>" not in page
    write_report(folder / "all", folder / "page.md", pictures=0)
    assert "**Table 1.**" in (folder / "page.md").read_text(encoding="utf-8")
    assert not (folder / "page-pictures").exists()
    write_report(folder / "all", folder / "page.md", pictures=2)
    (shown,) = re.findall(r"!\[.*\]\(<(.*)>\)", (folder / "page.md").read_text(encoding="utf-8"))
    with Image.open(folder / shown) as opened:
        assert opened.size == (256, 128)
    write_report(folder / "all", folder / "page.tex", tables=(3,))
    assert (folder / "page.tex").read_text(encoding="utf-8").count(r"\begin{table}") == 1


#: Names that are markup in one language or another.
HOSTILE = ["<script>alert(1)</script>", "[a](javascript:alert(1))", "![a](http://x/y.png)", "**a** `b` ~~c~~", "a | b",
           "a\n# b", "&lt;b&gt;", "$x^2$ $", "\\input{x} ~^_{}%", "_hidden", "half \ud800", "a\u202eb"]  # fmt: skip


def test_names_are_no_markup_in_any_format(tmp_path):
    from markdown_it import MarkdownIt

    root = tmp_path / "a<i>b</i>[c](d) *e*"
    for i, name in enumerate(HOSTILE):
        where = root / f"{i} {name.replace('/', '').replace(chr(0xD800), '').strip()}"
        generated_folder(where, 2, model=name)
        made = [
            Result("sd15", name, 10, metric, i + g, guidance=g, remark=name, source=name)
            for metric in ("FID", "CLIP x")
            for g in (5.0, 7.0)
        ]
        write_results([*made, Result(name, name, 10, name, 1.0, remark=name)], where / "results.parquet")
        (where / "00000" / "000001.png").unlink(missing_ok=bool(i % 2))  # said on the page, with its path
    count = 5 * len(HOSTILE)
    assert write_report(root, tmp_path / "page.md", pictures=2) == count
    assert write_report(root, tmp_path / "page.html", pictures=2) == count
    assert write_report(root, tmp_path / "page.tex") == len(HOSTILE)  # of table 3: FID at guidance 7
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render((tmp_path / "page.md").read_text())
    plain = re.sub(r'<img src="page-pictures/\d+\.png" alt="[^"<>]*" />', "", rendered)
    known = {"h1", "h2", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert {tag.split()[0].strip("/") for tag in re.findall(r"<([^>]*)>", plain)} == known
    assert plain.count("<h1>") == 1
    assert plain.count("<strong>") == 1  # of the caption
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in plain
    assert "[a](javascript:alert(1))" in plain
    assert "a | b" in plain
    assert "&amp;lt;b&amp;gt;" in plain
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Not drawn" not in page
    text = (tmp_path / "page.tex").read_text()
    assert r"\textbackslash{}input\{x\} \textasciitilde{}\textasciicircum{}\_\{\}\%" in text
    assert not re.search(r"(?<!\\)[$&#^~](?!\$)", re.sub(r" & |\$\\\w+\$", "", text))
    assert r"\input" not in text


def test_latex_without_a_table_is_refused_and_nothing_is_written(tmp_path):
    write_results([Result("sd15", "ddim", 10, "colourfulness", 1.0)] * 2, tmp_path / "results.parquet")
    with pytest.raises(
        ValueError, match=r"out 'x\.tex' is of the paper's tables alone, and none has a place for a resul"
    ):
        write_report(tmp_path, tmp_path / "x.tex")
    assert not (tmp_path / "x.tex").exists()
    # A table that is asked for by number shows the paper's figures, and none of the two results.
    assert write_report(tmp_path, tmp_path / "x.tex", tables=(1,)) == 0
    assert r"\begin{tabular}" in (tmp_path / "x.tex").read_text()


def test_copies_that_an_editor_hides_are_no_results(tmp_path):
    write_results(OURS, tmp_path / "results.parquet")
    write_results(OURS, tmp_path / ".ipynb_checkpoints" / "results-checkpoint.parquet")
    assert write_report(tmp_path, tmp_path / "page.html") == len(OURS)


def test_a_folder_that_cannot_be_shown_is_told_and_the_page_is_written(folder):
    missing, broken = (
        generated_folder(folder / "all" / name, 2) / "00000/000001.png" for name in ("missing", "broken")
    )
    missing.unlink()
    broken.write_bytes(b"no picture")
    (generated_folder(folder / "all" / "begun", 1) / "records-000.jsonl").unlink()
    for name in ("page.html", "page.md"):
        assert write_report(folder / "all", folder / name, pictures=3) == len(OURS)
        page = (folder / name).read_text(encoding="utf-8")
        assert len(re.findall(r"<img|!\[", page)) == 1
        assert page.count("Not shown: ") == 3
        for said in ("000001.png is recorded and missing", "000001.png cannot be read", "has settings and none yet"):
            assert said in page


def test_every_model_and_budget_has_its_guidance_sweep_and_a_doubtful_one_is_told(folder):
    sweep = [
        Result(model, "ddim", n, metric, value, guidance=g)
        for model, n in (("sd15", 10), ("sd15", 20), ("sdxl", 10))
        for g in (5.0, 7.0)
        for metric, value in (("CLIP x", g), ("FID", 20 - g))
    ]
    write_results([*sweep, *sweep[-4:]], folder / "two" / "results.parquet")
    write_report(folder / "two", folder / "page.html")
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert re.findall("Guidance sweep, ([^<]*)<", page) == [
        "sd15, 10 evaluations", "sd15, 20 evaluations", "sdxl, 10 evaluations"
    ]  # fmt: skip
    assert page.count("<svg") == 2
    assert page.count("Not drawn: results must have CLIP x once for ddim at guidance 5, got two") == 1


def test_the_tables_that_results_belong_to():
    assert tables_of(OURS) == [1]
    assert tables_of([Result("sd15", "ddim", 10, "seconds", 1.0), Result("sd15", "ddim", 10, "FID", 1.0)]) == [3, 5]
    assert tables_of([Result("sd15", "ddim", 11, "FID", 1.0)]) == []


def test_a_sheet_shows_as_many_pictures_as_it_is_asked_for(folder):
    assert contact_sheet(folder / "all" / "a<b>", 3).size == (3 * 128, 128)
    assert contact_sheet(folder / "all" / "a<b>", 99).size == (5 * 128, 128)


def test_bad_pages_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"out must end in one of \.html, \.md, \.tex, got 'page\.pdf'"):
        write_report(folder, tmp_path / "page.pdf")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no results\*\.parquet"):
        write_report(tmp_path / "empty", tmp_path / "page.html")
