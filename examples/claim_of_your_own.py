"""A claim of your own: a plain function, a limit with a reason, and a fault that turns it red.

python examples/claim_of_your_own.py

In a package of yours, the entry point ``lml.claims`` puts FAMILY into the ledger (see docs/how-to/add-a-claim.md).
"""

import toy
from theory_checks import Claim, Family, Finding, Measured, Settings, Verdict, agreement, fault, injected


def check_mean(settings: Settings) -> Finding:
    """E_q[s] = 0: the score has mean zero."""
    q = toy.target("cross-2d")
    score = q.score(q.sample(100_000, generator=settings.generator()))
    figure = Measured(
        "|mean score| over 5 standard errors",
        float(score.mean(0).norm() / (5 * score.std() / 100_000**0.5)),
        limit=1,
        basis="central limit theorem",
    )
    return Finding(agreement(figure), (figure,), reading="cross-2d, 100,000 samples")


@fault("toy.mixture:GaussianMixture.score", "X1")
def score_about_another_mean(original):
    """The score is that of the target moved to the right."""
    return lambda self, x: original(self, x - 0.1)


MEAN = Claim("X1", "the score has mean zero", source="ours", expected=Verdict.HOLDS, check=check_mean)
FAMILY = Family("mine", claims=(MEAN,), faults=(__name__,))  # this module holds its fault, too

if __name__ == "__main__":
    print("right formula:", check_mean(Settings()).verdict)
    with injected(score_about_another_mean):
        print("with a fault: ", check_mean(Settings()).verdict)
