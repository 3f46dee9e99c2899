"""Sampling: from drafts and noise to clips, and clips to files. Networks arrive as functions."""
