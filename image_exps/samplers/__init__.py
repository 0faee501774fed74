"""Samplers by name: one table of algorithms, one grammar of names; as pure samplers and as schedulers of diffusers."""
