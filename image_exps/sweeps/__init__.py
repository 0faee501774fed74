"""Sweeps: a grid of cells, computed in parallel and kept one by one, and its tables."""
