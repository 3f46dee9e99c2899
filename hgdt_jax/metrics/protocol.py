"""Protocol stamps: all that is needed to repeat a number, and when not to believe it."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from hgdt_jax.metrics.clip_sets import ClipSet
from hgdt_jax.metrics.measures import Measure
from hgdt_jax.metrics.networks import published
from hgdt_jax.metrics.table import Metric

PUBLISHED_I3D = frozenset(published.CONTENT['i3d'])
# Samples a dimension. From 4 on the bias of a Fréchet distance is linear in 1/N, and what is
# extrapolated is within 7 % (by simulation, spectra flat to 1/i); between 2 and 4 it is too low, by
# up to half; below 2 it lies anywhere from 0 to ten times what it is to estimate.
_LINEAR, _LEAST = 4, 2


def stamp(
  name: str, metric: Metric, measure: Measure, real: ClipSet, fake: ClipSet
) -> dict[str, Any]:
  """JSON-able facts: clips, frames, stride, resolution, network and its sha256, ddof, definition.

  Facts of the data on which the two sets differ are given as `_real` and `_fake`.
  """
  facts: dict[str, Any] = {'clips_real': len(real.groups), 'clips_fake': len(fake.groups)}
  for key in {**real.facts, **fake.facts}:
    a, b = real.facts.get(key), fake.facts.get(key)
    facts |= {key: a} if a == b else {f'{key}_real': a, f'{key}_fake': b}
  facts |= measure.facts | metric.facts | {'better': metric.better}
  samples = facts['frames'] if metric.per_image else 1
  facts |= {f'samples_{side}': facts[f'clips_{side}'] * samples for side in ('real', 'fake')}
  if name == 'fvd' and _is_fvd2048_16f(facts):
    facts['protocol'] = 'fvd2048_16f'
  if few := _too_few(metric, facts):
    facts['warning'] = few
  return facts


def with_value(
  facts: dict[str, Any], metric: Metric, value: float, rows: Float[np.ndarray, '...']
) -> dict[str, Any]:
  """The stamp of this value: of how many samples it is the mean, and where it misleads."""
  facts, warnings = dict(facts), [facts.get('warning')]
  if metric.averaged:
    values = metric.averaged(rows)
    used = int(np.isfinite(values).sum())
    del facts['samples_real'], facts['samples_fake']
    facts |= {'samples': used, 'samples_measured': values.size}
    if 0 < used < values.size:
      warnings.append(
        f'mean over {used} of {values.size} samples: no difference, or nothing to measure, in the '
        'others'
      )
  if metric.unbiased and value < 0:
    warnings.append(
      'below 0: the estimate is unbiased, so for sets of one law it is as often below 0 as above; '
      'read it as 0'
    )
  return facts | _warned(warnings)


def unextrapolable(samples: int, dimensions: int) -> str:
  """Why so many samples cannot be extrapolated from; '' where they can."""
  if samples >= (least := _LEAST * dimensions):
    return ''
  return (
    f'extrapolation to infinitely many: {samples} samples of {dimensions} dimensions, {least} '
    'needed: from fewer it gives anything from 0 to ten times the distance'
  )


def extrapolated(
  facts: dict[str, Any], points: list[tuple[int, float]], dimensions: int, per_clip: int
) -> dict[str, Any]:
  """The stamp of a score that was extrapolated from these points.

  It keeps the warning of the score, beside its own where samples are no 4 times the dimensions.
  """
  dropped = ('interval', 'interval_of', 'no_interval', 'bootstrap', 'curve', 'protocol')
  kept = {key: value for key, value in facts.items() if key not in dropped}
  samples = points[-1][0] * per_clip
  if _LEAST * dimensions <= samples < (linear := _LINEAR * dimensions):
    few = (
      f'extrapolated from {samples} samples of {dimensions} dimensions: the bias is linear in 1/N '
      f'from {linear} on, and the value too low below, by up to half'
    )
    kept |= _warned([few, kept.get('warning')])
  return kept | {
    'extrapolation': (
      'least squares in 1/N over the number of generated clips, from half of them up, to 1/N = 0; '
      'what the size of the real set adds stays'
    ),
    'points': [list(point) for point in points],
  }


def results_row(
  method: str,
  scores: dict[str, Any],
  network_evaluations: int | None = None,
  seconds_per_clip: float | None = None,
) -> dict[str, Any]:
  """One entry of `results` in results.json.

  JSON has neither infinity nor nan: null, and `infinite` or `undefined` in the stamp.
  """
  metrics, stamps = {}, {}
  for name, score in scores.items():
    metrics[name] = score.value if math.isfinite(score.value) else None
    infinite = {'infinite': 'all pairs are equal'} if math.isinf(score.value) else {}
    stamps[name] = score.stamp | infinite
  return {
    'method': method,
    'network_evaluations': network_evaluations,
    'seconds_per_clip': seconds_per_clip,
    'metrics': metrics,
    'protocol': stamps,
  }


def _warned(warnings):
  said = '; '.join(filter(None, warnings))
  return {'warning': said} if said else {}


def _is_fvd2048_16f(facts):
  """StyleGAN-V's protocol: 2048 clips of 16 consecutive frames, one a video, seen by its I3D.

  Both sets of one size and rate: a fact on which they differ is not there under its own name.
  """
  wanted = {'clips_real': 2048, 'clips_fake': 2048, 'frames': 16, 'stride': 1, 'window_stride': 0}
  alike = 'resolution' in facts and ', ' not in facts['resolution'] and 'fps_real' not in facts
  known = facts.get('network_sha256') in PUBLISHED_I3D and not isinstance(facts.get('fps'), list)
  return alike and known and all(facts.get(key) == value for key, value in wanted.items())


def _too_few(metric, facts):
  clips = min(facts['clips_real'], facts['clips_fake'])
  samples = clips * facts['frames'] if metric.per_image else clips
  if samples >= metric.enough:
    return ''
  unit = 'images' if metric.per_image else 'clips'
  return (
    f'{samples} {unit}, {metric.enough} wanted: compare only with numbers made from equally many'
  )
