"""From a folder of generated pictures to scores with intervals, and to what outside benchmarks read."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from image_exps.evaluation.folder import Generated, open_generated
    from image_exps.evaluation.results import Result, read_results, write_results
    from image_exps.evaluation.scores import Score, find_scores, mean_score

__all__ = ["Generated", "Result", "Score", "find_scores", "mean_score", "open_generated", "read_results",
           "write_results"]  # fmt: skip

_MODULES = {
    **dict.fromkeys(("Generated", "open_generated"), ".folder"),
    **dict.fromkeys(("Result", "read_results", "write_results"), ".results"),
    **dict.fromkeys(("Score", "find_scores", "mean_score"), ".scores"),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is used: help of the commands needs the package's constants, and no torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
