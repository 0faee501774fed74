"""Claims A: the reverse-time flows of Eqs. 9 and 10, and what Algorithm 1 tends to as its steps shrink."""

from __future__ import annotations

from theory_checks.ledger.claim import Claim, Verdict
from theory_checks.ledger.family import Family

__all__ = ["FAMILY"]

_CLAIMS = (
    Claim(
        "A1",
        "Eqs. 9 and 10 share their single-time marginals",
        source="Sec. 3.3, Eqs. 9 and 10 (R), Supp. A.5",
        expected=Verdict.FAILS,
        check="theory_checks.annealing.marginals:check_marginals",
        formula=r"\rho = q \;\Rightarrow\; \partial_v \rho_{(9)} - \partial_v \rho_{(10)} = \tfrac12 (N' q)' \ne 0, "
        r"\qquad N = \lambda M",
        draw="theory_checks.annealing.marginals:draw_marginals",
        seconds=5,
        in_words="At damping 0.001 the two equations end {value:.1%} of the probability apart.",
    ),
    Claim(
        "A2",
        "Eq. 9 or Eq. 10 as it stands transports the noise to the data; with the norm of step 13 Eq. 10 is the "
        "probability flow, which does",
        source="Sec. 3.3 and 3.4, Eqs. 9 and 10 (R)",
        expected=Verdict.FAILS,
        check="theory_checks.annealing.marginals:check_data",
        formula=r"M s = \frac{s}{\lambda + |s|^2}: \quad \text{Eq. 10 shrinks the score, Algorithm 1 restores it}",
        draw="theory_checks.annealing.marginals:draw_data",
        seconds=5,
        in_words="At damping 0.001 Eq. 9 ends with {value:.0%} of the probability in the wrong place.",
    ),
    Claim(
        "A3",
        "at a fixed strength eta0 LML tends to its base solver's limit as the step shrinks, at first order whatever "
        "the base's order",
        source="Sec. 3.3; Algorithm 1",
        expected=Verdict.HOLDS,
        check="theory_checks.annealing.order:check_order",
        formula=r"\epsilon_{lml} = \epsilon + \eta_0 h\,P_\perp \dot\epsilon + O(h^2), "
        r"\qquad x_h = x + h\,\delta + O(h^2)",
        draw="theory_checks.annealing.order:draw_order",
        seconds=5,
        in_words="LML's error is its predicted term of first order, within {value:.0%} of the refinement error.",
    ),
    Claim(
        "A4",
        "with the drift f X - (g^2/2) (s + M s + div M) the SDE of Eq. 9 has the marginals q_t, for every damping",
        source="ours: the smallest change of Eq. 9",
        expected=Verdict.HOLDS,
        check="theory_checks.annealing.corrected_sde:check_corrected_sde",
        formula=r"dX = \left[f X - \frac{g^2}{2}\,(s + M s + \nabla\!\cdot\! M)\right] dt + g\,M^{1/2} dB "
        r"\;\Rightarrow\; \rho_t = q_t",
        draw="theory_checks.annealing.corrected_sde:draw_corrected_sde",
        seconds=7,
        in_words="The repaired equation ends at the data, within {value:.0%} of the numerical error.",
    ),
    Claim(
        "A5",
        "with the norm extrapolated as the direction is, by eta = h_i/(2 h_(i-1)), DDIM with LML is of second order; p "
        "past noises under that rule give order min(p, 2)",
        source="ours; Algorithm 1, step 13",
        expected=Verdict.HOLDS,
        check="theory_checks.annealing.restored_norm:check_restored_norm",
        formula=r"\left(|\epsilon| + \eta\,(|\epsilon| - |\epsilon_{prev}|)\right) "
        r"\frac{\epsilon + \eta\,(\epsilon - \epsilon_{prev})}{|\epsilon + \eta\,(\epsilon - \epsilon_{prev})|}, "
        r"\qquad \eta = \frac{h_i}{2\,h_{i-1}}",
        draw="theory_checks.annealing.restored_norm:draw_restored_norm",
        seconds=3,
        in_words="The observed order is two, within {value:.0%} of the refinement error.",
    ),
    Claim(
        "A6",
        "DDIM with LML tends to the probability flow if and only if eta0(n)/n -> 0; at lambda ~ 1/n and fixed kappa, "
        "as in Table 6, it does not",
        source="ours; Algorithm 1, Table 6",
        expected=Verdict.HOLDS,
        check="theory_checks.annealing.consistency:check_consistency",
        formula=r"\frac{\eta_n}{n} \to 0 \;\Leftrightarrow\; x^{(n)} \to x; \qquad h\,\eta_n \to \tau:\; \epsilon "
        r"\mapsto |\epsilon|\,\frac{\epsilon + \tau P_\perp \dot\epsilon}{|\epsilon + \tau P_\perp \dot\epsilon|}",
        draw="theory_checks.annealing.consistency:draw_consistency",
        seconds=2,
        in_words="The observed order is one, within {value:.1%} of the refinement error.",
    ),
    Claim(
        "A7",
        "extrapolating the noise by eta narrows DDIM's interval of stability from 2 to 2/(1 + 2 eta); LML's is that "
        "across the noise and DDIM's along it, and guidance uses it up",
        source="ours; Algorithm 1",
        expected=Verdict.HOLDS,
        check="theory_checks.annealing.stability:check_stability",
        formula=r"0 < (1 - e^{-h})\,\mu\,(1 + \eta + \eta\,e^{-h}) < 2 \;\to\; |h\mu| < \frac{2}{1 + 2\eta}",
        draw="theory_checks.annealing.stability:draw_stability",
        seconds=2,
        in_words="Runs follow the predicted recurrence, within {value:.0%} of what rounding allows.",
    ),
)

FAMILY = Family(
    "annealing",
    title="From noise to data: Eqs. 9 and 10, and few steps",
    claims=_CLAIMS,
    faults=("theory_checks.annealing.faults", "theory_checks.annealing.faults_steps"),
    proofs=("theory_checks.annealing.proofs", "theory_checks.annealing.proofs_steps"),
)
