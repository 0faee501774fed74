"""Claims C: how fast the dynamics of Eq. 7 converge, and in which distances (Prop. 4, Remark 2)."""

from __future__ import annotations

from theory_checks.ledger.claim import Claim, Verdict
from theory_checks.ledger.family import Family

__all__ = ["FAMILY"]

_CLAIMS = (
    Claim(
        "C1",
        "Prop. 4 corrected: chi-squared to q_t decays exponentially, at twice the spectral gap",
        source="Prop. 4, A.8, with the drift of S2",
        expected=Verdict.CORRECTED,
        check="theory_checks.convergence.decay:check_decay",
        formula=r"\chi^2(\rho_t|q) \le e^{-2t/C}\,\chi^2(\rho_0|q), \qquad \frac1C = \inf_f "
        r"\frac{E_q\langle\nabla f, M\nabla f\rangle}{\mathrm{Var}_q f}",
        draw="theory_checks.convergence.decay:draw_decay",
        seconds=5,
        in_words="Chi-squared is never above {value:.3f} times its bound.",
    ),
    Claim(
        "C1c",
        "the spectral gap of the corrected dynamics, enclosed with a proof of both ends",
        source="ours; the constant of Prop. 4",
        expected=Verdict.HOLDS,
        check="theory_checks.convergence.certified_gap:check_certified_gap",
        formula=r"\inf_x \frac{-(p' + p^2 + s p + s')}{\lambda + s^2} \;\le\; \frac1C \;\le\; "
        r"\frac{E_q[M f'^2]}{\mathrm{Var}_q f}",
        draw="theory_checks.convergence.certified_gap:draw_certified_gap",
        seconds=2,
        in_words="For two Gaussians the gap lies between {low:.5f} and {high:.5f}: both ends are proven.",
    ),
    Claim(
        "C2",
        "Remark 2: the decay of chi-squared brings total variation, Hellinger and KL with it",
        source="Remark 2, with the drift of S2",
        expected=Verdict.CORRECTED,
        check="theory_checks.convergence.divergences:check_divergences",
        formula=r"TV \le \tfrac12 \sqrt{\chi_0^2}\,e^{-gt}, \quad H \le \sqrt{\chi_0^2/2}\,e^{-gt}, \quad "
        r"KL \le \log(1 + \chi_0^2 e^{-2gt})",
        draw="theory_checks.convergence.divergences:draw_divergences",
        seconds=1,
        in_words="In a quarter of the time 1/gap each distance falls to {value:.0%} or less.",
    ),
    Claim(
        "C3",
        "in one clock the gap of the damped dynamics never exceeds that of plain Langevin, nor does the gap times the "
        "step that is stable at a mode",
        source="Sec. 4.2.2 against Eq. 1",
        expected=Verdict.HOLDS,
        check="theory_checks.convergence.against_langevin:check_against_langevin",
        formula=r"\lambda M \preceq I \;\Rightarrow\; \mathrm{gap}(\lambda M) \le \mathrm{gap}(I)",
        draw="theory_checks.convergence.against_langevin:draw_against_langevin",
        seconds=7,
        in_words="No gap exceeds Langevin's: the largest excess is {value:.0%} of the numerical error.",
    ),
    Claim(
        "C4",
        "a ceiling: the gap of the corrected dynamics never exceeds 1/4, whatever target and damping",
        source="ours; on Prop. 4",
        expected=Verdict.HOLDS,
        check="theory_checks.convergence.gap_ceiling:check_ceiling",
        formula=r"\mathrm{gap}(M) \le \lim_{a\to 1/2} \frac{a^2 \int q^{1-2a}}{\int q^{1-2a} - (\int q^{1-a})^2} = "
        r"\frac14",
        draw="theory_checks.convergence.gap_ceiling:draw_ceiling",
        seconds=4,
        in_words="No gap exceeds 1/4 by more than {value:.0%} of its numerical error.",
    ),
    Claim(
        "C5",
        "Remark 2: exponential convergence in Wasserstein distance, under a log-Sobolev inequality",
        source="Remark 2, with the drift of S2",
        expected=Verdict.CORRECTED,
        check="theory_checks.convergence.log_sobolev:check_log_sobolev",
        formula=r"C \ge \frac{2\,KL(\rho_a|q)}{a^2} \to \infty, \quad \rho_a \propto q^{1-a}; \qquad "
        r"W_2^2 \le 2 C_E \log(1 + \chi_0^2 e^{-2gt}), \quad W_2^2 \le 2 \sqrt{E_q|x|^4 \chi_0^2}\,e^{-gt}",
        draw="theory_checks.convergence.log_sobolev:draw_log_sobolev",
        seconds=1,
        in_words="The log-Sobolev constant is at least {value:.2f} d/(1 - a), for a as near to one as one likes.",
    ),
    Claim(
        "C6",
        "for N(0, v) in one dimension the gap is (lambda v - 1)/(lambda v)^2 above lambda v = 2, and 1/4 below",
        source="ours; on Prop. 4",
        expected=Verdict.HOLDS,
        check="theory_checks.convergence.gaussian_gap:check_gaussian",
        formula=r"\mathrm{gap}(M) = \frac{\lambda v - 1}{(\lambda v)^2}\ (\lambda v > 2), \qquad \frac14\ (\lambda v "
        r"\le 2); "
        r"\qquad f = x\,e^{x^2/(2\lambda v^2)}",
        draw="theory_checks.convergence.gaussian_gap:draw_gaussian",
        seconds=3,
        in_words="Finite elements and closed form differ by at most {value:.0%} of the numerical error.",
    ),
    Claim(
        "C7",
        "the gap is at most 1/Var(log q), a bound of order 1/d for Gaussians, whose gap is C8's, and for the pictures "
        "measured",
        source="ours; on Prop. 4",
        expected=Verdict.HOLDS,
        check="theory_checks.convergence.varentropy:check_varentropy",
        formula=r"\mathrm{gap}(M) \le \frac{E_q[|s|^2/(\lambda+|s|^2)]}{\mathrm{Var}_q(\log q)} \le "
        r"\frac{1}{\mathrm{Var}_q(\log q)}",
        draw="theory_checks.convergence.varentropy:draw_varentropy",
        seconds=12,
        in_words="The gap reaches {value:.0%} of its bound and never exceeds it.",
    ),
    Claim(
        "C8",
        "for N(0, v I) in d >= 2 dimensions the gap is 2 a - 4 a^2 with an explicit a: 2/(lambda v + d) up to 1/d "
        "below lambda v = d + 1, (lambda v - 1)/(lambda v)^2 above",
        source="ours; on Prop. 4",
        expected=Verdict.HOLDS,
        check="theory_checks.convergence.gaussian_gap_high_dimension:check_high_dimension",
        formula=r"\mathrm{gap}(M) = 2a - 4a^2, \quad 2La^2 - (L + d + 2)\,a + 1 = 0\ (L \le d + 1), \quad a = "
        r"\frac{1}{2L}\ (L \ge d + 1), \quad L = \lambda v",
        draw="theory_checks.convergence.gaussian_gap_high_dimension:draw_high_dimension",
        seconds=2,
        in_words="Two computations of the gap differ by at most {value:.0%} of their error.",
    ),
    Claim(
        "C9",
        "M = (E_q F)^-1, constant, keeps q without a divergence; its gap is 1 for every Gaussian, and less for every "
        "other density",
        source="ours; on Sec. 4.2 and H4",
        expected=Verdict.HOLDS,
        check="theory_checks.convergence.constant_metric:check_constant_metric",
        formula=r"M = (E_q[s s^\top])^{-1} = (E_q F)^{-1}, \qquad m \le \mathrm{gap} \le "
        r"\frac{1}{\lambda_{\max}(C^{1/2} E_q[F]\,C^{1/2})} \le 1",
        draw="theory_checks.convergence.constant_metric:draw_constant_metric",
        seconds=4,
        in_words="The gap reaches {value:.1%} of its bound and never exceeds it.",
    ),
    Claim(
        "C10",
        "lambda M <= I orders the gap, the dissipation and the time integral of chi-squared against Langevin's, but "
        "not chi-squared at a given time",
        source="ours; on Sec. 4.2.2",
        expected=Verdict.HOLDS,
        check="theory_checks.convergence.chi_squared_order:check_order",
        formula=r"A \preceq B \;\Rightarrow\; \langle f, A^{-1} f\rangle \ge \langle f, B^{-1} f\rangle, \qquad "
        r"A \preceq B \;\not\Rightarrow\; \langle f, e^{-2tA} f\rangle \ge \langle f, e^{-2tB} f\rangle",
        draw="theory_checks.convergence.chi_squared_order:draw_order",
        seconds=1,
        in_words="A proven example with three states: the slower dynamics has chi-squared {value:.3g}, and the "
        "faster one more.",
    ),
)

FAMILY = Family(
    "convergence",
    title="How fast it converges: Proposition 4 and Remark 2",
    claims=_CLAIMS,
    faults=("theory_checks.convergence.faults", "theory_checks.convergence.faults_gaussian"),
    proofs=("theory_checks.convergence.proofs", "theory_checks.convergence.proofs_gaussian"),
)
