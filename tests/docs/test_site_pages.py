"""What the site makes of claims, docstrings, formulas and notebooks."""

import inspect
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="needs the extra docs")
sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_extensions"))
import attributes
import companions
import gallery
import ledger

from theory_checks.ledger.family import find_claims


def test_a_heading_has_letters_powers_and_indices_as_in_print():
    assert ledger.heading("q_t at kappa = 0, |eps|^2 >= 2") == "q{sub}`t` at κ = 0, \\|ε\\|{sup}`2` ≥ 2"


def test_a_heading_keeps_what_markdown_would_take_for_marks():
    assert ledger.heading("a * of_b < [c]") == "a \\* of\\_b \\< \\[c\\]"


def test_prose_keeps_code_and_nothing_else_has_marks():
    assert ledger.prose("``a_b * c`` in place of `d_e`, *not* <f>") == (
        "``a_b * c`` in place of `d_e`, \\*not\\* \\<f\\>"
    )


@pytest.mark.parametrize(("raised", "least"), [("", 226), ("<use transform='translate(0 3) scale(0.5)'/>", 451)])
def test_a_picture_is_as_wide_as_its_smallest_letters_ask(raised, least):
    # Letters of 8 points are 6 pixels at 6/8 of the 300 points' width, and 1 for the rounding; indices of 4 at twice.
    letters = f'<g transform="translate(1 2) scale(0.08 -0.08)"><use href="#a"/>{raised}</g>'.replace("'", '"')
    made = ledger._readable(f'<p><svg width="300pt" viewBox="0 0 300 9">{letters}</svg></p>')
    assert made.startswith(f'<p><svg style="min-width: {least}px" width="300pt"')


def test_small_indices_of_large_letters_do_not_make_the_smallest_letters_smaller():
    # Letters of 8 points, and indices of 10 points at seven tenths: 7 points ask for 6/7 of the width.
    index = '<use transform="translate(0 3) scale(0.7)"/>'
    texts = [
        f'<g transform="translate(1 2) scale({s} -{s})"><use/>{raised}</g>' for s, raised in ((0.08, ""), (0.1, index))
    ]
    made = ledger._readable(f'<svg width="300pt" viewBox="0 0 300 9">{"".join(texts)}</svg>')
    assert made.startswith('<svg style="min-width: 258px" width="300pt"')


def test_a_drawing_without_letters_is_left_alone():
    assert ledger._readable('<svg width="300pt"><path/></svg>') == '<svg width="300pt"><path/></svg>'


def test_a_text_names_claims_also_within_a_range():
    assert companions.named("claims S1 to S3, C1c and X9, float32 and d2") == {"S1", "S1b", "S2", "S3", "C1c"}


def test_notebooks_come_in_their_reading_order_with_their_claims():
    found = companions.notebooks()
    assert list(found)[: len(companions.READING_ORDER)] == list(companions.READING_ORDER)
    assert set(found) == {path.stem for path in companions.NOTEBOOKS.glob("*.ipynb")}
    assert {"S1", "S2"} <= found["stationary_measure"][1]


def test_a_claim_leads_to_notebook_referee_and_code():
    (claim,) = [claim for claim in find_claims() if claim.id == "S1"]
    line = companions.see_also(claim)
    assert "(../notebooks/stationary_measure.ipynb)" in line
    assert "(../../examples/referee/S1.py)" in line
    assert "{py:obj}`theory_checks.stationary" in line


def test_a_caption_has_links_to_its_claims_and_its_command_as_code():
    assert gallery._text("As K3 says; W2. Command: python -m x --seed 0") == (
        "As [K3](ledger/K3.md) says; W2. Command: `python -m x --seed 0`"
    )


def test_the_words_for_a_picture_are_its_first_sentence_and_not_cut_at_an_abbreviation():
    assert gallery._words("Eq. 7 as of Prop. 3 (a). Then more.") == "Eq. 7 as of Prop. 3 (a)"


def test_a_notebooks_pictures_are_described_by_their_own_words():
    outputs = [{"data": {"image/png": "", "text/plain": ["Picture: two ", "modes"]}}]
    cells = [{"metadata": {}, "outputs": outputs}, {"metadata": {}}]
    shown = json.loads(gallery._described(json.dumps({"cells": cells})))
    assert [cell["metadata"] for cell in shown["cells"]] == [{"mystnb": {"image": {"alt": "two modes"}}}, {}]


@pytest.mark.parametrize(
    ("what", "written", "kept"),
    [
        ("data", ["The bases by name: of first order."], True),
        ("property", ["Where: module and function."], True),
        ("property", ["The rank.", "", "Raises:", "    ValueError: never."], False),
        ("method", ["Where: module and function."], False),
    ],
)
def test_a_colon_in_a_sentence_is_no_type(what, written, kept):
    keeper, lines = attributes.Keeper(), list(written)
    keeper.keep(None, what, "x", object(), None, lines)
    lines[:] = ["what napoleon made of it"]
    keeper.restore(None, what, "x", object(), None, lines)
    assert lines == (written if kept else ["what napoleon made of it"])


def test_a_value_is_not_described_by_its_class():
    value = Path()
    lines = str(inspect.getdoc(type(value))).splitlines()
    attributes.Keeper().keep(None, "data", "x", value, None, lines)
    assert lines == []
