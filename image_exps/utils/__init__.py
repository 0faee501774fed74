"""Processes that share a folder, and tables as text."""
