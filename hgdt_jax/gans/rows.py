"""Which rows of a batch a penalty is taken of."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from hgdt_jax import sharding
from hgdt_jax.gans.types import Judge


def penalised(judge: Judge, batch: int) -> tuple[Callable, jax.Array]:
  """Every `penalty_rows`-th row of a batch, as `every` gives them.

  What lazy regularisation (StyleGAN2 2020) saves, without its bursts and without a branch in the
  program: the mean over some rows of a random batch is as unbiased as the mean over all. A judge
  that compares the clips of a group is penalised on whole groups: alone, a clip has no spread.
  """
  if judge.compares == 1:
    return every(judge.penalty_rows, batch)
  group = group_size(batch, judge.compares)
  # Some of smaller groups might be grouped otherwise than all of them.
  return every(judge.penalty_rows if group == judge.compares else 1, batch, group)


def group_size(batch: int, most: int) -> int:
  """Neighbours that are compared: `most`, or as many under it as divide the batch."""
  return next(n for n in range(most, 0, -1) if batch % n == 0)


def every(n: int, batch: int, group: int = 1) -> tuple[Callable, jax.Array]:
  """Every n-th group of `group` neighbours of a batch, without moving a row between devices.

  Which rows count is the same on any number of devices. Where a device holds no multiple of n
  groups, more are taken than count.

  Returns:
    A function `[B, ...] -> [R, ...]`, and `[R]` of 1 for the rows that count and 0 for the others.
  """
  groups, devices = batch // group, sharding.devices()
  if devices == 1:
    stride = n
  elif groups % devices == 0:
    stride = math.gcd(n, groups // devices)
  else:
    stride = 1

  def take(x):
    if stride == 1:
      return x
    return x.reshape(groups, group, *x.shape[1:])[::stride].reshape(-1, *x.shape[1:])

  counts = jnp.arange(0, groups, stride) % n == 0
  return take, jnp.repeat(counts.astype(jnp.float32), group)
