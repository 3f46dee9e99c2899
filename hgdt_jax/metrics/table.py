"""Every metric by name: what it measures and the statistic of the rows. A new metric is one line.

A statistic takes rows of the real and of the generated clips and gives one number.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from hgdt_jax.metrics import (
  drift,
  frechet,
  inception_score,
  kernel,
  manifold,
  resampling,
  sliced,
)
from hgdt_jax.metrics.resampling import Draws, Scores

Rows = Float[np.ndarray, '_ ... _']  # of clips: one each, or several


@dataclasses.dataclass(frozen=True)
class Metric:
  """One number for a set of clips.

  Attributes:
    measure: name in `measures`.
    statistic: `(real rows, fake rows) -> float`; real rows are None unless `of_both`.
    better: 'lower', 'higher', 'near 1', 'near real' (its value on real clips) or 'neither'.
    of_both: it compares two sets; else it is of the generated set (or the pairs) alone, and a
      measure that is not paired is also taken of the real set, for comparison.
    least: clips each set must have.
    enough: clips (images where `per_image`) below which the value is worth little, and why.
    moments: `(real, fake) -> float` on `frechet.Moments`, where rows need not be kept.
    resampled: `(real, fakes, draws)`, the statistic of every resampling of every set, where that
      takes less than row by row.
    limits: the values it can take; an interval ends there.
    smooth: made up of terms of one or two clips, nearly: see `resampling.interval_of_halves`.
    averaged: the rows that it is the mean of; None where it is no mean.
    unbiased: 0 is its mean for equal laws, so that it may fall below.
    facts: of the statistic, for the stamp.
  """

  measure: str
  statistic: Callable[[Float[np.ndarray, 'n d'] | None, Float[np.ndarray, 'm d']], float]
  better: str
  of_both: bool = False
  least: int = 1
  enough: int = 0
  per_image: bool = False
  moments: Callable[[frechet.Moments, frechet.Moments], float] | None = None
  resampled: Callable[[Rows, Sequence[Rows], Sequence[Draws]], Scores] | None = None
  limits: tuple[float, float] = (-math.inf, math.inf)
  smooth: bool = True
  averaged: Callable[[Rows], Float[np.ndarray, '...']] | None = None
  unbiased: bool = False
  facts: dict[str, Any] = dataclasses.field(default_factory=dict)

  def value(self, real: Rows | None, fake: Rows) -> float:
    """`real` counts only where `of_both`."""
    return self.statistic(flat(real) if self.of_both else None, flat(fake))

  def resample(self, real: Rows | None, fakes: Sequence[Rows], draws: Sequence[Draws]) -> Scores:
    """The value of each of the sets, which are drawn alike, in each resampling.

    `draws` are of the clips of the real set, where `of_both`, and of the generated ones.
    """
    if self.resampled:
      sets = (real, fakes[0])
      draws = [_of_rows(d, rows) for d, rows in zip(draws, sets)]
      return self.resampled(flat(real), [flat(fake) for fake in fakes], draws)
    pick = lambda fake: (
      lambda picks: self.value(real[picks[0]] if self.of_both else None, fake[picks[-1]])
    )
    return np.stack([resampling.each(pick(fake), draws) for fake in fakes])


def flat(rows: Float[np.ndarray, 'n ... d']) -> Float[np.ndarray, '_ d']:
  """The rows of all clips, one below the other."""
  return rows.reshape(-1, rows.shape[-1])


def _of_rows(draws, rows):
  """Draws of clips as those of their rows `[N, K, D]`."""
  each = rows.shape[1] if rows.ndim == 3 else 1
  return dataclasses.replace(draws, members=np.repeat(draws.members, each))


def _frechet(measure, ddof, **options):
  return Metric(
    measure,
    lambda real, fake: frechet.frechet_distance_of_features(real, fake, ddof),
    'lower',
    of_both=True,
    least=2,
    moments=lambda real, fake: frechet.frechet_distance(real, fake, ddof),
    resampled=lambda real, fakes, draws: frechet.resampled_distances(real, fakes, draws, ddof),
    limits=(0.0, math.inf),
    facts={'ddof': ddof, 'covariance': 'divided by N' if ddof == 0 else 'divided by N - 1'},
    **options,
  )


def _kernel(measure):
  return Metric(
    measure, kernel.kernel_distance, 'lower', of_both=True, least=2, enough=100,
    resampled=kernel.resampled_distances, unbiased=True,
    facts={'kernel': '(x.y / D + 1)^3', 'estimator': 'unbiased'},
  )  # fmt: skip


def _manifold(measure, statistic):
  return Metric(
    measure, statistic, 'higher', of_both=True, least=manifold.NEIGHBOURS + 1, enough=1000,
    limits=(0.0, 1.0), smooth=False, facts={'neighbours': manifold.NEIGHBOURS},
  )  # fmt: skip


def _balls(measure, statistic, better, highest):
  return Metric(
    measure, statistic, better, of_both=True, least=manifold.COVERAGE_NEIGHBOURS + 1, enough=1000,
    limits=(0.0, highest), smooth=False, facts={'neighbours': manifold.COVERAGE_NEIGHBOURS},
  )  # fmt: skip


def _sliced(measure):
  return Metric(
    measure, sliced.sliced_wasserstein, 'lower', of_both=True, enough=256, limits=(0.0, math.inf),
    smooth=False,
    facts={'directions': sliced.DIRECTIONS, 'definition': 'squared, mean over directions'},
  )  # fmt: skip


def _inception(which, better):
  """The mean over splits, or the deviation that papers put behind it."""
  return Metric(
    'frame_inception_logits',
    lambda _, fake: inception_score.inception_score(fake)[which],
    better,
    enough=5000,
    per_image=True,
    facts={'splits': 10, 'order': f'RandomState({inception_score.SEED}).permutation', 'ddof': 0},
  )


def _mean(measure, better):
  return Metric(measure, lambda _, fake: finite_mean(fake), better, averaged=lambda rows: rows)


def _drift(column, better):
  """The mean of one column of what the probe measures; all of them come of one pass over clips."""
  k = drift.COLUMNS.index(column)
  return Metric(
    drift.NAME,
    lambda _, fake: finite_mean(fake[:, k]),
    better,
    limits=(0.0, math.inf),
    averaged=lambda rows: rows[..., k],
    facts={'definition': drift.DEFINITIONS[column]},
  )


def finite_mean(rows: Float[np.ndarray, '...']) -> float:
  """Mean of the finite rows; inf where all are (equal images).

  NaN rows (nothing to measure in that clip) are left out; ValueError where there are no others.
  """
  rows = rows[~np.isnan(rows)]
  finite = rows[np.isfinite(rows)]
  if not rows.size:
    raise ValueError('undefined for every clip: nothing in them moves or has contrast')
  return float(finite.mean()) if finite.size else float('inf')


def _ratio(real, fake):
  below = finite_mean(real)
  if below <= 0:
    raise ValueError('the real clips do not move at all, so a ratio of motion means nothing')
  return finite_mean(fake) / below


METRICS = {
  'fvd': _frechet('clip_i3d', 0, enough=2048),
  'kvd': _kernel('clip_i3d'),
  'precision': _manifold('clip_i3d', manifold.precision),
  'recall': _manifold('clip_i3d', manifold.recall),
  'density': _balls('clip_i3d', manifold.density, 'near 1', math.inf),
  'coverage': _balls('clip_i3d', manifold.coverage, 'higher', 1.0),
  'sliced_wasserstein': _sliced('clip_i3d'),
  'fid': _frechet('frame_inception', 1, enough=10_000, per_image=True),
  'inception_score': _inception(0, 'higher'),
  'inception_score_std': _inception(1, 'neither'),
  'frechet_random_conv3d': _frechet('clip_random_conv3d', 0, enough=256),
  'kernel_random_conv3d': _kernel('clip_random_conv3d'),
  'precision_random_conv3d': _manifold('clip_random_conv3d', manifold.precision),
  'recall_random_conv3d': _manifold('clip_random_conv3d', manifold.recall),
  'density_random_conv3d': _balls('clip_random_conv3d', manifold.density, 'near 1', math.inf),
  'coverage_random_conv3d': _balls('clip_random_conv3d', manifold.coverage, 'higher', 1.0),
  'sliced_wasserstein_random_conv3d': _sliced('clip_random_conv3d'),
  'psnr': _mean('psnr', 'higher'),
  'psnr_video': _mean('psnr_video', 'higher'),
  'ssim': _mean('ssim', 'higher'),
  'ssim_uniform': _mean('ssim_uniform', 'higher'),
  'lpips': _mean('lpips_alex', 'lower'),
  'lpips_vgg': _mean('lpips_vgg', 'lower'),
  'acd': _mean('acd', 'lower'),
  'acd_i': _mean('acd_i', 'lower'),
  'acd_colour': _mean('acd_colour', 'lower'),
  'acd_lpips': _mean('acd_lpips', 'lower'),
  'drift_shape': _drift('shape', 'lower'),
  'drift_scale': _drift('scale', 'lower'),
  'drift_scale_slow': _drift('scale_slow', 'near real'),
  'drift_colour': _drift('colour', 'lower'),
  'drift_colour_slow': _drift('colour_slow', 'near real'),
  'flicker_background': _drift('background', 'lower'),
  'motion_object': _drift('motion', 'near real'),
  'jitter_object': _drift('jitter', 'near real'),
  'warping_error': _mean('warping_error', 'lower'),
  'temporal_flickering': _mean('flickering', 'higher'),
  'temporal_profile_consistency': _mean('profile', 'higher'),
  'motion_magnitude': _mean('motion', 'near real'),
  'motion_ratio': Metric(
    'motion', _ratio, 'near 1', of_both=True, limits=(0.0, math.inf), averaged=lambda rows: rows
  ),
}


def find(name: str) -> Metric:
  """ValueError with the choices for an unknown name."""
  if name not in METRICS:
    raise ValueError(f'no metric {name!r}; there are {", ".join(METRICS)}')
  return METRICS[name]
