"""The ledger: every claim of the paper, decided by checks that could have failed."""
