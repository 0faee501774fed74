import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from image_exps.commands.league import command
from image_exps.league.answer import five_lines
from image_exps.league.page import documentation, page
from image_exps.league.rows import read_rows
from image_exps.league.verdicts import SCRIPTS, VERDICTS, read_verdicts

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def html():
    return page(read_rows(), read_verdicts())


def test_the_page_needs_nothing_from_elsewhere(html):
    assert not re.search(r"(src|href)=[\"']https?:", html)
    assert "url(http" not in html


def test_it_has_a_line_for_every_sampler_at_every_spacing(html):
    d = read_rows().distances
    assert html.count("<tr data-text=") >= len(d[["what", "spacing"]].drop_duplicates())


def test_every_verdict_has_its_sentence_and_names_its_script(html):
    for each in VERDICTS:
        assert f"{SCRIPTS}/{each.name}.py" in html
        assert (ROOT / SCRIPTS / f"{each.name}.py").is_file()


def test_the_page_of_the_docs_is_drawn_from_the_rows():
    text = (ROOT / "docs/reference/league.md").read_text(encoding="utf-8")
    assert text == documentation(read_rows(), read_verdicts())


def test_the_command_prints_the_five_lines_and_writes_the_page(tmp_path):
    done = CliRunner().invoke(command, ["--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "league.html").is_file()
    for line in five_lines(read_rows()):
        assert line.replace("**", "").replace("`", "") in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--match", "DDIM"], "it chooses entries for --measure"), (["--rows", "/nowhere"], "must be in /nowhere")],
)
def test_bad_arguments_are_refused_in_a_sentence(arguments, message, tmp_path):
    done = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path)])
    assert done.exit_code != 0
    assert message in done.output
