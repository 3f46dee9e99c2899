"""Protocol stamps: all that is needed to repeat a number, and when not to believe it."""

import math
from typing import Any

from hgdt_jax.metrics.clip_sets import ClipSet
from hgdt_jax.metrics.measures import Measure
from hgdt_jax.metrics.table import Metric


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
  if name == 'fvd' and _is_fvd2048_16f(facts):
    facts['protocol'] = 'fvd2048_16f'
  if few := _too_few(metric, facts):
    facts['warning'] = few
  return facts


def extrapolated(facts: dict[str, Any], points: list[tuple[int, float]]) -> dict[str, Any]:
  """The stamp of a score that was extrapolated from these points."""
  dropped = ('interval', 'bootstrap', 'curve', 'protocol', 'warning')
  kept = {key: value for key, value in facts.items() if key not in dropped}
  return kept | {
    'extrapolation': 'least squares in 1/N over the number of generated clips, to 1/N = 0',
    'points': [list(point) for point in points],
  }


def results_row(
  method: str,
  scores: dict[str, Any],
  network_evaluations: int | None = None,
  seconds_per_clip: float | None = None,
) -> dict[str, Any]:
  """One entry of `results` in results.json. JSON has no infinity: null, and a word in the stamp."""
  metrics, stamps = {}, {}
  for name, score in scores.items():
    finite = math.isfinite(score.value)
    metrics[name] = score.value if finite else None
    stamps[name] = score.stamp if finite else score.stamp | {'infinite': 'all pairs are equal'}
  return {
    'method': method,
    'network_evaluations': network_evaluations,
    'seconds_per_clip': seconds_per_clip,
    'metrics': metrics,
    'protocol': stamps,
  }


def _is_fvd2048_16f(facts):
  """StyleGAN-V's protocol: 2048 clips of 16 consecutive frames, one a video."""
  wanted = {'clips_real': 2048, 'clips_fake': 2048, 'frames': 16, 'stride': 1, 'window_stride': 0}
  return all(facts.get(key) == value for key, value in wanted.items())


def _too_few(metric, facts):
  clips = min(facts['clips_real'], facts['clips_fake'])
  samples = clips * facts['frames'] if metric.per_image else clips
  if samples >= metric.enough:
    return ''
  unit = 'images' if metric.per_image else 'clips'
  return (
    f'{samples} {unit}, {metric.enough} wanted: compare only with numbers made from equally many'
  )
