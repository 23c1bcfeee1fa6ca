"""Algorithms: fit, predict, save, load; one module each."""
