"""Claims H: the diffusion Hessian, its outer-product approximation and the bound on the error (Props. 1 and 2)."""

from __future__ import annotations

from theory_checks.ledger.claim import Claim, Verdict
from theory_checks.ledger.family import Family

__all__ = ["FAMILY"]

_CLAIMS = (
    Claim(
        "H1",
        "the diffusion Hessian is s s^T minus hess(q)/q",
        source="Prop. 1, Eqs. 13 to 16 (R)",
        expected=Verdict.HOLDS,
        check="theory_checks.hessian.identities:check_residual",
        formula=r"F = -\nabla^2 \log q_t = s s^\top - \frac{\nabla^2 q_t}{q_t}",
        seconds=6,
        in_words="The two sides differ by at most {value:.0%} of what rounding allows.",
    ),
    Claim(
        "H2",
        "the diffusion Hessian is the posterior covariance of the data, rescaled",
        source="Supp. A.6, second-order Tweedie",
        expected=Verdict.HOLDS,
        check="theory_checks.hessian.identities:check_tweedie",
        formula=r"F = \frac{I}{\sigma_t^2} - \frac{\alpha_t^2}{\sigma_t^4}\,\mathrm{Cov}(y \mid x)",
        seconds=10,
        in_words="The two sides differ by at most {value:.0%} of what rounding allows.",
    ),
    Claim(
        "H3",
        "Prop. 2: the HS error of the rank-one Hessian stays below its bound",
        source="Prop. 2 (R)",
        expected=Verdict.HOLDS,
        check="theory_checks.hessian.error_bound:check_error_bound",
        formula=r"|F - s_\theta s_\theta^\top|_{HS} \le \frac{1}{\sigma_t^2}\left[\sqrt{d} + R^2 + "
        r"\frac{\alpha_t^2 D_y^2}{2\sigma_t^2} + 2R\delta + \delta^2\right]",
        draw="theory_checks.hessian.error_bound:draw_error_bound",
        seconds=12,
        in_words="The error reaches {value:.1%} of the bound and never exceeds it.",
    ),
    Claim(
        "H3c",
        "Prop. 2 proven on a box of x and log-SNR, with the room that it leaves",
        source="Prop. 2 (R), ours",
        expected=Verdict.HOLDS,
        check="theory_checks.hessian.certified_bound:check_certified_bound",
        formula=r"\sqrt{d} + R^2 + \frac{\alpha^2 D_y^2}{2\sigma^2} - \sigma^2 |F - s s^\top|_{HS} \ge "
        r"\frac{\alpha^2 D_y^2}{2 \sigma^2}\sum_i r_i^2 > 0",
        draw="theory_checks.hessian.certified_bound:draw_certified_bound",
        seconds=3,
        in_words="Below the bound at least {low:.2g} of room is left, proven on the whole box.",
    ),
    Claim(
        "H4",
        "on average over q_t the outer product of the score is the Hessian (Bartlett)",
        source="consequence of H1",
        expected=Verdict.HOLDS,
        check="theory_checks.hessian.identities:check_bartlett",
        formula=r"E_{q_t}[s s^\top] = E_{q_t}[F]",
        draw="theory_checks.hessian.identities:draw_bartlett",
        seconds=15,
        in_words="The two averages differ by {value:.0%} of their numerical error.",
    ),
    Claim(
        "H5",
        "where |eps|^2 >= 2 the zero matrix is nearer to F than s s^T is",
        source="ours, from H2",
        expected=Verdict.HOLDS,
        check="theory_checks.hessian.error_bound:check_zero_is_nearer",
        formula=r"|\epsilon|^2 \ge 2 \;\Rightarrow\; |F - s s^\top|_{HS} \ge |F|_{HS}, \qquad "
        r"c^* = \frac{\langle s, F s\rangle}{|s|^4} \le \frac{1}{|\epsilon|^2}",
        seconds=8,
        in_words="{value:.0f} points where the paper's matrix is nearer to the Hessian than zero is.",
    ),
    Claim(
        "H6",
        "(|s|^2/d) I is nearer to F than zero iff |s|^2 < 2 tr F, and as near as s s^T or nearer where tr F >= 0 and "
        "|eps|^2 >= 2 d/(d - 1); with it Algorithm 1 is its base solver",
        source="ours, from H2; Prop. 1",
        expected=Verdict.HOLDS,
        check="theory_checks.hessian.isotropic:check_isotropic",
        formula=r"\left|F - \tfrac{|s|^2}{d} I\right|^2 - |F|^2 = \tfrac{|s|^2}{d}\,(|s|^2 - 2\,\mathrm{tr}\,F), "
        r"\qquad \left(\lambda I + \tfrac{|s|^2}{d} I\right)^{-1} \epsilon \parallel \epsilon",
        draw="theory_checks.hessian.isotropic:draw_isotropic",
        seconds=4,
        in_words="{value:.0f} points where the paper's matrix is nearer than the multiple of I.",
    ),
)

FAMILY = Family(
    "hessian",
    title="The Hessian: Propositions 1 and 2",
    claims=_CLAIMS,
    faults=("theory_checks.hessian.faults",),
    proofs=("theory_checks.hessian.proofs",),
)
