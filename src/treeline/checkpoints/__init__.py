"""Checkpoints: what a job that is killed leaves for its next start."""
