"""Confusion matrix, evaluation of a segmenter on a dataset, report (numpy; no torch)."""
