"""Any text reaches any terminal: what it cannot encode is spelled out."""

import io
import os
import subprocess
import sys

import pytest

from theory_checks.command_line.readable import readable_output, spelled_out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("λ = 0.1 ± 0.02", "lambda = 0.1 +/- 0.02"),
        ("|ε|² ≤ 1 – √2", "|eps|^2 <= 1 - sqrt2"),
        ("naïve Fréchet…", "naive Frechet..."),
        ("plain", "plain"),
        ("狐", r"\u72d0"),
        ("a\udcff", r"a\udcff"),
    ],
)
def test_what_ascii_does_not_have_is_spelled_out(text, expected):
    assert spelled_out(text) == expected


@pytest.mark.parametrize(
    ("encoding", "expected"), [("ascii", "eps +/- \\udcff"), ("latin-1", "eps ± \\udcff"), ("utf-8", "ε ± \\udcff")]
)
def test_each_encoding_keeps_what_it_has(encoding, expected, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    readable_output()
    sys.stdout.write("ε ± \udcff")
    sys.stdout.flush()
    assert written.getvalue().decode(encoding) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "image_exps", "--help"),
        ("-m", "image_exps", "sample", "--help"),
        ("-m", "image_exps", "models"),
        ("-m", "image_exps", "sweep", "no-λ-such"),
        ("-m", "paper_figures", "--list"),
        ("-m", "paper_figures", "Fréchet"),
    ],
    ids=" ".join,
)
def test_a_terminal_of_ascii_alone_is_served(arguments):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
    assert b"UnicodeEncodeError" not in done.stderr
    assert done.returncode in (0, 2)
