"""Changes to a clip that leave it a plausible clip, each drawn once for all of its frames."""

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of RGB, ITU-R BT.601


def augment(
  video: np.ndarray, rng: np.random.Generator, *, flip: bool, jitter: float
) -> np.ndarray:
  """Returns the clip uint8 [T, H, W, C], changed.

  `flip`: mirrored left to right half of the time. `jitter`: brightness, contrast and saturation
  each times a factor from [1 - jitter, 1 + jitter].
  """
  mirrored = rng.random() < 0.5  # drawn in any case: one change must not shift the other's numbers
  if flip and mirrored:
    video = video[:, :, ::-1]
  if jitter:
    video = _colour(video, *rng.uniform(1 - jitter, 1 + jitter, 3).astype(np.float32))
  return video


def _colour(video, brightness, contrast, saturation):
  pixels = video.astype(np.float32) * brightness
  mean = pixels.mean()
  pixels = mean + contrast * (pixels - mean)
  if pixels.shape[-1] == 3:
    grey = (pixels @ _LUMA)[..., None]
    pixels = grey + saturation * (pixels - grey)
  return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
