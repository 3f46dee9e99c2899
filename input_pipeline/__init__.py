"""Clips for training and evaluation: sources, and batches in an order of their own."""

import importlib

__all__ = ['SOURCES', 'Batches', 'Kind', 'Source', 'fixed', 'make_source']


def __getattr__(name):
  """From `pipeline`, when asked for: those who only read files need no grain and array_record."""
  if name in __all__:
    return getattr(importlib.import_module('input_pipeline.pipeline'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
