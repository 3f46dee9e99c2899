"""From what was measured of two sets to numbers, each with its stamp, interval and curve."""

import dataclasses
import math
from typing import Any

import numpy as np

from hgdt_jax.metrics import protocol, resampling
from hgdt_jax.metrics.clip_sets import ClipSet
from hgdt_jax.metrics.frechet import Moments
from hgdt_jax.metrics.measures import Measure
from hgdt_jax.metrics.table import Metric


@dataclasses.dataclass(frozen=True)
class Score:
  """A number and all that is needed to repeat it; `stamp` is JSON-able.

  nan where it is undefined, with the reason as `undefined` in the stamp.
  """

  value: float
  stamp: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Uncertainty:
  """What to say of a score beside its value; any of it needs all features in memory.

  Attributes:
    bootstrap: resamplings for a 95% interval; 0 for none.
    curve: score against the number of generated clips, of metrics that compare two sets.
    infinity: Fréchet distances extrapolated to infinitely many generated clips.
    seed: of the resampling.
  """

  bootstrap: int = 0
  curve: bool = False
  infinity: bool = False
  seed: int = 0


@dataclasses.dataclass(frozen=True)
class Failed:
  """In place of the samples of a measure that could not be taken."""

  reason: str


def undefined(
  name: str, metric: Metric, measure: Measure, sides: tuple[ClipSet, ClipSet], reason: str
) -> dict[str, Score]:
  """A score without a number."""
  stamp = protocol.stamp(name, metric, measure, *sides)
  return {name: Score(math.nan, stamp | {'undefined': reason})}


def score(
  name: str,
  metric: Metric,
  measure: Measure,
  sides: tuple[ClipSet, ClipSet],
  samples: tuple[Any, Any],
  uncertainty: Uncertainty,
) -> dict[str, Score]:
  """The score, and the extrapolated one where asked for. ValueError where it is undefined.

  `samples`: as `statistics_cache.Samples`, of either side; None of the real one where it is paired.
  """
  real, fake = samples
  stamp = protocol.stamp(name, metric, measure, *sides)
  if isinstance(fake, Moments):
    return {name: Score(metric.moments(real, fake), stamp)}
  value = metric.value(real, fake)
  stamp = protocol.with_value(stamp, metric, value, fake)
  if not metric.of_both and real is not None:
    stamp['real_value'] = metric.value(None, real)
  if uncertainty.bootstrap and math.isfinite(value):
    stamp |= _interval(metric, sides, samples, value, uncertainty)
  scores = {name: Score(value, stamp)}
  if metric.of_both and (uncertainty.curve or (uncertainty.infinity and metric.moments)):
    points = _curve(metric, samples, uncertainty)
    if uncertainty.curve:
      stamp['curve'] = [list(point) for point in points]
    if uncertainty.infinity and metric.moments:
      extra = protocol.extrapolated(stamp, points, fake.shape[-1], fake.shape[1])
      scores[f'{name}_infinity'] = _extrapolated(points, fake, extra)
  return scores


def _extrapolated(points, fake, stamp):
  reason = protocol.unextrapolable(len(fake) * fake.shape[1], fake.shape[-1])
  if not reason:
    try:
      return Score(resampling.at_infinity(points), stamp)
    except ValueError as error:
      reason = str(error)
  return Score(math.nan, stamp | {'undefined': reason})


def _interval(metric, sides, samples, value, options):
  groups = [side.groups for side in (sides if metric.of_both else sides[1:])]
  real, fake = samples
  resampled = lambda draws: metric.resample(real, [fake], draws)[0]
  try:
    scores = map(resampled, resampling.halves(groups, options.bootstrap, options.seed))
    interval = resampling.interval_of_halves(*scores, value, smooth=metric.smooth)
    meaning = resampling.MEANING[metric.smooth]
  except ValueError:  # half of the clips is too few for the metric
    scores = resampled(resampling.draw(groups, options.bootstrap, options.seed))
    interval = resampling.centred_interval(scores, value)
    meaning = resampling.MEANING_OF_BOOTSTRAP
  facts = {'bootstrap': options.bootstrap, 'seed': options.seed}
  if interval[0] == interval[1] and not np.isfinite(metric.limits).any():  # not stuck at a bound
    return facts | {'no_interval': 'resamplings do not vary: too few clips, or all alike'}
  return facts | {'interval': np.clip(interval, *metric.limits).tolist(), 'interval_of': meaning}


def _curve(metric, samples, options):
  real, fake = samples
  one = lambda picks: metric.value(real, fake[picks])
  return resampling.curve(one, len(fake), metric.least, options.seed)
