"""What JAX processes measured, each of its share of the batches, put together in all of them."""

import functools
import operator

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Float, Float64

from hgdt_jax.metrics.frechet import Moments


def is_mine(batch: int) -> bool:
  """Whether this process measures the batch of this number."""
  return batch % jax.process_count() == jax.process_index()


def share(clips: int, most: int) -> int:
  """Clips of a batch, `most` at most, such that every process has some of `clips` where it can."""
  return max(1, min(most, -(-clips // jax.process_count())))


def merge_moments(moments: Moments | None) -> Moments:
  """Moments over all processes, the same in each; None from one that measured nothing."""
  packed = moments and np.vstack([moments.mean, moments.scatter, moments.count + 0 * moments.mean])
  return functools.reduce(
    operator.add, (Moments(round(p[-1, 0]), p[0], p[1:-1]) for p in _gather(packed))
  )


def merge_rows(rows: Float[np.ndarray, 'n k d'] | None) -> Float64[np.ndarray, 'n k d']:
  """Rows over all processes, of which each filled its own and left the others zero."""
  return functools.reduce(operator.add, _gather(rows))


def _gather(values):
  """The float64 arrays of the processes that have one; bit by bit, for JAX would round them."""
  packed = np.zeros(0) if values is None else np.concatenate(
    [[values.ndim], values.shape, np.ravel(values)]
  )  # fmt: skip
  longest = int(np.max(multihost_utils.process_allgather(np.int32(len(packed)))))
  padded = np.zeros(longest)
  padded[: len(packed)] = packed
  words = np.asarray(multihost_utils.process_allgather(padded.view(np.uint32)))
  return [_unpacked(p) for p in words.reshape(-1, 2 * longest).view(np.float64) if p[0]]


def _unpacked(packed):
  rank = int(packed[0])
  shape = packed[1 : 1 + rank].astype(int)
  return packed[1 + rank : 1 + rank + np.prod(shape)].reshape(shape)
