"""Times of samplers and networks, measured side by side."""
