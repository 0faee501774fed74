"""Locks, progress, processes and text that several commands share."""
