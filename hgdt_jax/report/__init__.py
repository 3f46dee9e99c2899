"""The page that says what a run gave; reads nothing but the workdir."""

from hgdt_jax.report.page import build

__all__ = ['build']
