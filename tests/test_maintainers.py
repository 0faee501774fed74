"""The scripts for maintainers run as they stand, with diffusers alone, and show what they say."""

import ast
import runpy
import shlex
from pathlib import Path

import pytest

from image_exps.league.verdicts import SCRIPTS, VERDICTS

FILES = sorted((Path(__file__).parents[1] / SCRIPTS).glob("*.py"))


@pytest.fixture
def printed(request, capsys):
    file = next(file for file in FILES if file.stem == request.param)
    if "DPMSolverSDE" in file.read_text(encoding="utf-8"):
        pytest.importorskip("torchsde", reason="DPMSolverSDEScheduler needs torchsde, of the extra k-diffusion")
    runpy.run_path(str(file), run_name="__main__")
    return capsys.readouterr().out.splitlines()


def test_every_verdict_has_its_script():
    assert {each.name for each in VERDICTS} == {file.stem for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_script_needs_torch_and_diffusers_alone_and_is_short(file):
    text = file.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    used = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    used |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert used <= {"torch", "diffusers", "math", "itertools", "inspect", "warnings"}
    assert len(text.splitlines()) <= 40
    assert f"python {SCRIPTS}/{shlex.quote(file.name)}" in ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("printed", ["ddim_linspace"], indirect=True)
def test_ddim_reaches_other_timesteps_than_it_lists_with_linspace(printed):
    steps = [tuple(map(int, line.split())) for line in printed[1:]]
    assert all(reached - listed == 11 for _, listed, reached in steps)


@pytest.mark.parametrize("printed", ["ipndm_ends"], indirect=True)
def test_ipndm_ends_at_1_29_times_the_data_in_10_steps_and_at_the_data_in_50(printed):
    assert "10 steps: ends at 1.291 y" in printed[1]
    assert "50 steps: ends at 1.000 y" in printed[-1]


@pytest.mark.parametrize("printed", ["pndm_half_steps"], indirect=True)
def test_pndm_leaves_its_levels_in_8_steps_and_keeps_them_in_10(printed):
    assert "at the listed level at every evaluation" in printed[0]
    assert "off its level from timestep 812 on" in printed[1]


@pytest.mark.parametrize("printed", ["dpm_solver_sde_generator"], indirect=True)
def test_dpm_solver_sde_draws_from_the_global_generator(printed):
    assert "generator" not in printed[0].partition("parameters")[2]
    assert float(printed[1].split()[-1]) > 1
    assert printed[2].endswith("True")
    assert printed[3].endswith("differ by 0")


@pytest.mark.parametrize("printed", ["dpm_solver_third_order"], indirect=True)
def test_the_third_order_update_is_exact_for_lines_and_not_for_parabolas(printed):
    rows = [list(map(float, line.split())) for line in printed[1:]]
    for h, constant, line, parabola, twice in rows:
        assert max(abs(constant), abs(line), abs(twice)) < 1e-7
        assert abs(parabola) > 0.1 * h**3
