"""Claims C: how fast the dynamics of Eq. 7 converge, and in which distances (Prop. 4, Remark 2)."""
