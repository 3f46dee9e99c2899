"""Runs a network over any number of clips or images: in chunks, on every local device."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Float32, PyTree

Run = Callable[..., Float32[np.ndarray, 'n ...']]  # of one array, or of several


def make(
  network: Callable, params: PyTree, per_device: int, rank: int, smallest: tuple[int, ...]
) -> Run:
  """A function of uint8 arrays of 1 or 3 channels, all of one shape.

  It calls `network(params, *arrays)`, compiled once for each shape it meets, on chunks of at most
  `per_device` rows a device, split over the local devices where there are as many rows. The
  function raises ValueError for pixels of another type, rank or size than said here.

  Args:
    network: pure function of `(params, *arrays)`, these uint8 and of 3 channels, to an array.
    params: its weights, replicated on each device.
    per_device: rows that a device takes at once.
    rank: axes of the arrays: 5 for clips, 4 for images.
    smallest: least sizes of the axes between the first and the last; the function's `smallest`.
  """
  devices = jax.local_devices()

  @functools.cache
  def on(count):
    mesh = Mesh(np.array(devices[:count]), ('batch',))
    split, whole = NamedSharding(mesh, P('batch')), NamedSharding(mesh, P())
    # Rows are independent: under shard_map no data moves between devices, whatever the compiler
    # would decide. One tuple argument, because images come alone and in pairs.
    compiled = jax.jit(
      jax.shard_map(
        lambda weights, arrays: network(weights, *arrays),
        mesh=mesh,
        in_specs=(P(), P('batch')),
        out_specs=P('batch'),
      )
    )
    weights = jax.device_put(params, whole)
    return lambda arrays: compiled(weights, jax.device_put(arrays, split))

  def run(*arrays):
    arrays = [_pixels(a, rank, smallest) for a in arrays]
    if len({a.shape for a in arrays}) > 1:
      raise ValueError(f'pairs need equal shapes, got {[list(a.shape) for a in arrays]}')
    total = len(arrays[0])
    count = len(devices) if total >= len(devices) else 1
    chunk = _chunk(total, count, per_device)
    done, running = [], None
    for start in range(0, total, chunk):
      rows = tuple(_filled(a[start : start + chunk], chunk) for a in arrays)
      before, running = running, on(count)(rows)
      if before is not None:  # fetched only now: this chunk was prepared meanwhile
        done.append(np.asarray(before, np.float32))
    return np.concatenate([*done, np.asarray(running, np.float32)])[:total]

  run.smallest = smallest
  return run


def _chunk(total: int, count: int, per_device: int) -> int:
  """Rows per call: the limit, or the power of two per device that holds all; few shapes compile."""
  needed = -(-total // count)
  return count * min(per_device, 1 << (needed - 1).bit_length())


def _filled(rows, size):
  """`rows` padded to `size` with copies of the last."""
  return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])


def _pixels(array, rank, smallest):
  array = np.asarray(array)
  axes = {4: '[N, H, W, 3]', 5: '[N, T, H, W, 3]'}[rank]
  if array.dtype != np.uint8 or array.ndim != rank or array.shape[-1] not in (1, 3):
    raise ValueError(f'want uint8 {axes}, got {array.dtype} {list(array.shape)}')
  if not len(array) or any(n < least for n, least in zip(array.shape[1:-1], smallest)):
    raise ValueError(
      f'want {axes} with N >= 1 and the axes between at least {list(smallest)}, '
      f'got {list(array.shape)}'
    )
  return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array
