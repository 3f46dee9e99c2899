"""Where arrays live: one mesh with the axes ('data', 'fsdp')."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

_SPLIT_FROM_BYTES = 2**20  # smaller leaves cost more to gather than to hold


def make_mesh(data: int, fsdp: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
  """A mesh over all devices; one of the two sizes may be -1: the devices left over.

  Raises:
    ValueError: the sizes do not multiply to the number of devices.
  """
  count = jax.device_count() if devices is None else len(devices)
  if data == -1:
    data = count // max(fsdp, 1)
  elif fsdp == -1:
    fsdp = count // max(data, 1)
  if data * fsdp != count:
    raise ValueError(
      f'config.mesh: data={data} x fsdp={fsdp} does not cover the {count} devices; '
      'set one of them to -1'
    )
  # Auto, because make_mesh defaults to Explicit, under which folding time into the batch,
  # [B, T, H, W, C] -> [B*T, H, W, C], is a ShardingTypeError.
  return jax.make_mesh((data, fsdp), ('data', 'fsdp'), (AxisType.Auto,) * 2, devices=devices)


def mesh_of_batch(
  data: int, fsdp: int, batch: int, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """That mesh, if batches of so many rows divide over it. ValueError also where they do not."""
  mesh = make_mesh(data, fsdp, devices)
  if batch % mesh.size:
    raise ValueError(f'config.data.batch={batch}: not a multiple of the {mesh.size} devices')
  return mesh


def fitting_mesh(data: int, fsdp: int) -> Mesh:
  """That mesh, or where the devices are others one that splits parameters over as many as can."""
  count = jax.device_count()
  try:
    return make_mesh(data, fsdp)
  except ValueError:
    return make_mesh(-1, count if fsdp == -1 else math.gcd(fsdp, count))


def devices() -> int:
  """How many split the batch of the step that is being traced: those of its mesh, or 1 without."""
  return max(jax.sharding.get_abstract_mesh().size, 1)


def gathered(tree):
  """Whole on every device of the mesh of the step that is being traced, and so its gradient."""
  if jax.sharding.get_abstract_mesh().empty:
    return tree
  return jax.lax.with_sharding_constraint(tree, P())


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, P())


def batch(mesh: Mesh) -> NamedSharding:
  """Split along the leading axis over every device."""
  return NamedSharding(mesh, P(('data', 'fsdp')))


def of_state(shapes, mesh: Mesh):
  """Shardings for a tree of shapes: big leaves split over `fsdp`, small ones whole."""
  size = mesh.shape['fsdp']

  def one(leaf):
    if size > 1 and leaf.size * leaf.dtype.itemsize >= _SPLIT_FROM_BYTES:
      for axis in np.argsort(leaf.shape)[::-1]:  # largest axis first
        if leaf.shape[axis] % size == 0:
          return NamedSharding(mesh, P(*[None] * axis, 'fsdp'))
    return replicated(mesh)

  return jax.tree.map(one, shapes)


def put(host_batch, mesh: Mesh):
  """This process's rows -> one global array per leaf, split along the batch axis."""
  return jax.tree.map(lambda x: jax.make_array_from_process_local_data(batch(mesh), x), host_batch)
