"""The stages' steps as compiled programs."""

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from hgdt_jax import effort, handed_on, sharding
from hgdt_jax.settings import Config
from hgdt_jax.stages import STAGES
from hgdt_jax.state import on_mesh


def compiled(cfg: Config, stage: str, mesh: jax.sharding.Mesh) -> jax.stages.Compiled:
  """A stage's step as it is trained by: `(state, batch, root) -> (state, metrics)`."""
  whole = sharding.replicated(mesh)
  like, root = handed_on.abstract_state(cfg, stage, mesh), jax.eval_shape(jax.random.key, 0)
  shardings = jax.tree.map(lambda leaf: leaf.sharding, like)
  step = jax.jit(
    on_mesh(STAGES[stage].make_step(cfg), mesh),
    donate_argnums=0,
    in_shardings=(shardings, sharding.batch(mesh), whole),
    out_shardings=(shardings, whole),
    compiler_options=effort.options(1, mesh.devices.flat[0].platform),
  )
  return step.lower(like, abstract_batch(cfg, mesh), root).compile()


@contextlib.contextmanager
def ahead(
  cfg: Config, stages: Iterable[str], mesh: jax.sharding.Mesh
) -> Iterator[Callable[[str], jax.stages.Compiled]]:
  """Compiles `stages`, in their order, in a thread: those to come while one is trained.

  Gives a function from one of them to its program, which waits until it is compiled. On a GPU each
  is compiled when it is asked for: it tries variants of a kernel against the clock, and a training
  step beside them would make the slower one win.
  """
  if jax.default_backend() == 'gpu':
    yield lambda stage: compiled(cfg, stage, mesh)
    return
  pool = concurrent.futures.ThreadPoolExecutor(1, 'compile')
  try:
    programs = {stage: pool.submit(compiled, cfg, stage, mesh) for stage in stages}
    yield (
      lambda stage: programs[stage].result() if stage in programs else compiled(cfg, stage, mesh)
    )
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def abstract_batch(cfg: Config, mesh: jax.sharding.Mesh) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes, dtypes and shardings of one on the devices; nothing is allocated."""
  frames, size, channels = cfg.clip

  def leaf(dtype, *shape):
    return jax.ShapeDtypeStruct((cfg.data.batch, *shape), dtype, sharding=sharding.batch(mesh))

  return {
    'video': leaf(np.uint8, frames, size, size, channels),
    'label': leaf(np.int32),
    'id': leaf(np.int32),
  }
