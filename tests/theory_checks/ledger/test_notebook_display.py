import io

import pytest
from PIL import Image

from theory_checks.ledger.claim import Finding, Measured, Verdict
from theory_checks.ledger.notebook_display import Picture, Verdicts
from theory_checks.ledger.plotting import panels


def finding(verdict, value=0.5):
    return Finding(verdict, (Measured("error of |a_b|", value, limit=1),), "one reading", methods=("one", "two"))


def test_a_picture_is_the_same_png_every_time():
    def drawn():
        figure, (axis,) = panels(1)
        axis.plot([0, 1], [1, 0])
        return Picture(figure, "a line")._repr_png_()

    assert drawn() == drawn()
    with Image.open(io.BytesIO(drawn())) as image:
        assert image.size == (385, 297)  # 3.5 by 2.7 inches at 110 dots
        assert len(image.convert("RGB").getcolors()) > 2


def test_verdicts_show_each_claim_with_its_decisive_figure():
    shown = Verdicts(K1=finding(Verdict.HOLDS), S1=finding(Verdict.FAILS, 3.0))
    assert repr(shown).splitlines() == [
        "K1: HOLDS. error of |a_b|: 0.5 (limit 1)",
        "S1: FAILS. error of |a_b|: 3 (limit 1)",
    ]
    assert shown._repr_markdown_().splitlines()[2] == r"| K1 | HOLDS | error of \|a\_b\| | 0.5 (limit 1) | 2 |"


def test_no_verdict_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one claim"):
        Verdicts()
