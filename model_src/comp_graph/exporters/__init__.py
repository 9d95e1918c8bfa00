"""Computation graphs -> files that other frameworks read."""
