"""The claims on quality (Q) and cost (T)."""
