"""Pictures in few steps: what LML gains, by which distance, what else gains as much; models, commands, cost."""
