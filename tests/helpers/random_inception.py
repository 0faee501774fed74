"""Random weights and pictures for the Inception network, the same for ever: NumPy's frozen RandomState draws them."""

import numpy as np
import torch

__all__ = ["pictures", "weights"]


def weights(shapes):
    """Return a state dict for these shapes: kernels of He's scale, normalisations away from the identity."""
    found = {}
    for number, (name, shape) in enumerate(sorted(shapes.items())):
        rng = np.random.RandomState(number)
        if name.endswith("running_var"):
            drawn = rng.uniform(0.5, 1.5, shape)
        elif name.endswith("bn.weight"):
            drawn = rng.uniform(0.8, 1.2, shape)
        elif len(shape) == 4:
            drawn = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            drawn = 0.1 * rng.standard_normal(shape)
        found[name] = torch.from_numpy(drawn).float()
    return found


def pictures():
    """Return two batches in bytes, (2, 3, 32, 32) and (1, 3, 310, 401): one to be enlarged, one to be made smaller."""
    rng = np.random.RandomState(0)
    sizes = ((2, 3, 32, 32), (1, 3, 310, 401))
    return [torch.from_numpy(rng.randint(0, 256, size).astype(np.uint8)) for size in sizes]
