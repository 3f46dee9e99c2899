"""How hard the compiler tries, on a CPU."""

import os


def options(level: int, platform: str) -> dict | None:
  """Options of a compilation: LLVM's effort on a CPU, unless XLA_FLAGS say; elsewhere none.

  Convolutions and matrix products are library calls there: what is compiled at 1 runs as fast as at
  2, the default, for three to four fifths of the time; 0 takes a third to half, of what runs once.
  """
  effort = 'xla_backend_optimization_level'
  return None if platform != 'cpu' or effort in os.environ.get('XLA_FLAGS', '') else {effort: level}
