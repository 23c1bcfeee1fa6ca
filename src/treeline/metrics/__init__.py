"""Metrics: their names and directions, their values, and the lines that carry them."""
