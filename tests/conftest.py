"""What all tests share: what they need from outside is looked for in one place, and fits are kept in the repository."""

import os
from pathlib import Path

import pytest

from toy.outside import missing

ROOT = Path(__file__).parents[1]


def pytest_configure(config):
    # Not in the home folder: what an earlier version, or another copy, left there is no part of this one.
    os.environ.setdefault("LML_CACHE", str(ROOT / "out/cache/fits"))


def pytest_runtest_setup(item):
    for mark in item.iter_markers("outside"):
        for name in mark.args:
            if sentence := missing(name):
                pytest.skip(sentence)
