"""Small diffusion networks, trained on one thread of a CPU: recipes, the loop, its checkpoints, and the export."""
