"""The notebooks: they run, they show what they say that they show, and they hold no mathematics of their own."""

import ast
import re

import nbformat
import pytest
from click.testing import CliRunner

from theory_checks.ledger.family import find_claims
from theory_checks.notebooks import NOTEBOOKS
from theory_checks.notebooks import __main__ as command
from theory_checks.notebooks.execution import executed, normalised, write

LAYERS = {"lml", "toy", "theory_checks"}
LIBRARIES = {"diffusers", "math", "numpy", "torch", "warnings"}
IDS = [file.stem for file in NOTEBOOKS]

every = pytest.mark.parametrize("file", NOTEBOOKS, ids=IDS)


def read(file):
    return nbformat.read(file, as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def verdicts_of(notebook):
    """Return the verdict by claim from the table that the last cell shows."""
    (output,) = code_of(notebook)[-1].outputs
    return dict(re.findall(r"^(\w+): ([A-Z ]+)\.", output.data["text/plain"], flags=re.MULTILINE))


def kinds_of(notebook):
    return [[sorted(output.get("data", {})) for output in cell.outputs] for cell in code_of(notebook)]


def test_there_is_a_notebook_for_each_part_of_the_theory_and_one_on_pictures():
    assert set(IDS) == {
        "annealing",
        "convergence",
        "hessian",
        "kernel_geometry",
        "pictures",
        "precision",
        "stationary_measure",
    }


@pytest.mark.slow
@every
def test_a_notebook_runs_and_finds_what_is_stored(file):
    fresh, stored = executed(file), read(file)
    assert verdicts_of(fresh) == verdicts_of(stored)
    assert kinds_of(fresh) == kinds_of(stored)


@every
def test_the_stored_verdicts_are_those_of_the_ledger(file):
    found = verdicts_of(read(file))
    expected = {claim.id: str(claim.expected) for claim in find_claims()}
    assert found
    assert found == {name: expected[name] for name in found}


@every
def test_outputs_are_stored_and_small(file):
    notebook = read(file)
    last, *others = reversed(code_of(notebook))
    pictures = [output for cell in others for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
    assert "text/markdown" in last.outputs[0].data
    assert not [
        output for cell in code_of(notebook) for output in cell.outputs if output.output_type != "execute_result"
    ]
    assert file.stat().st_size < 600_000


@every
def test_a_notebook_is_a_lesson_of_six_to_fourteen_cells_of_which_half_is_prose(file):
    cells = read(file).cells
    prose = [cell for cell in cells if cell.cell_type == "markdown"]
    assert 6 <= len(cells) <= 14
    assert 2 * len(prose) >= len(cells) - 1
    assert cells[0].source.startswith("# ")
    assert any("## Where it stops" in cell.source for cell in prose)


@every
def test_cells_import_from_the_packages_and_define_next_to_nothing(file):
    for cell in code_of(read(file)):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 10, f"{node.name} belongs into a package"
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= LAYERS | LIBRARIES


@every
def test_a_notebook_is_written_without_a_trace_of_the_run(file, tmp_path):
    notebook = read(file)
    write(normalised(notebook), tmp_path / "copy.ipynb")
    assert (tmp_path / "copy.ipynb").read_bytes() == file.read_bytes()
    assert not re.search(r"/(home|root|work|tmp|Users)/", file.read_text(encoding="utf-8"))


def test_a_cell_that_raises_fails_the_run(tmp_path):
    from nbclient.exceptions import CellExecutionError

    file = tmp_path / "broken.ipynb"
    cells = [nbformat.v4.new_code_cell("1"), nbformat.v4.new_code_cell("1/0")]
    write(normalised(nbformat.v4.new_notebook(cells=cells)), file)
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        executed(file)


@pytest.fixture
def few(tmp_path, monkeypatch):
    """Write notebooks of one cell each in place of ours."""

    def written(**cells):
        files = tuple(tmp_path / f"{name}.ipynb" for name in cells)
        for file, cell in zip(files, cells.values(), strict=True):
            write(normalised(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])), file)
        monkeypatch.setattr(command, "NOTEBOOKS", files)
        return [file.read_bytes() for file in files]

    return written


def test_the_command_stores_outputs_and_says_a_failing_cell_in_one_sentence(few, tmp_path):
    before = few(good="6 * 7", bad="1/0", killed="import os; os._exit(1)")
    result = CliRunner().invoke(command.main, ["good", "bad", "good"])
    assert (result.exit_code, result.stderr) == (2, "Error: a cell of bad raises ZeroDivisionError: division by zero\n")
    assert re.fullmatch(r"good: \d+ s, \d+ kB\n", result.stdout)
    assert read(tmp_path / "good.ipynb").cells[0].outputs[0].data == {"text/plain": "42"}
    result = CliRunner().invoke(command.main, ["killed"])
    assert (result.exit_code, result.stderr) == (
        2, "Error: a cell of killed does not come to its end: Kernel died\n"
    )  # fmt: skip
    assert [(tmp_path / f"{name}.ipynb").read_bytes() for name in ("bad", "killed")] == before[1:]


@pytest.mark.parametrize(
    ("words", "said"), [(["none"], "must be one of good, got 'none'"), (["good"], "you have no permission in")]
)
def test_what_is_wrong_is_said_before_a_kernel_starts(few, monkeypatch, words, said):
    few(good="1")
    monkeypatch.setattr(command, "_run", lambda *a: pytest.fail("a notebook was run"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    result = CliRunner().invoke(command.main, words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_redirected_it_says_now_and_then_how_far_it_is(few, monkeypatch):
    few(one="import time; time.sleep(1)", two="2")
    monkeypatch.setattr("theory_checks.command_line.progress_line.ProgressLine.__init__.__kwdefaults__",
                        {"quiet": False, "every": 0.1})  # fmt: skip
    result = CliRunner().invoke(command.main, [])
    assert result.exit_code == 0, result.output
    assert "one: 0 of 2 notebooks, 0/s, ? left\n" in result.stderr
