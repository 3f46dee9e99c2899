"""PSNR and SSIM of paired uint8 frames or clips: scikit-image's, of each in a batch."""

from functools import partial

import numpy as np
from jaxtyping import Float, Shaped
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

Frames = Shaped[np.ndarray, '...']  # `_pair` says in words what they have to be
Scores = Float[np.ndarray, '...']
_WINDOWS = {  # name: (pixels, what scikit-image is told)
  'gaussian': (11, {'gaussian_weights': True, 'sigma': 1.5, 'use_sample_covariance': False}),
  'uniform': (7, {}),
}


def psnr(real: Frames, fake: Frames) -> Scores:
  """Peak signal-to-noise ratio of each frame in dB: `[..., H, W, C]` uint8 -> float64 `[...]`.

  Peak 255, mean squared error over height, width and channels; equal frames give inf.
  """
  return _psnr(real, fake, '(h,w,c)')


def psnr_video(real: Frames, fake: Frames) -> Scores:
  """PSNR of each clip from its mean squared error over all frames: `[..., T, H, W, C]` -> `[...]`.

  Not the mean of the per-frame values, which is larger (Jensen) and infinite as soon as one frame
  is equal; papers report either.
  """
  return _psnr(real, fake, '(t,h,w,c)')


def ssim(real: Frames, fake: Frames, window: str = 'gaussian') -> Scores:
  """Structural similarity of each frame: `[..., H, W, C]` uint8 -> float64 `[...]`, 1 is equal.

  `window='gaussian'` is Wang et al. 2004: sigma 1.5 in 11x11 pixels, population covariance.
  `window='uniform'` is scikit-image's default: 7x7 pixels, sample covariance. K1 .01, K2 .03, range
  255, mean over channels and over the pixels whose window lies inside the frame. ValueError for
  frames smaller than the window.
  """
  real, fake = _pair(real, fake)
  if window not in _WINDOWS:
    raise ValueError(f'SSIM window {window!r}: choose from {", ".join(_WINDOWS)}')
  pixels, options = _WINDOWS[window]
  if min(real.shape[-3:-1]) < pixels:
    raise ValueError(f'SSIM needs frames of {pixels} pixels, got {list(real.shape[-3:-1])}')
  score = partial(structural_similarity, data_range=255, channel_axis=-1, **options)
  return _of_each(score, real, fake, '(h,w,c)')


def _psnr(real, fake, of):
  score = partial(peak_signal_noise_ratio, data_range=255)
  with np.errstate(divide='ignore'):  # equal ones
    return _of_each(score, *_pair(real, fake), of)


def _of_each(score, real, fake, of):
  return np.vectorize(score, otypes=[np.float64], signature=f'{of},{of}->()')(real, fake)


def _pair(real, fake):
  real, fake = np.asarray(real), np.asarray(fake)
  if real.shape != fake.shape or real.ndim < 3:
    raise ValueError(
      f'paired metrics need equal shapes [..., H, W, C], got {list(real.shape)}, {list(fake.shape)}'
    )
  if real.dtype != np.uint8 or fake.dtype != np.uint8:
    raise ValueError(f'paired metrics need uint8 frames, got {real.dtype} and {fake.dtype}')
  return real, fake
