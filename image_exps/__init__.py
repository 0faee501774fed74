"""Quality in few steps, with exact scores: what LML gains, by which distance, and what else gains as much."""
