"""Clips and frames a second of each way to sample, and how long one clip takes.

python benchmarks/realtime.py --source=synthetic
"""

import statistics
import time

import jax
import numpy as np
from absl import flags

from hgdt_jax import cli, machine
from hgdt_jax.trained import Trained

_SOURCE = flags.DEFINE_string('source', 'synthetic', 'Weights or a workdir.')
_NUM = flags.DEFINE_integer('num', 16, 'Clips a call, of the rates.', lower_bound=1)
_REPEATS = flags.DEFINE_integer('repeats', 5, 'Timed calls, of which the median counts.')
_ROWS = (('gan', 1), ('hybrid', 2), ('hybrid', 4), ('diffusion', 4), ('diffusion', 50))


def main():
  machine.start()
  model = Trained.load(_SOURCE.value)
  frames = model.cfg.data.frames
  kind, count = jax.devices()[0].device_kind, jax.device_count()
  print(f'{kind} x {count}, {_SOURCE.value}, clips of {frames} x {model.cfg.data.size}')
  print('method      evaluations  clips/s  frames/s  one clip, ms')
  for method, evaluations in _ROWS:
    steps = model.steps(method, evaluations)
    many, one = (_seconds(model, method, steps, num) for num in (_NUM.value, 1))
    rate = _NUM.value / many
    spent = model.evaluations(method, steps)
    print(f'{method:12}{spent:11}{rate:9.1f}{rate * frames:10.0f}{1000 * one:14.1f}', flush=True)


def _seconds(model, method, steps, num):
  """Of a call, after one that compiles: the median."""
  label, times = np.full(num, -1), []
  for seed in range(_REPEATS.value + 1):
    start = time.monotonic()
    model.draw(method, label, seed, steps=steps, tau=model.cfg.hybrid.tau)  # fetched: it is done
    times.append(time.monotonic() - start)
  return statistics.median(times[1:])


if __name__ == '__main__':
  cli.run(main)
