"""Claims A: the reverse-time flows of Eqs. 9 and 10, and what Algorithm 1 tends to as its steps shrink."""
