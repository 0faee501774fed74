"""A sweep of your own: samplers with and without LML on one target, with intervals, resumed where it was stopped.

python examples/sweep_of_your_own.py
"""

from pathlib import Path

from image_exps.sweeps.grid import parse_grid
from image_exps.sweeps.run import run_sweep
from image_exps.sweeps.store import read_results
from image_exps.sweeps.tables import quality_table

GRID = {
    "name": "mine",
    "repeats": 100,
    "part": [
        {
            "targets": ["ring-2d"],
            "arms": ["ddim", "ddim/lml", "ddim/noise", "unipc-3"],
            "evaluations": [5, 10],
            "count": 256,
            "distances": ["frechet", "endpoint-rmse"],
        }
    ],
}

if __name__ == "__main__":  # worker processes import this file
    done = run_sweep(parse_grid(GRID), Path("out/sweep-mine"), workers=1)
    print(f"{done.computed} cells computed, {done.kept} were there\n")
    print(quality_table(read_results(done.results), target="ring-2d", distance="endpoint-rmse").to_markdown())
