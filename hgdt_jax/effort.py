"""What the compiler is asked for, on a CPU."""

import os

import jax


def options(level: int, platform: str) -> dict | None:
  """Options of a compilation on a CPU, each unless XLA_FLAGS say; elsewhere none.

  Convolutions and matrix products are library calls there: what is compiled at LLVM's `level` 1
  runs as fast as at 2, the default, for three to four fifths of the time; 0 takes a third to half,
  of what runs once. From jax 0.11 on what is done element by element between them runs as fast by
  itself; before, the same library does it faster: a step of `diffusion` takes .85 of the time, one
  of `gan` .95, and to compile them .9.
  """
  if platform != 'cpu':
    return None
  wanted = {'xla_backend_optimization_level': level}
  if jax.__version_info__ < (0, 11):
    wanted['xla_cpu_experimental_ynn_fusion_type'] = 'LIBRARY_FUSION_TYPE_ELTWISE'
  told = os.environ.get('XLA_FLAGS', '')
  return {name: value for name, value in wanted.items() if name not in told} or None
