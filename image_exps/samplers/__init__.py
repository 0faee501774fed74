"""Samplers by name: base, spacing, correction; as pure samplers and as schedulers of diffusers."""
