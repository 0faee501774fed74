"""The claims on the orders of solvers (D), on few-step solvers (L), on quality (Q) and on cost (T)."""

from __future__ import annotations

from theory_checks.ledger.claim import Claim, Verdict
from theory_checks.ledger.family import Family

__all__ = ["FAMILY"]

_CLAIMS = (
    Claim(
        "D1",
        "the multistep solvers of two predictions (DPM-Solver-2M, DPM-Solver++ 2M, DEIS-2) are of order 2, as "
        "published and as diffusers ships them",
        source="Lu et al. 2022, DPM-Solver++; Zhang & Chen 2023, DEIS",
        expected=Verdict.HOLDS,
        check="image_exps.claims.solver_orders:check_second",
        formula=r"x_{k+1} - a\,x_k - (y_{k+1} - a\,y_k) = O(h^3)",
        seconds=5,
        in_words="The observed orders are the stated ones, within {value:.0%} of their error.",
    ),
    Claim(
        "D2",
        "the published third-order multistep solvers (DPM-Solver-3M, DPM-Solver++ 3M) are of order 2: their second "
        "difference has half of the weight that a third order asks for",
        source="ours; the published code of DPM-Solver, and diffusers",
        expected=Verdict.HOLDS,
        check="image_exps.claims.solver_orders:check_third",
        formula=r"D_2 = \tfrac{1}{2} h^2 m'' + O(h^3) \quad\text{weighed as}\quad h^2 m''",
        seconds=6,
        in_words="The observed orders are the stated ones, within {value:.0%} of their error.",
    ),
    Claim(
        "D3",
        "UniPC-p is of order 2 for p = 2 and 3 as published, because of its last step; with the order kept UniPC-2 is "
        "of order 3",
        source="Zhao et al. 2023, UniPC, Theorem 3.1, and its published code",
        expected=Verdict.HOLDS,
        check="image_exps.claims.solver_orders:check_unipc",
        formula=r"|x_N - y_N| = O(h^2), \qquad \text{order kept: } O(h^3)",
        seconds=4,
        in_words="The observed orders are the stated ones, within {value:.0%} of their error.",
    ),
    Claim(
        "D4",
        "the steps of iPNDM-k are of order 2 on levels equal in log-SNR, and of order k (2, 3) on levels equal in "
        "sigma/alpha",
        source="Zhang & Chen 2023, iPNDM",
        expected=Verdict.HOLDS,
        check="image_exps.claims.solver_orders:check_adams_bashforth",
        formula=r"\int_r^{r'} \epsilon\,dr \approx (r' - r) \sum_j b_j\,\epsilon_j",
        seconds=5,
        in_words="The observed orders are the stated ones, within {value:.0%} of their error.",
    ),
    Claim(
        "L1",
        "on galaxy-hsc-32, a network that nobody here trained, a solver calibrated on 16 trajectories ends nearer to "
        "the flow in 5 evaluations than the best of all baselines, chosen afterwards",
        source="ours: what lml.solver.calibrate is for",
        expected=Verdict.HOLDS,
        check="image_exps.claims.solver_gain:check_gain",
        formula=r"E\,|x_{calibrated} - x_{flow}| < \min_b\, E\,|x_b - x_{flow}|",
        draw="image_exps.claims.solver_gain:draw_gain",
        seconds=50,
        needs="galaxygrad",
        in_words="By chance alone so large a gain has a probability of {value:.1g} at most.",
    ),
    Claim(
        "L2",
        "what a calibration says to expect is what its solver then does: the announced ratio in the mean, within a "
        "fifth, and its interval of 90 % nine times in ten",
        source="ours: what lml.solver.calibrate announces",
        expected=Verdict.CORRECTED,
        check="image_exps.claims.solver_promise:check_promise",
        formula=r"|E \log(r_{measured}/r_{announced})| \le \log 1.2, \qquad P(l \le r_{measured} \le h) = 0.9",
        draw="image_exps.claims.solver_promise:draw_promise",
        seconds=30,
        in_words="The mean of log(measured/announced) is within {value:.2g} of zero, where {limit:.2g} is allowed.",
    ),
    Claim(
        "L3",
        "for_schedule, which does not see the network, is never more than 5 % further from the flow than the best "
        "fixed baseline",
        source="ours: what lml.solver.for_schedule was to keep",
        expected=Verdict.FAILS,
        check="image_exps.claims.solver_choice:check_choice",
        formula=r"E\,|x_{chosen} - x_{flow}| \le 1.05\, E\,|x_{fixed} - x_{flow}|",
        draw="image_exps.claims.solver_choice:draw_choice",
        seconds=20,
        in_words="In one case it ends {value:.2g} times as far from the flow as the best fixed baseline.",
    ),
    Claim(
        "L4",
        "published multistep methods, UniPC's corrector included, are rows of weights; a fit that moves nothing is the "
        "method it began with; where all noises are parallel one weight makes a solver exact",
        source="ours: lml.profile and lml.solver",
        expected=Verdict.HOLDS,
        check="image_exps.claims.solver_rows:check_rows",
        formula=r"u_i = \epsilon_i + \sum_{j<i} \eta_{ij}\,(\epsilon_i - \epsilon_j)",
        seconds=3,
        in_words="The largest error is {value:.2g} of what rounding allows.",
    ),
    Claim(
        "Q1",
        "with an exact score LML brings DDIM nearer, in the mean, to the endpoint of the flow, in 5, 10 and 20 steps",
        source="Sec. 4 of the paper, asked of an exact score",
        expected=Verdict.HOLDS,
        check="image_exps.claims.quality:check_gain",
        formula=r"E\,|x_{ddim} - x_{flow}| > E\,|x_{lml} - x_{flow}|",
        draw="image_exps.claims.quality:draw_pictures",
        seconds=14,
        in_words="By chance alone so large a gain has a probability of {value:.1g} at most.",
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
        seconds=10,
        in_words="By chance alone such differences have a probability of {value:.1g} at most, over all tests.",
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
        seconds=16,
        in_words="By chance alone such differences have a probability of {value:.1g} at most, over all tests.",
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
        seconds=22,
        in_words="By chance alone such differences have a probability of {value:.1g} at most, over all tests.",
    ),
    Claim(
        "Q5",
        "on networks that nobody here trained, LML brings DDIM nearer to the network's flow, in mean and median",
        source="Sec. 4 of the paper, whose scores are trained networks",
        expected=Verdict.HOLDS,
        check="image_exps.claims.outside_endpoint:check_outside",
        formula=r"E\,|x_{base} - x_{flow}| > E\,|x_{lml} - x_{flow}|,\qquad "
        r"\mathrm{med}\,(|x_{base} - x_{flow}| - |x_{lml} - x_{flow}|) > 0",
        draw="image_exps.claims.outside_endpoint:draw_outside",
        seconds=30,
        needs="galaxygrad",
        in_words="By chance alone so large a gain has a probability of {value:.1g} at most.",
    ),
    Claim(
        "Q6",
        "on these networks what LML on DDIM draws in 5 and 8 evaluations is nearer to the flow in distribution, too",
        source="Sec. 4 of the paper, asked of a network's own distribution",
        expected=Verdict.HOLDS,
        check="image_exps.claims.outside_distribution:check_distribution",
        formula=r"F(x_{lml}, x_{flow}) < F(x_{base}, x_{flow}),\qquad "
        r"SW_2(x_{lml}, x_{flow}) < SW_2(x_{base}, x_{flow})",
        seconds=22,
        needs="galaxygrad",
        in_words="By chance alone so large a gain has a probability of {value:.1g} at most.",
    ),
    Claim(
        "T1",
        "LML adds at most 0.5 % of a network evaluation to a step, at the size of SD 1.5 and batch 1",
        source="Sec. 5.4 and Table 5",
        expected=Verdict.HOLDS,
        check="image_exps.claims.cost:check_cost",
        formula=r"\frac{t_{LML} - t_{base}}{t_{network}} \le 0.005",
        seconds=6,
        in_words="LML adds {value:.2%} of a network's evaluation to a step; the limit is {limit:.1%}.",
    ),
)

FAMILY = Family(
    "pictures",
    title="Solvers and pictures: orders, quality and cost",
    claims=_CLAIMS,
    faults=(
        "image_exps.claims.faults",
        "image_exps.claims.faults_orders",
        "image_exps.claims.faults_outside",
        "image_exps.claims.faults_gain",
        "image_exps.claims.faults_promise",
        "image_exps.claims.faults_solvers",
    ),
)
