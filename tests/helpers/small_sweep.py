"""A sweep of six cells in the plane, and its rows without what a run says of itself."""

from image_exps.sweeps.grid import parse_grid
from image_exps.sweeps.store import read_results

__all__ = ["PART", "TIMES", "TOML", "figures", "grid"]

PART = {
    "targets": ["ring-2d"],
    "arms": ["ddim", "ddim/noise", "unipc-3/lml"],
    "evaluations": [5, 6],
    "count": 300,
    "distances": ["frechet", "endpoint-rmse"],
    "repeats": 20,
}
# What a run says of itself; all else is the same to the bit.
TIMES = ["seconds", "sampling_seconds", "distance_seconds", "revision", "source"]
TOML = f"""
name = "small"
[[part]]
{chr(10).join(f"{key} = {value!r}" for key, value in PART.items())}
""".replace("'", '"')


def grid(**part):
    return parse_grid({"name": "small", "part": [PART | part]})


def figures(path):
    frame = read_results(path).drop(columns=TIMES, errors="ignore")  # a results file has no times
    return frame.sort_values(["key", "distance"]).reset_index(drop=True)
