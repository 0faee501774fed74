"""What other packages add is loaded, or refused by name: also where it would end the interpreter with success."""

from importlib.metadata import EntryPoint

import pytest

from image_exps.utils.plugins import load_plugin
from theory_checks.command_line.plugin_import import check_import


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module of another package and return its entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        return EntryPoint("mine", f"{name}:score", "lml.scores")

    return made


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os._exit(0)", r"it ends the interpreter when it is imported \(exit status 0\)"),
        ("import sys; sys.exit(0)", "it exits when it is imported, 0"),
        ("1 / 0", "division by zero"),
        ("x = 1", "module 'broken_[0-9]' has no attribute 'score'"),
    ],
)
def test_what_cannot_be_loaded_is_named(write, code, reason):
    name = f"broken_{len(code) % 10}"  # a module of its own: what was imported once is not tried again
    with pytest.raises(ValueError, match=rf"lml\.scores: 'mine' \({name}:score\) cannot be loaded: {reason}"):
        load_plugin(write(name, code))


def test_a_plugin_that_speaks_when_it_is_imported_is_loaded(write, monkeypatch, capfd):
    assert load_plugin(write("speaking_plugin", "print('loaded', flush=True)\ndef score(): return 7"))() == 7
    assert capfd.readouterr() == ("loaded\n", "")  # what the other interpreter said is not shown


def test_ours_are_not_imported_twice(monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *a, **k: pytest.fail("another interpreter was started"))
    check_import("image_exps.no_such_module")
    check_import("pytest")  # it is imported already
