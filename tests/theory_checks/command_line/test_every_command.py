"""No command of these packages lets an error of its user become a traceback."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("lml", "toy", "theory_checks", "image_exps", "paper_figures")


def decorators(function):
    """Return the names of a function's decorators, without their modules and arguments."""
    calls = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
    return [ast.unparse(call).rpartition(".")[2] for call in calls]


COMMANDS = {
    f"{file.relative_to(ROOT)}:{node.name}": decorators(node)
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef) and "command" in decorators(node)  # a group runs nothing by itself
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_went_wrong_in_a_sentence(name):
    assert "plain_errors" in COMMANDS[name]


def test_the_commands_are_found():
    assert {"theory_checks/__main__.py:main", "image_exps/commands/tune.py:command"} < set(COMMANDS)
