"""Two methods against the same real clips: by how much they differ, and what could be told apart.

Everything here takes rows as `measures` gives them, one a clip or several, and the name of a metric
of `table.METRICS`.
"""

import numpy as np
from jaxtyping import Shaped

from hgdt_jax.metrics import resampling, table
from hgdt_jax.metrics.resampling import Difference, Draws
from hgdt_jax.metrics.table import Rows

POWER_80 = 2.8016  # deviations: 1.960 for a two-sided 5% level, 0.842 for a power of 80%


def difference(
  name: str,
  real: Rows | None,
  first: Rows,
  second: Rows,
  real_groups: Shaped[np.ndarray, ' _'] | None = None,
  groups: Shaped[np.ndarray, ' _'] | None = None,
  count: int = 1000,
  seed: int = 0,
  confidence: float = 0.95,
) -> Difference:
  """Score of `first` less that of `second`, with a bootstrap interval that knows they are paired.

  Clip i of both is made from one code (or real clip): both are resampled alike, against one
  resample of the real set. Where both laws are the real one, the interval of a Fréchet or a kernel
  distance is about 1.5 times as wide as it had to be: it then holds 0 nearly always.

  Args:
    name: of `table.METRICS`.
    real: rows of the real clips; None for a metric that is not `of_both`.
    first: rows of the one method's clips.
    second: rows of the other's, as many.
    real_groups: the file of every real clip, resampled whole; None: each by itself.
    groups: the same of the generated clips.
    count: resamplings.
    seed: of the resampling.
    confidence: share of the mass inside.

  Raises:
    ValueError: an unknown metric, sets that do not pair, or one of fewer than 2 groups.
  """
  metric = table.find(name)
  if first.shape != second.shape:
    raise ValueError(
      f'paired methods need rows of one shape, got {list(first.shape)} and {list(second.shape)}'
    )
  sides = [(real, real_groups), (first, groups)][0 if metric.of_both else 1 :]
  named = [np.arange(len(rows)) if of is None else np.asarray(of) for rows, of in sides]
  for (rows, _), of in zip(sides, named):
    if len(of) != len(rows) or len(np.unique(of)) < 2:
      raise ValueError(f'{len(rows)} clips need as many groups, 2 or more different, got {of!r}')
  value = metric.value(real, first) - metric.value(real, second)
  scores = lambda draws: metric.resample(real, (first, second), draws)
  return resampling.bootstrap_difference(scores, named, value, count, seed, confidence)


def smallest_difference(
  name: str,
  real: Rows,
  clips: tuple[int, int],
  pool: Rows | None = None,
  splits: int = 200,
  seed: int = 0,
) -> float:
  """The smallest difference of two methods' scores that so many clips could tell apart.

  2.8 standard deviations of the difference of two methods of one law: told apart at a two-sided
  level of 5% with a power of 80%, as far as a difference of that size is not noisier itself. By
  default both are as good as real clips, and the deviation is that over random splits of `real`
  into a real set and the clips of two methods, disjoint. A squared distance is noisier the larger
  it is: two methods at a distance need that of clips at that distance, so give one's clips as
  `pool`; and near 0, where a method at the difference is much noisier than one at 0, the power is
  60 to 75% (of Fréchet and kernel distances of Gaussian features). What pairing the methods by code
  saves is not in it, which errs to the other side.

  Args:
    name: of `table.METRICS`, one that compares two sets.
    real: rows of real clips that are independent: one a file.
    clips: in the real set, and of each method.
    pool: rows of one method's clips; None: of the real ones.
    splits: random ones; 200 give the deviation to 5%.
    seed: of the splits.

  Raises:
    ValueError: an unknown metric, one of the generated clips alone, or fewer rows than the clips of
      one split: `clips[0] + 2 clips[1]` real ones, or the first of real and twice the second of
      the pool.
  """
  metric = table.find(name)
  if not metric.of_both:
    raise ValueError(f'{name} is of the generated clips alone: its deviation is that of a mean')
  n, m = clips
  own = pool is None
  need = (n + 2 * m, 0) if own else (n, 2 * m)
  have = (len(real), 0 if own else len(pool))
  if any(h < w for h, w in zip(have, need)) or min(clips) < metric.least:
    raise ValueError(
      f'{name} of {n} real clips and twice {m}, each at least {metric.least}, needs {need[0]} real '
      f'rows and {need[1]} of a pool, got {have[0]} and {have[1]}'
    )
  rng = np.random.default_rng(seed)
  pool = real if own else pool
  chosen = [np.zeros((splits, size), np.int64) for size in (len(real), len(pool), len(pool))]
  for i in range(splits):
    order = rng.permutation(len(real))
    others = order[n:] if own else rng.permutation(len(pool))
    for marks, some in zip(chosen, (order[:n], others[:m], others[m : 2 * m])):
      marks[i, some] = 1
  of_real, *of_fakes = (Draws(marks, np.arange(marks.shape[1])) for marks in chosen)
  first, second = (metric.resample(real, (pool,), (of_real, of))[0] for of in of_fakes)
  return float(POWER_80 * np.sqrt(np.mean((first - second) ** 2)))  # their mean is 0
