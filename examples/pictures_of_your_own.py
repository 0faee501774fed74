"""Your own pictures as an exact denoiser: a diffusers pipeline with no trained network, for testing a sampler.

python examples/pictures_of_your_own.py [FOLDER]

Without a folder the embedded colour pictures are used. The exact score of a data set ends at pictures of the data set:
this tests solvers, it does not make new pictures. Upper row: DDIM in six steps; lower row: with LML.
"""

import sys
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMPipeline
from diffusers.utils import make_image_grid

import toy
from lml.schedulers import LMLDDIMScheduler
from toy.denoiser import ExactDenoiser

pictures = toy.image_folder(sys.argv[1], 32) if len(sys.argv) > 1 else toy.dataset("emoji")
target = toy.DataMixture(pictures.images, tau=0.05, dtype=torch.float32)
pipe = DDPMPipeline(ExactDenoiser(target=target), DDIMScheduler(clip_sample=False))
pipe.set_progress_bar_config(disable=True)

rows = []
for scheduler in (DDIMScheduler, LMLDDIMScheduler):
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    rows += pipe(batch_size=8, num_inference_steps=6, generator=torch.Generator().manual_seed(0)).images
out = Path("out/pictures_of_your_own.png")
out.parent.mkdir(exist_ok=True)
make_image_grid(rows, rows=2, cols=8, resize=96).save(out)
print(f"{pictures.name}: {len(pictures.images)} pictures, eight drawn twice, see {out}")
