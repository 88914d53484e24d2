"""From a checkpoint to a model file, and the proof that they agree."""
