"""Flax Linen networks with plain fields: no configuration, no loss, no training state."""
