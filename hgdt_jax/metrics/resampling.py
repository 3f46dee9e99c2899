"""How far a score can be trusted: intervals, score against number of clips, N to infinity."""

from collections.abc import Callable

import numpy as np

_SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)
_DRAWS = 4  # subsets per size, averaged


def bootstrap_interval(
  score: Callable[[list[np.ndarray]], float],
  groups: list[np.ndarray],
  value: float,
  count: int,
  seed: int,
  confidence: float = 0.95,
) -> tuple[float, float]:
  """Interval around `value` from `count` resamplings of whole groups with replacement.

  Args:
    score: takes one array of sample indices per set and gives the score of those.
    groups: per set, the group of every sample `[n]`: windows of one file are resampled together,
      for they are not independent.
    value: the score of the samples as they are.
    count: resamplings; 0.95 needs some hundreds.
    seed: of the resampling.
    confidence: share of the mass inside.

  The quantiles are shifted so that the mean of the resampled scores falls on `value`: a resampled
  set has fewer distinct samples, which by itself raises a Fréchet distance, so plain quantiles may
  not even contain the value. Resamplings without a finite score (all pairs equal) are left out.
  """
  rng = np.random.default_rng(seed)
  members = [[np.flatnonzero(g == name) for name in np.unique(g)] for g in groups]
  scores = []
  for _ in range(count):
    picks = [rng.integers(0, len(m), len(m)) for m in members]
    scores.append(score([np.concatenate([m[i] for i in p]) for m, p in zip(members, picks)]))
  tail = (1.0 - confidence) / 2.0
  scores = np.array(scores)[np.isfinite(scores)]
  low, high = np.quantile(scores, [tail, 1.0 - tail]) + (value - np.mean(scores))
  return float(low), float(high)


def curve(
  score: Callable[[np.ndarray], float], clips: int, least: int, seed: int
) -> list[tuple[int, float]]:
  """`[(n, score of n generated clips)]`, n from an eighth of `clips` to all; the real set is whole.

  Each value is a mean over 4 random subsets. ValueError with fewer than two sizes of `least` clips.
  """
  rng = np.random.default_rng(seed)
  sizes = sorted({n for n in (round(clips * share) for share in _SHARES) if n >= least})
  if len(sizes) < 2:
    raise ValueError(f'a curve needs more than {clips} clips')
  draw = lambda n: np.sort(rng.permutation(clips)[:n])
  return [
    (n, float(np.mean([score(draw(n)) for _ in range(1 if n == clips else _DRAWS)]))) for n in sizes
  ]


def at_infinity(points: list[tuple[int, float]]) -> float:
  """Score extrapolated to infinitely many generated clips (Chong and Forsyth 2020, FID-infinity).

  The bias of a Fréchet distance is linear in 1/N: the intercept of the least-squares line through
  score against 1/N. What the size of the real set adds stays.
  """
  sizes, scores = np.array(points, np.float64).T
  _, intercept = np.polyfit(1.0 / sizes, scores, 1)
  return float(intercept)
