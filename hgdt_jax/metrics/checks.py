"""What can be told before anything is measured: counts, pairs, frames, sizes, resamplings.

A network takes minutes to hours over a set; an error that the files' headers show comes before.
"""

from collections.abc import Mapping

import numpy as np

from hgdt_jax.metrics import protocol
from hgdt_jax.metrics.clip_sets import ClipSet, Pairs
from hgdt_jax.metrics.measures import Measure
from hgdt_jax.metrics.scored import Uncertainty
from hgdt_jax.metrics.table import Metric


def counts(
  name: str, metric: Metric, measure: Measure, real: ClipSet, fake: ClipSet, pairs: Pairs | None
) -> None:
  """ValueError where there are too few clips for the metric `name`, or they do not pair."""
  if measure.paired:
    if pairs is None:
      raise ValueError(f'{name} compares clip with clip: it needs as many real as generated ones')
    if len(pairs[0].groups) != len(pairs[1].groups) or not len(pairs[0].groups):
      raise ValueError(
        f'{name} compares clip with clip, and there are {len(pairs[0].groups)} real and '
        f'{len(pairs[1].groups)} generated ones'
      )
  elif min(len(real.groups), len(fake.groups)) < metric.least:
    raise ValueError(
      f'{name} needs at least {metric.least} clips in each set, got {len(real.groups)} real and '
      f'{len(fake.groups)} generated'
    )


def sizes(
  metrics: Mapping[str, Metric],
  wanted: Mapping[str, Measure],
  real: ClipSet,
  fake: ClipSet,
  pairs: Pairs | None,
) -> None:
  """ValueError where a metric cannot be of clips of these frames and pixels."""
  for name, metric in metrics.items():
    measure = wanted[metric.measure]
    if measure.paired:
      pairs.check()
    for clips in pairs if measure.paired else (real, fake):
      _fits(name, measure, clips.facts)


def resamplings(
  metrics: Mapping[str, Metric],
  wanted: Mapping[str, Measure],
  sets: tuple[ClipSet, ClipSet],
  pairs: Pairs | None,
  uncertainty: Uncertainty,
) -> None:
  """ValueError where intervals, a curve or an extrapolation are asked of what has none."""
  if uncertainty.infinity and not any(metric.moments for metric in metrics.values()):
    raise ValueError(
      'an extrapolation to infinitely many clips is of Fréchet distances (fvd, fid, '
      f'frechet_random_conv3d); {", ".join(metrics)}: none, their mean does not depend on how many'
    )
  if uncertainty.infinity:
    _enough_to_extrapolate(metrics, wanted, sets[1])
  if uncertainty.curve and not any(metric.of_both for metric in metrics.values()):
    raise ValueError(f'a curve is of metrics that compare two sets; {", ".join(metrics)}: none')
  if uncertainty.bootstrap == 1:
    raise ValueError('bootstrap=1: an interval needs 2 resamplings, and 200 to be exact')
  for name, metric in metrics.items():
    sides = pairs if wanted[metric.measure].paired else sets
    used = sides if metric.of_both else sides[1:]
    if uncertainty.bootstrap and min(len(np.unique(side.groups)) for side in used) < 2:
      raise ValueError(f'{name}: a bootstrap interval needs at least 2 files of clips')
    points = uncertainty.curve or (uncertainty.infinity and metric.moments)
    if metric.of_both and points and len(sides[1].groups) <= metric.least:
      raise ValueError(f'{name}: a curve needs more than {len(sides[1].groups)} generated clips')


def _enough_to_extrapolate(metrics, wanted, fake):
  """ValueError where no distance can be extrapolated: beside one that can, others are undefined."""
  reasons = {}
  for name, metric in metrics.items():
    if metric.moments:
      samples = len(fake.groups) * (fake.facts['frames'] if metric.per_image else 1)
      dimensions = wanted[metric.measure].facts.get('dims', 0)  # a network of one's own may not say
      reasons[name] = protocol.unextrapolable(samples, dimensions)
  if all(reasons.values()):
    name, reason = next(iter(reasons.items()))
    raise ValueError(f'{name}: {reason}; generate more, or leave the extrapolation out')


def _fits(name, measure, facts):
  frames, *side = measure.smallest
  if facts['frames'] < frames:
    raise ValueError(f'{name}: needs clips of at least {frames} frames, got {facts["frames"]}')
  for resolution in facts['resolution'].split(', '):
    width, height = map(int, resolution.split('x'))
    if height < side[0] or width < side[1]:
      raise ValueError(
        f'{name}: needs frames of at least {side[1]}x{side[0]} pixels, got {resolution}'
      )
