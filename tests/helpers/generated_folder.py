"""Small folders of pictures as ``sample`` leaves them, written by its own code."""

import numpy as np

from image_exps.pipelines.picture_folder import PictureFolder


def settings(count, *, model="sd15", sampler="ddim", evaluations=10, guidance=7.0):
    return {
        "count": count,
        "batch": 4,
        "seed": 100,
        "guidance": guidance,
        "model": {"name": model},
        "sampler": {"name": sampler, "evaluations": evaluations},
    }


def pixels(count, side=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def generated_folder(path, count=6, *, prompts=("a red cube", "a blue ball", "a sheep"), lost=(), seed=0, **rest):
    folder = PictureFolder(path, settings(count, **rest), prompts)
    made = pixels(count, seed=seed)
    rows = [
        (i, 100 + i, prompts[i % len(prompts)] if prompts else None, None if i in lost else made[i])
        for i in range(count)
    ]
    with folder.journal(0) as journal:
        folder.save(journal, rows, 1.0)
    return path
