"""Named random streams: every draw is a pure function of (root key, name, step)."""

import zlib

import jax


def stream(root: jax.Array, name: str, step: jax.Array | int = 0) -> jax.Array:
  """Key for `name` at `step`.

  Nothing about it is checkpointed: a resumed run draws what the uninterrupted run would have
  drawn, and a new stream never shifts the numbers of an old one.
  """
  key = jax.random.fold_in(root, zlib.crc32(name.encode()))  # not hash(): that one is salted
  return jax.random.fold_in(key, step)
