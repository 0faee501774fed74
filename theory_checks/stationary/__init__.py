"""Claims S: the stationary measure of Eq. 7 in its three readings, and of discretised chains (Prop. 3)."""

from __future__ import annotations

from theory_checks.ledger.claim import Claim, Verdict
from theory_checks.ledger.family import Family

__all__ = ["FAMILY"]

_CLAIMS = (
    Claim(
        "S1",
        "Prop. 3 read literally: q_t is stationary for dX = M s dt + sqrt(2) M^(1/2) dB",
        source="Prop. 3, Eq. 7 (R), Ito reading",
        expected=Verdict.FAILS,
        check="theory_checks.stationary.stationary_measure:check_literal",
        formula=r"dX = M s\,dt + \sqrt{2}\,M^{1/2} dB \;\Rightarrow\; \rho_\infty = "
        r"\frac{q\,(\lambda + s^2)}{\lambda + E_q[s^2]} \ne q \quad (d = 1)",
        draw="theory_checks.stationary.stationary_measure:draw_literal",
        seconds=5,
        in_words="At damping 0.1 the dynamics end with {value:.0%} of the probability in the wrong place.",
    ),
    Claim(
        "S1b",
        "with its noise read as anti-Ito Eq. 7 has q_t stationary in d = 1; in d >= 2 neither Ito nor Stratonovich nor "
        "anti-Ito makes it so",
        source="ours; Prop. 3, Eq. 7 (R), other conventions",
        expected=Verdict.HOLDS,
        check="theory_checks.stationary.conventions:check_conventions",
        formula=r"d = 1:\; \rho_\infty \propto q\,M^{\theta - 1}, \quad \theta = 0, \tfrac12, 1; \qquad d \ge 2:\; "
        r"2\theta\,(\nabla\!\cdot\! M - M^{1/2}\,\nabla\!\cdot\! M^{1/2}) \ne \nabla\!\cdot\! M",
        draw="theory_checks.stationary.conventions:draw_conventions",
        seconds=3,
        in_words="What a step changes in the predicted law is {value:.0%} of the numerical error.",
    ),
    Claim(
        "S2",
        "Prop. 3 corrected: q_t is stationary once the drift is M s + div M",
        source="Prop. 3, Riemannian reading",
        expected=Verdict.CORRECTED,
        check="theory_checks.stationary.stationary_measure:check_corrected",
        formula=r"dX = (M s + \nabla\!\cdot\! M)\,dt + \sqrt{2}\,M^{1/2} dB \;\Rightarrow\; \rho_\infty = q",
        draw="theory_checks.stationary.stationary_measure:draw_corrected",
        seconds=10,
        in_words="With the missing drift the target is kept: what is left is {value:.0%} of the numerical error.",
    ),
    Claim(
        "S3",
        "the mirror reading: G = lambda I + s s^T is the Hessian of a mirror map",
        source="Prop. 3's proof (A.7), Remark 1",
        expected=Verdict.FAILS,
        check="theory_checks.stationary.mirror_map:check_mirror",
        formula=r"\partial_k G_{ij} - \partial_j G_{ik} = H_{ik} s_j - H_{ij} s_k \ne 0 \quad (d \ge 2)",
        draw="theory_checks.stationary.mirror_map:draw_mirror",
        seconds=1,
        in_words="Around a unit square the field circulates by {value:.2f}; a Hessian's would by zero.",
    ),
    Claim(
        "S4",
        "a discretised chain is biased at first order in its step, about its reading's own limit; adjusted, not at all",
        source="Eq. 7 (R) discretised; Sec. 3.3",
        expected=Verdict.HOLDS,
        check="theory_checks.stationary.discretisation:check_discretisation",
        formula=r"TV(\rho_h, \rho_0) = c\,h + o(h), \qquad \rho_0 = q \text{ (corrected, mirror)}, \quad "
        r"\rho_0 \propto q\,(\lambda + s^2) \text{ (literal)}",
        draw="theory_checks.stationary.discretisation:draw_discretisation",
        seconds=3,
        in_words="The order of the bias in the step is within {value:.2f} of one.",
    ),
    Claim(
        "S5",
        "read literally, Eq. 7 on N(0, v I) never explodes, and has a stationary law if and only if lambda v > d - 1",
        source="ours; Prop. 3, Eq. 7 (R), Ito reading",
        expected=Verdict.HOLDS,
        check="theory_checks.stationary.gaussian:check_existence",
        formula=r"p_\infty(r) \propto \left(\lambda + \tfrac{r^2}{v^2}\right) r^{d-1} "
        r"\exp\!\left(-\tfrac{r^2}{2v}\left(1 - \tfrac{d-1}{\lambda v}\right)\right)",
        draw="theory_checks.stationary.gaussian:draw_existence",
        seconds=5,
        in_words="{value:.0f} cases contradict the rule for when a stationary law exists.",
    ),
    Claim(
        "S6",
        "read literally, Eq. 7 on q_t of bounded data in d >= 2 has a stationary law if lambda sigma^2 > d - 1, and "
        "none if lambda sigma^2 < d - 1: none at any level of a variance-preserving schedule for lambda < d - 1",
        source="ours; Prop. 3, Eq. 7 (R), Ito reading",
        expected=Verdict.HOLDS,
        check="theory_checks.stationary.bounded_data:check_bounded_data",
        formula=r"L|x|^2 \to 2\left(\frac{d-1}{\lambda} - \sigma^2\right), \qquad L|x|^{-2b} \le 0 \;\;(|x| \ge R), "
        r"\qquad \frac{E|X_t|^2}{t} \to 2\left(\frac{d-1}{\lambda} - \sigma^2\right)",
        draw="theory_checks.stationary.bounded_data:draw_bounded_data",
        seconds=3,
        in_words="The certified margin is {value:.2f} times what the proof needs.",
    ),
)

FAMILY = Family(
    "stationary",
    title="Where Eq. 7 ends: Proposition 3",
    claims=_CLAIMS,
    faults=("theory_checks.stationary.faults", "theory_checks.stationary.faults_existence"),
    proofs=("theory_checks.stationary.proofs", "theory_checks.stationary.proofs_existence"),
)
