"""Datasets, augmentation and rendered streets (numpy; no torch)."""
