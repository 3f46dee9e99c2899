"""Augmentation of what critics see, so that few clips last longer.

Everything is drawn once for a clip and befalls all its frames alike: critics cannot take it for
motion, nor the generator learn it as such.
"""

import jax
import jax.numpy as jnp

MODES = ('none', 'fixed', 'adaptive')  # how the probability of a change is set
MOST = 0.8  # the highest adapted probability; above it augmentations leak (ADA, sec. 2.2)
FRAMES = 500_000  # shown while the adapted probability goes from 0 to 1 (ADA, sec. 3)


def clips(key: jax.Array, video: jax.Array, p: jax.Array) -> jax.Array:
  """DiffAugment of clips `[B, T, H, W, C]` in [-1, 1] with square frames; differentiable.

  Each of `CHANGES` befalls a clip with probability `p`, a scalar.

  Source: Zhao et al. 2020; the probability is from ADA, Karras et al. 2020.
  """
  for change, change_key in zip(CHANGES, jax.random.split(key, len(CHANGES))):
    chance_key, draw_key = jax.random.split(change_key)
    chosen = jax.random.bernoulli(chance_key, p, (len(video), 1, 1, 1, 1))
    video = jnp.where(chosen, change(draw_key, video), video)
  return video


def adapt(p: jax.Array, sign: jax.Array, target: float, frames: int) -> jax.Array:
  """The probability after a batch of `frames` real frames, at a fixed pace, 0 to `MOST`.

  It rises while the critic's `sign` statistic (`losses.adversarial.mean_sign`) is above `target`.

  Source: ADA, Karras et al. 2020, sec. 3.
  """
  return jnp.clip(p + jnp.sign(sign - target) * (frames / FRAMES), 0.0, MOST)


def _brightness(key, video):
  return video + _draw(key, video, -0.5, 0.5)


def _saturation(key, video):
  grey = jnp.mean(video, axis=-1, keepdims=True)
  return grey + _draw(key, video, 0.0, 2.0) * (video - grey)


def _contrast(key, video):
  mean = jnp.mean(video, axis=(1, 2, 3, 4), keepdims=True)
  return mean + _draw(key, video, 0.5, 1.5) * (video - mean)


def _translation(key, video):
  """By up to an eighth of the side each way; what comes in is grey."""
  reach = (video.shape[2] + 4) // 8
  padded = jnp.pad(video, [(0, 0), (0, 0), (reach, reach), (reach, reach), (0, 0)])
  corner = jax.random.randint(key, (len(video), 2), 0, 2 * reach + 1)

  def crop(clip, corner):
    return jax.lax.dynamic_slice(clip, (0, corner[0], corner[1], 0), video.shape[1:])

  return jax.vmap(crop)(padded, corner)


def _cutout(key, video):
  """A grey square of half the side, centred anywhere."""
  side = video.shape[2]
  hole = (side + 1) // 2
  first = jax.random.randint(key, (len(video), 2, 1), 0, side + 1) - hole // 2
  at = jnp.arange(side).reshape(1, 1, side)
  inside = (first <= at) & (at < first + hole)  # [B, 2, side]: rows, columns
  cut = inside[:, 0, :, None] & inside[:, 1, None, :]  # [B, H, W]
  return jnp.where(cut[:, None, ..., None], 0.0, video)


def _draw(key, video, low, high):
  """Uniform, one a clip."""
  return jax.random.uniform(key, (len(video), 1, 1, 1, 1), minval=low, maxval=high)


CHANGES = (_brightness, _saturation, _contrast, _translation, _cutout)
