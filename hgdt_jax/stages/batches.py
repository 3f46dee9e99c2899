"""How stages read a batch."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from hgdt_jax import sharding
from hgdt_jax.config import Config


def clips(batch) -> jax.Array:
  """uint8 `[B, T, H, W, C]` -> float32 in [-1, 1]; the only place where clips are normalised."""
  return batch['video'].astype(jnp.float32) / 127.5 - 1.0


def labels(cfg: Config, batch) -> jax.Array:
  """int32 `[B]`; -1 for all where the model is unconditional."""
  return batch['label'] if cfg.data.classes else jnp.full_like(batch['label'], -1)


def dropped(label: jax.Array, rate: float, key: jax.Array) -> jax.Array:
  """Labels with a share `rate` replaced by -1, for classifier-free guidance."""
  return jnp.where(jax.random.uniform(key, label.shape) < rate, -1, label)


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
