"""Scores of generated clips against real ones: from arrays, or streamed from any `ClipSet`."""

import contextlib
import dataclasses
import functools
import math
import pathlib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from hgdt_jax.metrics import (
  measures,
  networks,
  processes,
  protocol,
  resampling,
  statistics_cache,
  table,
)
from hgdt_jax.metrics.clip_sets import ArrayClips, ClipSet, Pairs
from hgdt_jax.metrics.frechet import Moments
from hgdt_jax.metrics.statistics_cache import Samples

Progress = Callable[[Iterable, str, int], Iterable]  # of arrays, or of pairs of arrays
Network = networks.FeatureNetwork | networks.DistanceNetwork


@dataclasses.dataclass(frozen=True)
class Score:
  """A number and all that is needed to repeat it; `stamp` is JSON-able."""

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


VALUES_ONLY = Uncertainty()
_AT_ONCE = 16
_REMEMBERED = statistics_cache.Memory(16)  # of real clips that many sets are scored against
NO_NETWORKS: Mapping[str, Network] = types.MappingProxyType({})


def score_clips(
  real: Shaped[np.ndarray, '...'],
  fake: Shaped[np.ndarray, '...'],
  names: Sequence[str],
  weights_dir: str | pathlib.Path | None = None,
  uncertainty: Uncertainty = VALUES_ONLY,
  own_networks: Mapping[str, Network] = NO_NETWORKS,
  shared: bool = False,
  **facts,
) -> dict[str, Score]:
  """Scores arrays uint8 `[N, T, H, W, C]` by the metrics `names` (of `table.METRICS`).

  Paired metrics take the i-th real with the i-th generated clip. `facts` (split, say) go into
  every stamp, as `ArrayClips` takes them. `shared` and errors as in `score_sets`.
  """
  batch = _batch(max(len(real), len(fake)), shared)
  real, fake = ArrayClips(real, batch, **facts), ArrayClips(fake, batch, **facts)
  pairs = Pairs(real, fake)
  return score_sets(
    *(real, fake, names, weights_dir, uncertainty, own_networks, pairs),
    cache=_REMEMBERED,
    shared=shared,
  )


def measure_clips(
  clips: Shaped[np.ndarray, '...'], name: str, *, shared: bool = False
) -> Float[np.ndarray, 'n k d']:
  """Rows of the measure `name`, one that needs no weights, of clips as `score_clips` takes them.

  `shared` as in `score_sets`.
  """
  clip_set = ArrayClips(clips, _batch(len(clips), shared))
  wanted = {name: measures.make(name, networks.load)}
  return _walk(wanted, {name}, clip_set.batches(), len(clips), shared)[name]


def score_sets(
  real: ClipSet,
  fake: ClipSet,
  names: Sequence[str],
  weights_dir: str | pathlib.Path | None = None,
  uncertainty: Uncertainty = VALUES_ONLY,
  own_networks: Mapping[str, Network] = NO_NETWORKS,
  pairs: Pairs | None = None,
  cache: statistics_cache.Folder | statistics_cache.Memory | None = None,
  progress: Progress = lambda batches, label, total: batches,
  shared: bool = False,
) -> dict[str, Score]:
  """Scores two sets in one pass over each, and one over the pairs where a metric needs them.

  FVD and FID keep mean and covariance only, unless `uncertainty` asks for more.

  Args:
    real: the clips to be like.
    fake: the clips to score.
    names: of `table.METRICS`; the result has them in this order.
    weights_dir: converted weights of the feature networks.
    uncertainty: intervals, curves, extrapolation.
    own_networks: to use in place of the published ones of the same name ('face', say); their facts
      and sha256 are in the stamp.
    pairs: real and generated clips, the i-th with the i-th; needed by paired metrics.
    cache: where what was measured of the real set is kept; None to measure it each time.
    progress: wraps an iterator over batches, given a label and the number of clips.
    shared: every JAX process makes this call with the same sets, measures its share of the batches
      and gets the scores of all of them; not with a cache on disk.

  Raises:
    ValueError: an unknown metric, too few clips for one, clips that do not pair, NaN features, or a
      metric that is undefined for these clips; the text names the metric.
    FileNotFoundError: the weights of a network are missing.
  """
  if shared and isinstance(cache, statistics_cache.Folder):
    raise ValueError('processes that share the work cannot use a cache: one may see it half filled')
  metrics = {name: table.find(name) for name in names}
  load = functools.cache(lambda n: own_networks.get(n) or networks.load(n, weights_dir))
  wanted = {m.measure: measures.make(m.measure, load) for m in metrics.values()}
  _check_counts(metrics, wanted, real, fake, pairs)

  keep = {m.measure for m in metrics.values() if _needs_rows(m, uncertainty)}
  single = {name: measure for name, measure in wanted.items() if not measure.paired}
  walk = lambda some, clips, label, batches: _walk(
    some, keep, progress(batches, label, len(clips.groups)), len(clips.groups), shared
  )
  measure_real = lambda left: walk(left, real, 'real', real.batches())
  measured_real = _cached(real, single, keep, cache, measure_real)
  measured_fake = walk(single, fake, 'generated', fake.batches())
  paired = {name: measure for name, measure in wanted.items() if measure.paired}
  if paired:
    measured_fake |= walk(paired, pairs.real, 'pairs', pairs.batches())
  _check_counts(metrics, wanted, real, fake, pairs)  # of what could be read

  scores = {}
  for name, metric in metrics.items():
    sides = pairs if wanted[metric.measure].paired else (real, fake)
    samples = (measured_real.get(metric.measure), measured_fake[metric.measure])
    with _named(name):
      scores |= _score(name, metric, wanted[metric.measure], sides, samples, uncertainty)
  return scores


def _batch(clips, shared):
  """Clips in memory that are measured at once."""
  return processes.share(clips, _AT_ONCE) if shared else _AT_ONCE


@contextlib.contextmanager
def _named(name):
  """Says in an error which metric or measure it is about."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f'{name}: {error}') from error


def _check_counts(metrics, wanted, real, fake, pairs):
  for name, metric in metrics.items():
    if wanted[metric.measure].paired:
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


def _needs_rows(metric, uncertainty):
  return bool(
    metric.moments is None or uncertainty.bootstrap or uncertainty.curve or uncertainty.infinity
  )


def _walk(wanted, keep, batches, clips, shared) -> dict[str, Samples]:
  """One pass over `clips` clips: rows of the measures in `keep`, moments of the others."""
  if not wanted:
    return {}
  found: dict[str, Samples] = {}
  first = 0  # clip of the batch
  for number, batch in enumerate(batches):
    batch = batch if isinstance(batch, tuple) else (batch,)
    if not shared or processes.is_mine(number):
      for name, measure in wanted.items():
        with _named(name):
          rows, before = np.asarray(measure.rows(*batch)), found.get(name)
          taken = _placed(before, rows, first, clips) if name in keep else _added(before, rows)
          found[name] = taken
    first += len(batch[0])
  found |= {name: found[name][:first] for name in keep & found.keys()}
  if not shared:
    return found
  merge = lambda name: processes.merge_rows if name in keep else processes.merge_moments
  return {name: merge(name)(found.get(name)) for name in wanted}


def _added(moments, rows):
  new = Moments.from_features(table.flat(rows))
  return new if moments is None else moments + new


def _placed(whole, rows, first, clips):
  """`whole [clips, K, D]` with `rows` from clip `first` on; zeros where nothing was put yet."""
  if whole is None:
    whole = np.zeros((clips, *rows.shape[1:]), rows.dtype)
  whole[first : first + len(rows)] = rows
  return whole


def _cached(clip_set, wanted, keep, kept, walk) -> dict[str, Samples]:
  """`walk(measures)` for what is not `kept` yet; what it measured is put there."""
  if kept is None or not clip_set.fingerprint:
    return walk(wanted)
  entry = lambda name: statistics_cache.name_of({
    'data': clip_set.fingerprint, 'measure': name, 'facts': wanted[name].facts, 'rows': name in keep
  })  # fmt: skip
  found = {name: kept.load(entry(name)) for name in wanted}
  whole = clip_set.fingerprint
  fresh = walk({name: wanted[name] for name, samples in found.items() if samples is None})
  if clip_set.fingerprint != whole:  # the walk left clips out that the entries on disk count
    fresh |= walk({name: wanted[name] for name in wanted.keys() - fresh.keys()})
  for name, samples in fresh.items():
    kept.save(entry(name), samples)
  return found | fresh


def _score(name, metric, measure, sides, samples, uncertainty) -> dict[str, Score]:
  """The score, and the extrapolated one where asked for."""
  real, fake = samples
  stamp = protocol.stamp(name, metric, measure, *sides)
  if isinstance(fake, Moments):
    return {name: Score(metric.moments(real, fake), stamp)}
  value = metric.value(real, fake)
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
      extra = protocol.extrapolated(stamp, points)
      scores[f'{name}_infinity'] = Score(resampling.at_infinity(points), extra)
  return scores


def _interval(metric, sides, samples, value, options):
  used = sides if metric.of_both else sides[1:]
  if min(len(np.unique(side.groups)) for side in used) < 2:
    raise ValueError('a bootstrap interval needs at least 2 files of clips')
  draws = resampling.draw([side.groups for side in used], options.bootstrap, options.seed)
  real, fake = samples
  interval = resampling.centred_interval(metric.resample(real, [fake], draws)[0], value)
  interval = np.clip(interval, *metric.limits).tolist()
  return {'interval': interval, 'bootstrap': options.bootstrap, 'seed': options.seed}


def _curve(metric, samples, options):
  real, fake = samples
  score = lambda picks: metric.value(real, fake[picks])
  return resampling.curve(score, len(fake), metric.least, options.seed)
