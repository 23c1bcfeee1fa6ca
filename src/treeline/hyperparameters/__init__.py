"""Hyperparameters: declared once, parsed at the door, published from the same declaration."""

from treeline.hyperparameters.config import Config, parse

__all__ = ["Config", "parse"]
