"""Hyperparameters: declared once in ``table``, parsed here, published for others."""

from treeline.hyperparameters.config import Config, DataOptions, parse

__all__ = ["Config", "DataOptions", "parse"]
