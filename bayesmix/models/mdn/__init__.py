"""Mixture density networks: one file for each reading of their equation."""
