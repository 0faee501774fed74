"""Limits of figures: an error over its bound has the limit 1, a count of failures 0; every other number is here, too.

So a limit that is loosened is loosened in two places.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: The limits that are numbers and neither 0 nor 1, by file.
OTHERS = {
    "image_exps/claims/solver_orders.py": ["0.5", "0.5"],
    "theory_checks/annealing/consistency.py": ["0.5"],
    "theory_checks/annealing/corrected_sde.py": ["4e-06"],
    "theory_checks/annealing/order.py": ["0.5"],
    "theory_checks/annealing/restored_norm.py": ["0.1", "0.5", "0.5"],
    "theory_checks/convergence/certified_gap.py": ["0.01"],
    "theory_checks/convergence/chi_squared_order.py": ["1e-13", "1e-13"],
    "theory_checks/convergence/decay.py": ["1 + 1e-06", "1 + 1e-09", "1 + 1e-09"],
    "theory_checks/convergence/divergences.py": ["1 + 1e-09"],
    "theory_checks/convergence/gaussian_gap_high_dimension.py": ["0.05", "4.2"],
    "theory_checks/convergence/varentropy.py": ["0.001 / 62"],
    "theory_checks/stationary/discretisation.py": ["0.25"],
}


def limits(file):
    """Return the limits that a file gives to figures, where they are made of numbers alone, and are not 0 or 1."""
    found = [
        ast.unparse(given.value)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Measured"
        for given in node.keywords
        if given.arg == "limit" and not any(isinstance(n, (ast.Name, ast.Call)) for n in ast.walk(given.value))
    ]
    return sorted(limit for limit in found if limit not in ("0", "1", "1.0"))


def test_a_limit_is_one_zero_or_stated():
    files = [*(ROOT / "theory_checks").rglob("*.py"), *(ROOT / "image_exps/claims").rglob("*.py")]
    assert {str(file.relative_to(ROOT)): found for file in files if (found := limits(file))} == OTHERS


def test_limits_are_seen(tmp_path):
    file = tmp_path / "claims.py"
    file.write_text('Measured("a", x, limit=2, basis="y"), Measured("b", x, limit=LEVEL), Measured("c", 0.0, limit=-1)')
    assert limits(file) == ["-1", "2"]
