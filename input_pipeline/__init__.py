"""Clips for training and evaluation: sources, and batches in an order of their own."""

from input_pipeline.pipeline import SOURCES, Batches, Kind, Source, fixed, make_source

__all__ = ['SOURCES', 'Batches', 'Kind', 'Source', 'fixed', 'make_source']
