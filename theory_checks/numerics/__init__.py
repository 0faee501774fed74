"""Solvers and closed forms that more than one family of claims uses."""
