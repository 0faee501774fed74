"""The console command: it lists and runs what packages publish, says what is wrong, and imports nothing for it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest

from lml import __main__ as command

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "diffusers", "transformers", "pandas", "scipy", "sympy", "matplotlib"}
PUBLISHED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
    command.GROUP
]


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that makes a module, and publishes commands instead of ours."""
    monkeypatch.syspath_prepend(tmp_path)

    def published(source: str = "", **values: str) -> None:
        (tmp_path / "users_command.py").write_text(source, encoding="utf-8")
        sys.modules.pop("users_command", None)
        points = [EntryPoint(name, value, command.GROUP) for name, value in values.items()]
        monkeypatch.setattr(command, "entry_points", lambda group: points)

    return published


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m lml``; the last line of its output names the modules that were imported."""
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('\\n' + ' '.join(sys.modules)))\n"
        f"sys.argv = ['lml', *{arguments!r}]\n"
        "runpy.run_module('lml', run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT
    )


def heavy(result: subprocess.CompletedProcess[str]) -> set[str]:
    return HEAVY & set(result.stdout.splitlines()[-1].split())


def test_every_command_is_listed_with_what_it_does_and_nothing_heavy_is_imported() -> None:
    result = run("--help")
    assert (result.returncode, result.stderr, heavy(result)) == (0, "", set())
    rows = dict(line.split(maxsplit=1) for line in result.stdout.partition("Commands:\n")[2].splitlines()[:-2])
    assert sorted(rows) == sorted(PUBLISHED)
    for about in rows.values():
        assert about[0].isupper()
        assert len(about) > 15
        assert "python -m" not in about
    assert run().stdout.splitlines()[:-1] == result.stdout.splitlines()[:-1]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    result = run(name, "--help")
    assert (result.returncode, result.stderr, heavy(result)) == (0, "", set())
    assert result.stdout.startswith(f"Usage: lml {name} ")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("verify", "--list"), 0),
        (("models",), 0),
        (("--version",), 0),
        (("smaple",), 2),
        (("sample", "--smapler", "ddim"), 2),
        (("sample", "--model", "sd16"), 2),
        (("sweep", "no-such-grid"), 2),
    ],
)
def test_lists_and_wrong_names_import_nothing_heavy(arguments: tuple[str, ...], status: int) -> None:
    result = run(*arguments)
    assert (result.returncode, heavy(result)) == (status, set())


def test_a_wrong_name_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["smaple"]) == 2
    assert capsys.readouterr().err == "Error: there is no command 'smaple'; did you mean sample?\n"
    assert command.main(["xyzzy"]) == 2
    assert capsys.readouterr().err == "Error: there is no command 'xyzzy'; lml --help lists them.\n"


def test_every_published_command_is_a_command_of_click() -> None:
    for point in command.find_commands().values():
        assert callable(point.load().main)


def test_every_subcommand_of_image_exps_is_a_command_of_lml() -> None:
    files = [f.stem for f in (ROOT / "image_exps" / "commands").glob("*.py") if not f.stem.startswith("_")]
    assert {f"image_exps.commands.{name}:command" for name in files} <= set(PUBLISHED.values())


def test_the_console_script_is_the_module() -> None:
    scripts = [p for p in distribution("lml-toolkit").entry_points if p.group == "console_scripts"]
    assert [(p.name, p.value) for p in scripts] == [("lml", "lml.__main__:main")]


def test_a_function_is_run_with_its_arguments_and_its_status(publish, capsys: pytest.CaptureFixture[str]) -> None:
    publish("import sys\ndef run():\n    print(sys.argv)\n    return 3\n", mine="users_command:run")
    before = sys.argv
    try:
        assert command.main(["mine", "--x", "1"]) == 3
    finally:
        sys.argv = before
    assert capsys.readouterr().out == "['lml mine', '--x', '1']\n"


def test_a_command_of_click_exits_with_its_own_status(publish, capsys: pytest.CaptureFixture[str]) -> None:
    source = "import click\n@click.command()\n@click.option('--x', type=int)\ndef run(x):\n    print(x)\n"
    publish(source, mine="users_command:run")
    for arguments, status, printed in (
        (["--x", "1"], 0, "1\n"),
        (["--x", "one"], 2, ""),
        (["--help"], 0, "Usage: lml mine [OPTIONS]"),
    ):
        with pytest.raises(SystemExit) as ended:
            command.main(["mine", *arguments])
        assert ended.value.code == status
        assert capsys.readouterr().out.startswith(printed)


def test_a_command_is_listed_without_being_imported(publish, capsys: pytest.CaptureFixture[str]) -> None:
    publish('"""Do it at once: ``python -m mine``.\n\nMore."""\nraise SystemExit(5)\n', mine="users_command:run")
    assert command.main(["--help"]) == 0
    assert capsys.readouterr().out.endswith("Commands:\n  mine  Do it at once\n")
    publish("this is no Python", mine="users_command:run", gone="no_such_module.x:run", bare="users_command:run")
    assert command.main([]) == 0
    assert "mine  (cannot be read: " in capsys.readouterr().out
    publish()
    command.main(["-h"])
    assert capsys.readouterr().out.endswith("Commands:\n  none is installed\n")


@pytest.mark.parametrize(
    ("source", "value", "said"),
    [
        ("import no_such_library", "users_command:run", "mine needs no_such_library, which is not installed\n"),
        ("", "no_such_module:run", "the command mine (no_such_module:run) cannot be loaded: No module named"),
        ("", "users_command:run", "the command mine (users_command:run) cannot be loaded: module 'users_command' has"),
        ("1/0", "users_command:run", "the command mine (users_command:run) cannot be loaded: division by zero"),
        (
            "exit(0)",
            "users_command:run",
            "the command mine (users_command:run) cannot be loaded: it exits when it is imported, 0",
        ),
    ],
)
def test_a_command_that_cannot_be_loaded_is_one_sentence(
    publish, source: str, value: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(source, mine=value)
    assert command.main(["mine"]) == 2
    assert capsys.readouterr().err.startswith(f"Error: {said}")
    monkeypatch.setenv("LML_TRACEBACK", "1")
    sys.modules.pop("users_command", None)
    with pytest.raises(ValueError, match="mine"):
        command.main(["mine"])


def test_a_missing_library_comes_with_the_extra_that_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "theory_checks.notebooks.__main__", raising=False)
    assert command.main(["notebooks"]) == 2
    said = "Error: notebooks needs click, which is not installed: pip install 'lml-toolkit[all]'\n"
    assert capsys.readouterr().err == said


def test_one_name_for_two_commands_is_refused_and_the_same_twice_is_one(
    publish, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [EntryPoint("mine", value, command.GROUP) for value in ("a:run", "a:run", "b:run")]
    monkeypatch.setattr(command, "entry_points", lambda group: points)
    assert command.main(["--help"]) == 2
    assert "the command mine is published twice, as a:run and as b:run" in capsys.readouterr().err
    monkeypatch.setattr(command, "entry_points", lambda group: points[:2])
    assert list(command.find_commands()) == ["mine"]
