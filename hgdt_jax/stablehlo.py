"""A sampler to take away: one program with its weights inside, run by jax alone.

from jax import export
clips = export.deserialize(open(FILE, 'rb').read()).call(seed, label, steps, tau)
"""

import pathlib

import jax
import jax.numpy as jnp
from jax import export

from hgdt_jax import atomic
from hgdt_jax.drawing import STEPS_COMPILED
from hgdt_jax.trained import Trained

PLATFORMS = ('cpu', 'cuda', 'tpu')


def exported(trained: Trained, method: str, num: int) -> export.Exported:
  """The program `(seed, label, steps, tau) -> clips`.

  `seed` is uint32, `label` int32 `[num]` (-1: none), `steps` int32 from 1 to 64, `tau` float32 in
  (0, 1]; clips are float32 `[num, T, H, W, C]` in [-1, 1], those that `sample` draws before it
  rounds them.

  Raises:
    ValueError: there is no such method, or it is none that draws from seeds alone.
  """

  @jax.jit
  def sample(seed, label, steps, tau):
    options = {'steps': steps, 'tau': tau, 'most_steps': STEPS_COMPILED}
    return trained.traced(method, seed, label, **options)

  of = jax.ShapeDtypeStruct
  given = of((), jnp.uint32), of((num,), jnp.int32), of((), jnp.int32), of((), jnp.float32)
  return export.export(sample, platforms=PLATFORMS)(*given)


def write(trained: Trained, method: str, num: int, path: pathlib.Path) -> None:
  """`exported` as a file. Raises as it does."""
  data = exported(trained, method, num).serialize()
  with atomic.replaced(path) as part:
    part.write_bytes(data)
