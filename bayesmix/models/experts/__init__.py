"""Mixtures of experts: one file for each reading of their equation."""
