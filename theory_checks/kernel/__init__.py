"""Claims K: the direction of Algorithm 1, its precision, the published code, several past noises, damping."""
