"""PSNR and SSIM of paired uint8 frames or clips, equal to scikit-image's, in float64 numpy."""

import numpy as np
from scipy import ndimage


def psnr(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
  """Peak signal-to-noise ratio of each frame in dB: `[..., H, W, C]` uint8 -> float64 `[...]`.

  Peak 255, mean squared error over height, width and channels; equal frames give inf.
  """
  return _decibels(_squared_error(real, fake).mean(axis=(-3, -2, -1)))


def psnr_video(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
  """PSNR of each clip from its mean squared error over all frames: `[..., T, H, W, C]` -> `[...]`.

  Not the mean of the per-frame values, which is larger (Jensen) and infinite as soon as one frame
  is equal; papers report either.
  """
  return _decibels(_squared_error(real, fake).mean(axis=(-4, -3, -2, -1)))


def ssim(real: np.ndarray, fake: np.ndarray, window: str = 'gaussian') -> np.ndarray:
  """Structural similarity of each frame: `[..., H, W, C]` uint8 -> float64 `[...]`, 1 is equal.

  `window='gaussian'` is Wang et al. 2004: sigma 1.5 in 11x11 pixels, population covariance.
  `window='uniform'` is scikit-image's default: 7x7 pixels, sample covariance. K1 .01, K2 .03, range
  255, mean over channels and over the pixels whose window lies inside the frame. ValueError for
  frames smaller than the window.
  """
  real, fake = _pair(real, fake)
  if window not in _WINDOWS:
    raise ValueError(f'SSIM window {window!r}: choose from {", ".join(_WINDOWS)}')
  taps, sample = _WINDOWS[window]
  if min(real.shape[-3:-1]) < len(taps):
    raise ValueError(f'SSIM needs frames of {len(taps)} pixels, got {list(real.shape[-3:-1])}')
  shape = real.shape
  pairs = zip(real.reshape(-1, *shape[-3:]), fake.reshape(-1, *shape[-3:]))
  return np.array([_ssim_frame(x, y, taps, sample) for x, y in pairs]).reshape(shape[:-3])


def _gaussian_taps(sigma=1.5, radius=5):
  taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
  return taps / taps.sum()


_WINDOWS = {  # name: (separable taps, covariance divided by N - 1)
  'gaussian': (_gaussian_taps(), False),
  'uniform': (np.full(7, 1 / 7), True),
}


def _ssim_frame(x, y, taps, sample):
  x, y = x.astype(np.float64), y.astype(np.float64)
  mean_x, mean_y = _smooth(x, taps), _smooth(y, taps)
  unbias = len(taps) ** 2 / (len(taps) ** 2 - 1) if sample else 1.0
  var_x = unbias * (_smooth(x * x, taps) - mean_x**2)
  var_y = unbias * (_smooth(y * y, taps) - mean_y**2)
  cov = unbias * (_smooth(x * y, taps) - mean_x * mean_y)
  c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
  luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
  return np.mean(luminance * (2 * cov + c2) / (var_x + var_y + c2))


def _smooth(frame, taps):
  """Separable filter of `[H, W, C]`, the pixels whose window lies inside."""
  pad = len(taps) // 2
  frame = ndimage.correlate1d(ndimage.correlate1d(frame, taps, axis=0), taps, axis=1)
  return frame[pad:-pad, pad:-pad]


def _squared_error(real, fake):
  real, fake = _pair(real, fake)
  return np.square(real.astype(np.float64) - fake)


def _decibels(mse):
  with np.errstate(divide='ignore'):
    return 10.0 * np.log10(255.0**2 / mse)


def _pair(real, fake):
  real, fake = np.asarray(real), np.asarray(fake)
  if real.shape != fake.shape or real.ndim < 3:
    raise ValueError(
      f'paired metrics need equal shapes [..., H, W, C], got {list(real.shape)}, {list(fake.shape)}'
    )
  if real.dtype != np.uint8 or fake.dtype != np.uint8:
    raise ValueError(f'paired metrics need uint8 frames, got {real.dtype} and {fake.dtype}')
  return real, fake
