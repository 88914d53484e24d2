"""Recipes, loss, loader, run state and the loop (torch)."""
