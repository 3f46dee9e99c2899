"""Scores of generated clips against real ones: from arrays, or streamed from any `ClipSet`."""

import functools
import pathlib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from absl import logging
from jaxtyping import Float, Shaped

from hgdt_jax.metrics import (
  checks,
  measures,
  networks,
  processes,
  scored,
  statistics_cache,
  table,
)
from hgdt_jax.metrics.clip_sets import ArrayClips, ClipSet, Pairs
from hgdt_jax.metrics.frechet import Moments
from hgdt_jax.metrics.scored import Failed, Score, Uncertainty
from hgdt_jax.metrics.statistics_cache import Samples

Progress = Callable[[Iterable, str, int], Iterable]  # of arrays, or of pairs of arrays
Network = networks.FeatureNetwork | networks.DistanceNetwork


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


def check(
  clips: Shaped[np.ndarray, '...'],
  names: Sequence[str],
  weights_dir: str | pathlib.Path | None = None,
) -> None:
  """Raises what `score_clips` would of two sets like `clips` before it measures anything."""
  clips = ArrayClips(clips, _AT_ONCE)
  load = functools.partial(networks.load, weights_dir=weights_dir)
  _checked(clips, clips, names, load, Pairs(clips, clips), VALUES_ONLY)


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
  found: dict[str, Score] | None = None,
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
    found: scores are put there as they come: it has them though the call is stopped.

  Raises:
    ValueError: an unknown metric, too few clips for one, clips that do not pair or are too short or
      small, all before anything is measured; or no metric is defined for these clips. Where some
      are, the others are nan, with the reason in their stamp.
    FileNotFoundError: the weights of a network are missing.
  """
  if shared and isinstance(cache, statistics_cache.Folder):
    raise ValueError('processes that share the work cannot use a cache: one may see it half filled')
  load = functools.cache(lambda n: own_networks.get(n) or networks.load(n, weights_dir))
  metrics, wanted = _checked(real, fake, names, load, pairs, uncertainty)
  keep = {m.measure for m in metrics.values() if _needs_rows(m, uncertainty)}
  single = {name: measure for name, measure in wanted.items() if not measure.paired}
  walk = lambda some, clips, label, batches: _walk(
    some, keep, progress(batches, label, len(clips.groups)), len(clips.groups), shared
  )
  found = {} if found is None else found

  def add(sides, of, measured_real, measured_fake):
    for name, metric in metrics.items():
      if metric.measure in of:
        samples = (measured_real.get(metric.measure), measured_fake.get(metric.measure))
        found.update(_scored(name, metric, of[metric.measure], sides, samples, uncertainty))

  measured_real = _cached(
    real, single, keep, cache, lambda left: walk(left, real, 'real', real.batches())
  )
  left = {n: m for n, m in single.items() if not isinstance(measured_real[n], Failed)}
  add((real, fake), single, measured_real, walk(left, fake, 'generated', fake.batches()))
  paired = {name: measure for name, measure in wanted.items() if measure.paired}
  if paired:
    add(pairs, paired, {}, walk(paired, pairs.real, 'pairs', pairs.batches()))
  return _in_order(found, names)


def _checked(real, fake, names, load, pairs, uncertainty):
  """The metrics by name and their measures. Raises what can be told before anything is measured."""
  metrics = {name: table.find(name) for name in names}
  wanted = {m.measure: measures.make(m.measure, load) for m in metrics.values()}
  for name, metric in metrics.items():
    checks.counts(name, metric, wanted[metric.measure], real, fake, pairs)
  checks.sizes(metrics, wanted, real, fake, pairs)
  checks.resamplings(metrics, wanted, (real, fake), pairs, uncertainty)
  return metrics, wanted


def _scored(name, metric, measure, sides, samples, uncertainty) -> dict[str, Score]:
  """The scores of a metric; one without a number where it is undefined for what was measured."""
  try:
    failed = next((some for some in samples if isinstance(some, Failed)), None)
    if failed:
      raise ValueError(failed.reason)
    real, fake = sides
    checks.counts(name, metric, measure, real, fake, sides if measure.paired else None)  # as read
    return scored.score(name, metric, measure, sides, samples, uncertainty)
  except ValueError as error:
    return scored.undefined(name, metric, measure, sides, str(error))


def _in_order(found, names):
  """The scores by the names asked for. ValueError where none has a number."""
  if all('undefined' in one.stamp for one in found.values()):
    name, one = next(iter(found.items()))
    raise ValueError(f'{name}: {one.stamp["undefined"]}')
  each = [key for name in names for key in (name, f'{name}_infinity') if key in found]
  return {key: found[key] for key in each}


def _batch(clips, shared):
  """Clips in memory that are measured at once."""
  return processes.share(clips, _AT_ONCE) if shared else _AT_ONCE


def _needs_rows(metric, uncertainty):
  return bool(
    metric.moments is None or uncertainty.bootstrap or uncertainty.curve or uncertainty.infinity
  )


def _walk(wanted, keep, batches, clips, shared) -> dict[str, Samples | Failed]:
  """One pass over `clips` clips: rows of the measures in `keep`, moments of the others.

  A measure that fails is not taken any further; processes that share the work raise, for the others
  could not know.
  """
  if not wanted:
    return {}
  found: dict[str, Samples] = {}
  first = 0  # clip of the batch
  for number, batch in enumerate(batches):
    batch = batch if isinstance(batch, tuple) else (batch,)
    if not shared or processes.is_mine(number):
      for name, measure in wanted.items():
        before = found.get(name)
        if isinstance(before, Failed):
          continue
        try:
          rows = np.asarray(measure.rows(*batch))
          taken = _placed(before, rows, first, clips) if name in keep else _added(before, rows)
        except ValueError as error:
          if shared:
            raise ValueError(f'{name}: {error}') from error
          taken = Failed(f'{name}: {error}')
        found[name] = taken
    first += len(batch[0])
  whole = [name for name in keep & found.keys() if not isinstance(found[name], Failed)]
  found |= {name: found[name][:first] for name in whole}
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


def _cached(clip_set, wanted, keep, kept, walk) -> dict[str, Samples | Failed]:
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
    if not isinstance(samples, Failed):
      _keep(kept, entry(name), samples)
  return found | fresh


def _keep(kept, name, samples):
  try:
    kept.save(name, samples)
  except OSError as error:  # what was measured is worth more than its copy
    logging.warning('what was measured of the real clips is not kept: %s', error)
