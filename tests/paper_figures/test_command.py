"""The command draws what it can, says what it cannot and why, and answers a wrong name at once."""

import errno
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

import paper_figures.__main__ as command
from paper_figures.__main__ import main
from paper_figures.figure import NAMES, find
from paper_figures.names import title_of
from theory_checks.ledger.claim import Settings

SETTINGS = Settings(seed=3)


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match=r"figure must be one of schematic, geometry, .*, got 'foo'"):
        find("foo")
    result = CliRunner().invoke(main, ["foo"])
    assert result.exit_code == 2
    for name in NAMES:
        assert name in re.sub(r"\s+", " ", result.output)


def test_list_names_every_figure_with_a_line():
    result = CliRunner().invoke(main, ["--list"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == list(NAMES)


def test_command_draws_and_then_only_draws(tmp_path):
    arguments = ["geometry", "--out", str(tmp_path), "--seed", "1"]
    first, second = (CliRunner().invoke(main, arguments) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert "data computed" in first.output
    assert "data kept from before" in second.output
    assert {p.name for p in tmp_path.iterdir()} == {
        "geometry.pdf",
        "geometry.png",
        "geometry-phone.png",
        "geometry.txt",
        "geometry-methods.txt",
        "data",
    }


def test_a_figure_that_fails_does_not_take_the_others_with_it(tmp_path, monkeypatch):
    def broken(settings):
        raise RuntimeError("no data")

    from paper_figures import schematic

    broken.__module__ = "paper_figures.schematic"
    monkeypatch.setattr(schematic, "FIGURE", replace(schematic.FIGURE, compute=broken))
    result = CliRunner().invoke(main, ["schematic", "geometry", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "Not drawn: schematic" in result.output
    assert (tmp_path / "geometry.pdf").is_file()
    assert not (tmp_path / "schematic.pdf").exists()


def test_what_cannot_be_drawn_is_left_out_and_said(tmp_path, monkeypatch):
    from paper_figures import geometry

    monkeypatch.setattr(geometry, "FIGURE", replace(geometry.FIGURE, missing=lambda: "no network"))
    result = CliRunner().invoke(main, ["geometry", "--out", str(tmp_path)])
    assert result.exit_code == 1  # it was asked for by name
    assert "geometry         left out: no network" in result.output
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(command, "NAMES", ("geometry", "schematic"))
    monkeypatch.setattr(command, "_draw", lambda name, *a, draw=command._draw, **k: (
        draw(name, *a, **k) if name == "geometry" else (True, "drawn")))  # fmt: skip
    result = CliRunner().invoke(main, ["--out", str(tmp_path)])
    assert result.exit_code == 0  # all that can be is drawn
    assert result.output.splitlines() == [
        "geometry         left out: no network", "schematic        drawn", "Left out: geometry"
    ]  # fmt: skip


def test_titles_are_those_of_the_figures():
    assert {name: title_of(name) for name in NAMES} == {name: find(name).title for name in NAMES}


@pytest.mark.parametrize("full", [True, False])
def test_a_reason_outside_of_the_code_is_a_sentence_and_a_fault_a_traceback(tmp_path, monkeypatch, full):
    error = OSError(errno.ENOSPC, "No space left on device", "out/x.png") if full else RuntimeError("a fault")

    def failing(name, *arguments, **options):
        raise error

    monkeypatch.setattr(command, "_draw", failing)
    result = CliRunner().invoke(main, ["geometry", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert ("Traceback" in result.output) is not full
    assert ("geometry         not drawn: out/x.png: no space is left on its disk" in result.output) is full
