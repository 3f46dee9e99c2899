"""Scores for generated video: pure functions of uint8 clips, and mergeable accumulators."""
