"""How far a score can be trusted: intervals, score against number of clips, N to infinity."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

_SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)
_DRAWS = 4  # subsets per size, averaged
_EXPECTED = 'where the expected score of so many clips lies, in 95% of cases'
MEANING = {  # of an interval, by `smooth` of its metric
  True: f'{_EXPECTED}; from halves of the clips',
  False: f'{_EXPECTED} or more; from halves of the clips',
}
MEANING_OF_BOOTSTRAP = (
  f'{_EXPECTED} or more, up to twice too wide; bootstrap, for halves would be too few clips'
)
Groups = Shaped[np.ndarray, ' _']  # of every sample: windows of one file are of one group
Picks = Int[np.ndarray, ' _']  # indices of samples
Scores = Float[np.ndarray, 'f r']  # of F sets, in R resamplings


@dataclasses.dataclass(frozen=True)
class Draws:
  """Resamplings of one set: how often each group of samples was drawn.

  Attributes:
    counts: of R resamplings and G groups.
    members: the group of every sample, 0 to G - 1.
  """

  counts: Int[np.ndarray, 'r g']
  members: Int[np.ndarray, ' n']

  def weights(self) -> Int[np.ndarray, 'r n']:
    """How often each sample was drawn."""
    return self.counts[:, self.members]

  def picks(self) -> Iterator[Picks]:
    """The samples of each resampling: one drawn twice stands there twice."""
    every = np.arange(len(self.members))
    return (np.repeat(every, weights) for weights in self.weights())


class Difference(NamedTuple):
  """Score of a first method less that of a second, with a 95% interval.

  `deviation` is the standard deviation of the resampled differences.
  """

  value: float
  low: float
  high: float
  deviation: float


def draw(groups: Sequence[Groups], count: int, seed: int) -> list[Draws]:
  """`count` resamplings with replacement of the whole groups of each set.

  `groups` has those of each set: windows of one file are resampled together, for they are not
  independent.
  """
  rng = np.random.default_rng(seed)
  named = [np.unique(g, return_inverse=True) for g in groups]
  counts = [np.zeros((count, len(names)), np.int64) for names, _ in named]
  for i in range(count):
    for drawn in counts:
      size = drawn.shape[1]
      drawn[i] = np.bincount(rng.integers(0, size, size), minlength=size)
  return [Draws(drawn, members) for drawn, (_, members) in zip(counts, named)]


def halves(groups: Sequence[Groups], count: int, seed: int) -> tuple[list[Draws], list[Draws]]:
  """Parts each set `count` times at random into two halves of its groups, which share none."""
  rng = np.random.default_rng(seed)
  parts: tuple[list[Draws], list[Draws]] = ([], [])
  for of in groups:
    names, members = np.unique(of, return_inverse=True)
    first, second = (np.zeros((count, len(names)), np.int64) for _ in parts)
    for one, other in zip(first, second):
      order, half = rng.permutation(len(names)), len(names) // 2
      one[order[:half]] = other[order[half:]] = 1
    for part, counts in zip(parts, (first, second)):
      part.append(Draws(counts, members))
  return parts


def interval_of_halves(
  first: Float[np.ndarray, ' r'],
  second: Float[np.ndarray, ' r'],
  value: float,
  confidence: float = 0.95,
  *,
  smooth: bool = True,
) -> tuple[float, float]:
  """Where the expected score at this number of samples lies, from the scores of `halves`.

  A bootstrap takes samples twice, and so finds a Fréchet distance of many dimensions up to twice as
  uncertain as it is. Scores of the two halves of one parting are of independent samples; what they
  have in common is negative, for one's gain is the other's loss, and its size is the variance of
  the score averaged over all partings (the law of total variance). That is the variance of a score
  whose terms are of one or two samples, as means and kernel distances are, and near to that of a
  Fréchet distance (0.9 to 1.1 of the width, by simulation). It lies between a third of the variance
  of halves (terms of two samples only) and all of it (of one), and is kept there. The quantiles of
  the halves, scaled, fall around `value`.

  Not `smooth` are scores of nearest neighbours, which terms of few samples do not make up: theirs
  is all the variance of halves, 0.9 to 1.2 times the width by simulation. ValueError without two
  finite partings.
  """
  finite = np.isfinite(first) & np.isfinite(second)
  first, second = first[finite], second[finite]
  if len(first) < 2:
    raise ValueError('the score is undefined for halves of the clips')
  both = np.concatenate([first, second])
  spread = both.var()
  shared = (np.var(first - second) - np.var(first + second)) / 4.0
  scale = np.sqrt(np.clip(shared / spread, 1.0 / 3.0, 1.0)) if smooth and spread else 1.0
  tail = (1.0 - confidence) / 2.0
  low, high = value + scale * (np.quantile(both, [tail, 1.0 - tail]) - both.mean())
  return float(min(low, value)), float(max(high, value))


def each(score: Callable[[list[Picks]], float], draws: Sequence[Draws]) -> Float[np.ndarray, ' r']:
  """`score` of every resampling; it takes the picks of each set."""
  return np.array([score(list(picks)) for picks in zip(*(d.picks() for d in draws))])


def centred_interval(
  scores: Float[np.ndarray, ' r'], value: float, confidence: float = 0.95
) -> tuple[float, float]:
  """Quantiles of resampled scores, shifted so that their mean falls on `value`.

  A resampled set has fewer distinct samples, which by itself raises a Fréchet distance, so plain
  quantiles may not even contain the value. Resamplings without a finite score (all pairs equal) are
  left out.
  """
  tail = (1.0 - confidence) / 2.0
  scores = scores[np.isfinite(scores)]
  low, high = np.quantile(scores, [tail, 1.0 - tail]) + (value - np.mean(scores))
  return float(low), float(high)


def bootstrap_interval(
  score: Callable[[list[Picks]], float],
  groups: Sequence[Groups],
  value: float,
  count: int,
  seed: int,
  confidence: float = 0.95,
) -> tuple[float, float]:
  """Interval around `value` from `count` resamplings of whole groups with replacement.

  Args:
    score: takes the picks of each set and gives the score of those.
    groups: as `draw` takes them.
    value: the score of the samples as they are.
    count: resamplings; 0.95 needs some hundreds.
    seed: of the resampling.
    confidence: share of the mass inside; the quantiles are those of `centred_interval`.
  """
  return centred_interval(each(score, draw(groups, count, seed)), value, confidence)


def bootstrap_difference(
  scores: Callable[[list[Draws]], Float[np.ndarray, '2 r']],
  groups: Sequence[Groups],
  value: float,
  count: int,
  seed: int,
  confidence: float = 0.95,
) -> Difference:
  """By how much two methods differ, from resamplings that both share.

  What both have in common, the real clips and what one code makes of either, is resampled alike and
  cancels: the interval is far narrower than the two of the scores suggest.

  Args:
    scores: of both methods, from the draws of each set; the i-th sample of a set is the i-th of
      both methods, made from one code.
    groups: as `draw` takes them.
    value: the difference of the scores of the samples as they are.
    count: resamplings; 0.95 needs some hundreds.
    seed: of the resampling.
    confidence: share of the mass inside; the quantiles are those of `centred_interval`.
  """
  first, second = scores(draw(groups, count, seed))
  found = (first - second)[np.isfinite(first) & np.isfinite(second)]
  return Difference(value, *centred_interval(found, value, confidence), float(found.std(ddof=1)))


def curve(
  score: Callable[[Picks], float], clips: int, least: int, seed: int
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

  The bias of a Fréchet distance is linear in 1/N where N is several times the dimensions: the
  intercept of the least-squares line through score against 1/N, of the larger half of the sizes,
  and not below 0. What the size of the real set adds stays. ValueError where a score of them is not
  finite.
  """
  sizes, scores = np.array(points, np.float64).T
  if not np.isfinite(scores).all():
    raise ValueError('a score of fewer clips, from which it is extrapolated, is not finite')
  large = sizes >= sizes.max() / 2.0
  _, intercept = np.polyfit(1.0 / sizes[large], scores[large], 1)
  return max(0.0, float(intercept))
