"""Hierarchical binomial regression: one file for each reading of its equation."""
