"""The commands of `image_exps`, run in this process."""

from click.testing import CliRunner

from image_exps.__main__ import main

__all__ = ["call"]


def call(*words):
    """Run ``python -m image_exps`` with these words, which become text; what it raises is raised here."""
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
