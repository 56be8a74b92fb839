"""Simulated microscopy with known truth, and the training of the embedded models."""
