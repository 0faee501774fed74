import pytest

from theory_checks.ledger.family import find_claims
from theory_checks.ledger.typeset import typeset


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("u |eps|^2/lambda", "u |ε|<sup>2</sup>/λ"),
        ("q_t and E_q[L f]", "q<sub>t</sub> and E<sub>q</sub>[L f]"),
        ("M^(1/2), M^{-1}, s s^T", "M<sup>1/2</sup>, M<sup>-1</sup>, s s<sup>T</sup>"),
        ("a -> 1/2, |x| <= 1, +-0.05", "a → 1/2, |x| ≤ 1, ±0.05"),
        ("dpm-solver++-3m@log-snr", "dpm-solver++-3m@log-snr"),
        ("eta0 = kappa/lambda", "η<sub>0</sub> = κ/λ"),
    ],
)
def test_formulas_are_set_as_in_print(text: str, html: str) -> None:
    assert str(typeset(text)) == html


@pytest.mark.parametrize(
    "text", ["see _flux_error", "lml.damping", "lambda_min", "theory_checks.kernel.direction", "grade"]
)
def test_names_of_code_and_words_stay_as_they_are(text: str) -> None:
    assert str(typeset(text)) == text


def test_markup_in_a_text_is_shown_not_interpreted() -> None:
    assert str(typeset("<b>q</b> & 'x'")) == "&lt;b&gt;q&lt;/b&gt; &amp; &#39;x&#39;"


def test_every_published_statement_can_be_set() -> None:
    for claim in find_claims():
        assert "^" not in typeset(claim.statement)
