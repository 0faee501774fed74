"""LML in a pipeline: the network that ships, drawn from without and with LML, and in many steps, from the same seeds.

python examples/lml_in_a_pipeline.py
"""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMPipeline
from diffusers.utils import make_image_grid

from image_exps.networks import network_folder
from lml.schedulers import LMLDDIMScheduler

pipe = DDPMPipeline.from_pretrained(network_folder("fashion-mnist"))
pipe.set_progress_bar_config(disable=True)

rows = []
for scheduler, steps in ((DDIMScheduler, 6), (LMLDDIMScheduler, 6), (DDIMScheduler, 100)):
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    rows += pipe(batch_size=10, num_inference_steps=steps, generator=torch.Generator().manual_seed(0)).images
out = Path("out/lml_in_a_pipeline.png")
out.parent.mkdir(exist_ok=True)
make_image_grid(rows, rows=3, cols=10, resize=96).save(out)
print(f"six steps of DDIM, the same with LML, and a hundred steps of DDIM: {out}")
