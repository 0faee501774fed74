"""From a folder of generated pictures to scores with intervals, and to what outside benchmarks read."""

from image_exps.evaluation.folder import Generated, open_generated
from image_exps.evaluation.results import Result, read_results, write_results
from image_exps.evaluation.scores import Score, find_scores, mean_score

__all__ = ["Generated", "Result", "Score", "find_scores", "mean_score", "open_generated", "read_results",
           "write_results"]  # fmt: skip
