"""A recipe that trains in a second: twenty random pictures of 8x8, a network of two blocks."""

import torch

from image_exps.training.recipes import Recipe
from toy import Pictures


def tiny_pictures():
    generator = torch.Generator().manual_seed(0)
    return Pictures(2 * torch.rand(20, 1, 8, 8, generator=generator) - 1, ("a", "b", "c", "b") * 5, "tiny")


TINY = Recipe("tiny", tiny_pictures, (8, 16), conditional=True, batch=4, decay=0.9)
