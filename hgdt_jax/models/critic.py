"""The critics: one looks at frames, one at how they follow each other."""

import flax.linen as nn
import jax.numpy as jnp

from hgdt_jax.models import layers


class Critic(nn.Module):
  """A frame critic and a clip critic under one name (dual critics: MoCoGAN 2018, DVD-GAN 2019).

  The frame critic sees few frames finely, the clip critic all of them in larger patches. Both are
  told the noise level t of what they see (Diffusion-GAN 2023) and, where there are classes, add the
  projection of the label (Miyato and Koyama 2018).
  """

  width: int = 64  # features of the largest maps
  max_width: int = 256
  frame_patch: int = 2  # pixels are space-to-depthed by this
  clip_patch: int = 4
  classes: int = 0
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, video, t, label, frames=None):
    """Logits of clips `[B, T, H, W, C]` diffused to t `[B]`, with label `[B]` (-1: none).

    Args:
      frames: indices `[F]` of the frames that the frame critic sees; None: all.

    Returns:
      {'frame': [B, F], 'clip': [B]} in float32.
    """
    trunk = dict(width=self.width, max_width=self.max_width, classes=self.classes, dtype=self.dtype)
    few = video if frames is None else jnp.take(video, frames, axis=1)
    frame = Trunk(patch=self.frame_patch, over_time=False, name='frame', **trunk)(few, t, label)
    clip = Trunk(patch=self.clip_patch, over_time=True, name='clip', **trunk)(video, t, label)
    return {'frame': frame, 'clip': jnp.mean(clip, axis=1)}


class Trunk(nn.Module):
  """Residual 2D blocks on folded frames; `over_time` adds temporal taps to each."""

  over_time: bool
  width: int
  max_width: int
  patch: int
  classes: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, video, t, label):
    b, frames = video.shape[:2]
    noise = layers.TimeEmbedding(self.width, self.dtype, name='noise')(t)  # [B, E]
    x = layers.space_to_depth(layers.fold(video.astype(self.dtype)), self.patch)
    x = nn.Conv(self.width, (3, 3), dtype=self.dtype, name='stem')(x)
    while True:
      size, width = x.shape[1], x.shape[-1]
      shift = nn.Dense(width, dtype=self.dtype, name=f'map{size}_noise')(noise)  # [B, C]
      shift = jnp.repeat(shift, frames, axis=0)[:, None, None]
      h = nn.leaky_relu(x + shift, 0.2)
      if self.over_time:
        h = layers.unfold(h, frames)
        taps = [layers.shifted(h, 1), h, layers.shifted(h, -1)]
        h = layers.fold(jnp.concatenate(taps, axis=-1))
        h = nn.leaky_relu(nn.Dense(width, dtype=self.dtype, name=f'map{size}_time')(h), 0.2)
      h = nn.Conv(width, (3, 3), dtype=self.dtype, name=f'map{size}_conv0')(h)
      h = nn.Conv(width, (3, 3), dtype=self.dtype, name=f'map{size}_conv1')(nn.leaky_relu(h, 0.2))
      x = x + h
      if size <= 4:
        break
      width = min(2 * width, self.max_width)
      x = nn.Dense(width, dtype=self.dtype, name=f'map{size}_down')(layers.space_to_depth(x, 2))
    h = nn.leaky_relu(x, 0.2).reshape(b, frames, -1)
    h = nn.Dense(self.max_width, dtype=self.dtype, name='flat')(h)
    h = nn.leaky_relu(h, 0.2).astype(jnp.float32)  # [B, T, F]
    logit = nn.Dense(1, name='logit')(h)[..., 0]  # [B, T]
    if self.classes:
      embedding = layers.LabelEmbedding(self.classes, self.max_width, name='label')(label)
      logit += jnp.sum(h * embedding[:, None], axis=-1) * self.max_width**-0.5
    return logit
