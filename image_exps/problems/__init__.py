"""Sampling problems: an exact score, one with a controlled error or a network, noises and the end of the flow."""
