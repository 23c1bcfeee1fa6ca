"""Treeline: XGBoost and random forests on tabular data, as a SageMaker training image."""

__version__ = "0.1.0"
