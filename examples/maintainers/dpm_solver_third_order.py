"""DPMSolverMultistepScheduler, solver_order=3: its update is not exact for quadratics, so its order is 2.

python examples/maintainers/dpm_solver_third_order.py

With lambda = log(alpha/sigma) the flow is x_t = (sigma_t/sigma_s) x_s + sigma_t int e^lambda m(lambda) dlambda, m the
prediction of the data. A step through three predictions is of third order if it is exact for m = 1, lambda, lambda^2.
D2 is a divided difference, h^2 m''/2, and has the weight of h^2 m'': the published code does the same, for both
algorithm types. Twice its weight makes the step exact for m = lambda^2. (The solver's first two steps are of orders 1
and 2, and would hold it at order 2 still: it is the steps of few evaluations that gain.) Thank you for the scheduler.
"""

import math

import torch
from diffusers import DPMSolverMultistepScheduler, __version__

print(f"diffusers {__version__}: h, error for m = 1, for m = l, for m = l^2, the same with D2 twice")
for h in (0.4, 0.2, 0.1):
    scheduler = DPMSolverMultistepScheduler(solver_order=3)
    lambdas = torch.tensor([-2 * h, -h, 0.0, h]).double()  # three levels of history, 0 is now, h is next
    scheduler.sigmas, scheduler._step_index = torch.exp(-lambdas), 2
    (sigma_s, alpha_s), (sigma_t, alpha_t) = [
        (1 / math.hypot(1, math.exp(v)), 1 / math.hypot(1, math.exp(-v))) for v in (0.0, h)
    ]
    integrals = (math.exp(h) - 1, math.exp(h) * (h - 1) + 1, math.exp(h) * (h * h - 2 * h + 2) - 2)
    errors = []
    for power, integral in enumerate(integrals):
        history = list((lambdas[:3] ** power)[:, None])
        made = scheduler.multistep_dpm_solver_third_order_update(history, sample=torch.zeros(1).double())
        errors.append(float(made) - sigma_t * integral)
    D2 = h * h  # of l^2
    weight = -alpha_t * ((math.exp(-h) - 1 + h) / h**2 - 0.5)
    print(f"{h} " + " ".join(f"{e:9.1e}" for e in (*errors, errors[2] + weight * D2)))
