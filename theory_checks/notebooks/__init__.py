"""Six short lessons on the claims, to be read beside the report. ``python -m theory_checks.notebooks`` runs them."""
