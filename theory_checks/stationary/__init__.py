"""Claims S: the stationary measure of Eq. 7 in its three readings, and of discretised chains (Prop. 3)."""
