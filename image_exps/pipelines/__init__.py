"""Pipelines of diffusers: found, loaded, converted, sampled into folders of pictures."""
