"""Data: from the files of a channel to a matrix."""
