"""The claims on quality (Q) and cost (T)."""

from __future__ import annotations

from theory_checks.ledger.claim import Claim, Verdict
from theory_checks.ledger.family import Family

__all__ = ["FAMILY"]

_CLAIMS = (
    Claim(
        "Q1",
        "with an exact score LML brings DDIM nearer to the endpoint of the flow, in 5, 10 and 20 steps",
        source="Sec. 4 of the paper, asked of an exact score",
        expected=Verdict.HOLDS,
        check="image_exps.claims.quality:check_gain",
        formula=r"E\,|x_{ddim} - x_{flow}| > E\,|x_{lml} - x_{flow}|",
        draw="image_exps.claims.quality:draw_pictures",
        seconds=10,
    ),
    Claim(
        "Q2",
        "that gain is the extrapolation's, and neither its norm's nor that of noise of the same size",
        source="control of the quality claims",
        expected=Verdict.CORRECTED,
        check="image_exps.claims.quality:check_attribution",
        formula=r"\epsilon + \eta\,(\epsilon - \epsilon_{prev}) \quad\text{against}\quad "
        r"|\epsilon|\,\frac{\epsilon + \eta\,(\epsilon - \epsilon_{prev})}"
        r"{|\epsilon + \eta\,(\epsilon - \epsilon_{prev})|}",
        draw="image_exps.claims.quality:draw_attribution",
        seconds=6,
    ),
    Claim(
        "Q3",
        "at kappa = 0 the released code adds rounding noise and nothing else: float32 ends worse, as noise does",
        source="the paper's published code and commands; claims K4 and K5",
        expected=Verdict.HOLDS,
        check="image_exps.claims.released:check_released_quality",
        formula=r"\kappa = 0:\quad E\,|x_{\mathrm{f32}} - x_{\mathrm{flow}}| > "
        r"E\,|x_{\mathrm{ddim}} - x_{\mathrm{flow}}| = E\,|x_{\mathrm{f64}} - x_{\mathrm{flow}}|",
        draw="image_exps.claims.released:draw_released_quality",
        seconds=14,
    ),
    Claim(
        "Q4",
        "with an imperfect score, too, LML brings DDIM nearer to where the flow ends, in 10 steps",
        source="Sec. 4 of the paper, whose scores are trained networks",
        expected=Verdict.CORRECTED,
        check="image_exps.claims.imperfect:check_imperfect",
        formula=r"E\,|x_{ddim}(\hat\epsilon) - x_{flow}| > E\,|x_{lml}(\hat\epsilon) - x_{flow}|,\qquad "
        r"|\hat\epsilon - \epsilon| \le 0.1\,|\epsilon|",
        draw="image_exps.claims.imperfect:draw_imperfect",
        seconds=14,
    ),
    Claim(
        "T1",
        "LML adds at most 0.5 % of a network evaluation to a step, at the size of SD 1.5 and batch 1",
        source="Sec. 5.4 and Table 5",
        expected=Verdict.HOLDS,
        check="image_exps.claims.cost:check_cost",
        formula=r"\frac{t_{LML} - t_{base}}{t_{network}} \le 0.005",
        seconds=6,
    ),
)

FAMILY = Family(
    "pictures",
    claims=_CLAIMS,
    faults=("image_exps.claims.faults",),
)
