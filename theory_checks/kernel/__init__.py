"""Claims K: the direction of Algorithm 1, its precision, the published code, several past noises, damping."""

from __future__ import annotations

from theory_checks.ledger.claim import Claim, Verdict
from theory_checks.ledger.family import Family

__all__ = ["FAMILY"]

_CLAIMS = (
    Claim(
        "K1",
        "inverse, square root and determinant of the damped geometry are those of Sherman-Morrison",
        source="Eq. 8, Supp. A.3",
        expected=Verdict.HOLDS,
        check="theory_checks.kernel.direction:check_sherman_morrison",
        formula=r"(\lambda I + s s^\top)^{-1} = \frac{1}{\lambda}\left(I - \frac{s s^\top}{\lambda + |s|^2}\right), "
        r"\qquad \log\det(\lambda I + s s^\top) = (d-1)\log\lambda + \log(\lambda + |s|^2)",
        seconds=2,
        in_words="The inverse is off by at most {value:.0%} of what rounding allows.",
    ),
    Claim(
        "K2",
        "with kappa = 0 the normalised update is the identity, whatever lambda",
        source="Algorithm 1, steps 7 to 13",
        expected=Verdict.HOLDS,
        check="theory_checks.kernel.direction:check_identity",
        formula=r"\kappa = 0 \;\Rightarrow\; |\epsilon|\,\frac{(\lambda I + v v^\top)^{-1}\epsilon}"
        r"{|(\lambda I + v v^\top)^{-1}\epsilon|} = \epsilon",
        seconds=1,
        in_words="{value:.0f} bytes differ from the noise: at kappa = 0 the update changes nothing.",
    ),
    Claim(
        "K3",
        "LML is a norm-preserving linear-multistep extrapolation where lambda + kappa X + kappa^2 Q > 0, always at "
        "less than 90 degrees from eps",
        source="Algorithm 1 and Eq. 8, rearranged",
        expected=Verdict.HOLDS,
        check="theory_checks.kernel.direction:check_multistep_form",
        formula=r"(\lambda I + v v^\top)^{-1}\epsilon \;\parallel\; (\lambda + \kappa X + \kappa^2 Q)\,\epsilon - "
        r"\kappa (E + \kappa X)\,D \;\parallel\; \epsilon - \zeta\,p'",
        draw="theory_checks.kernel.direction:draw_multistep_form",
        seconds=4,
        in_words="{value:.0f} identities fail in exact arithmetic with fractions.",
    ),
    Claim(
        "K4",
        "the textbook expression has a relative error of u |eps|^2/lambda; in float32 it ends as rounding noise",
        source="Eq. 8 and Algorithm 1 in floating point",
        expected=Verdict.HOLDS,
        check="theory_checks.kernel.precision:check_precision",
        formula=r"\kappa = 0:\quad \frac{|\hat\epsilon_{\mathrm{lml}} - \epsilon|}{|\epsilon|} \approx "
        r"\sqrt{2 - 2/\sqrt{1+t^2}}, \qquad t \propto u\,\frac{|\epsilon|^2}{\lambda}",
        draw="theory_checks.kernel.precision:draw_precision",
        seconds=4,
        in_words="The rounding noise that is measured differs from its prediction by {value:.0%} of the "
        "prediction's error.",
    ),
    Claim(
        "K5",
        "the published implementation differs from Algorithm 1, and is its base at kappa = 0",
        source="the paper's published code, Algorithm 1",
        expected=Verdict.HOLDS,
        check="theory_checks.kernel.released_code:check_released",
        formula=r"x'_{\mathrm{alg}} - x'_{\mathrm{pub}} = -\frac{\alpha'\sigma}{\alpha}\,"
        r"(\epsilon_{\mathrm{lml}} - \epsilon)\quad\text{(DDIM)}",
        draw="theory_checks.kernel.released_code:draw_released",
        seconds=6,
        in_words="The two codes end at least {value:.0%} of LML's own move apart.",
    ),
    Claim(
        "K6",
        "with m past noises the direction is e minus a combination of their orthogonal parts, by an m x m system",
        source="beyond the paper: Supp. D.4 names the L-BFGS-like extension",
        expected=Verdict.HOLDS,
        check="theory_checks.kernel.rank:check_rank",
        formula=r"(\lambda I + V V^\top)^{-1}\epsilon \;\parallel\; \epsilon - \sum_j \zeta_j p'_j, \qquad "
        r"\zeta = \kappa |\epsilon|^2 (\lambda I + \kappa^2 W)^{-1} a",
        draw="theory_checks.kernel.rank:draw_rank",
        seconds=2,
        in_words="{value:.0f} cases in exact arithmetic where the small system and the full one differ.",
    ),
    Claim(
        "K7",
        "relative damping is free of dimension and scale: the turn depends on the geometry of two noises alone",
        source="beyond the paper: Supp. D.4 asks for better damping",
        expected=Verdict.HOLDS,
        check="theory_checks.kernel.damping:check_relative",
        formula=r"\tan\varphi = \frac{\kappa\,(1 + \kappa(\rho\cos\theta - 1))\,\rho\sin\theta}"
        r"{\lambda_{rel} + (\kappa\rho\sin\theta)^2}",
        draw="theory_checks.kernel.damping:draw_relative",
        seconds=1,
        in_words="The turn is off its closed form by at most {value:.1%} of what rounding allows.",
    ),
    Claim(
        "K8",
        "adaptive damping divides by the gain of the last change, at most one: it never turns further than relative",
        source="beyond the paper: Supp. D.4; Marquardt 1963, Nielsen 1999",
        expected=Verdict.HOLDS,
        check="theory_checks.kernel.damping:check_adaptive",
        formula=r"\lambda = \lambda_{rel}\,\frac{|\epsilon|^2}{\gamma}, \qquad \gamma = "
        r"\mathrm{clip}\,\frac{\langle\epsilon - p_1,\, p_1 - p_2\rangle}{|p_1 - p_2|^2}",
        draw="theory_checks.kernel.damping:draw_adaptive",
        seconds=1,
        in_words="The gain is off by at most {value:.0%} of what rounding allows.",
    ),
)

FAMILY = Family(
    "kernel",
    title="The direction of Algorithm 1",
    claims=_CLAIMS,
    faults=("theory_checks.kernel.faults",),
    proofs=("theory_checks.kernel.proofs",),
)
