"""Inception score (Salimans et al. 2016) from logits, in float64."""

import numpy as np
from jaxtyping import Float
from scipy import special

from hgdt_jax.metrics.frechet import check_features

SEED = 2020  # of the order of samples, as in torch-fidelity


def inception_score(
  logits: Float[np.ndarray, 'n k'], splits: int = 10, shuffle: bool = True
) -> tuple[float, float]:
  """`(mean, std)` over splits of `exp(mean KL(p(y|x) || p(y)))`; std with ddof 0.

  `logits` are the 1008 of the 2015 Inception graph without bias, as torch-fidelity and the original
  code take them. Splits are contiguous; `shuffle` first orders samples by
  `RandomState(2020).permutation`, as torch-fidelity does, which matters where neighbours are frames
  of one clip. ValueError with fewer samples than splits.
  """
  logits = check_features(logits)
  if not 1 <= splits <= len(logits):
    raise ValueError(f'inception score in {splits} splits needs as many images, got {len(logits)}')
  if shuffle:
    logits = logits[np.random.RandomState(SEED).permutation(len(logits))]
  bounds = [len(logits) * k // splits for k in range(splits + 1)]
  scores = [_score(logits[low:high]) for low, high in zip(bounds[:-1], bounds[1:])]  # noqa: RUF007
  return float(np.mean(scores)), float(np.std(scores))


def _score(logits):
  log_p = special.log_softmax(logits, axis=1)
  log_marginal = special.logsumexp(log_p, axis=0) - np.log(len(log_p))
  return np.exp(np.mean(np.sum(np.exp(log_p) * (log_p - log_marginal), axis=1)))
