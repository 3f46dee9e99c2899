"""The critics: one looks at frames, one at how they follow each other."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from hgdt_jax.gans import rows
from hgdt_jax.models import layers

FULL_GROUP = 4  # clips that a critic with minibatch standard deviation compares


class Critic(nn.Module):
  """A frame critic and a clip critic under one name (dual critics: MoCoGAN 2018, DVD-GAN 2019).

  The frame critic judges few frames, each for itself and finely; the clip critic judges all of them
  together, in larger patches, by the features of every frame side by side: what a thing looks like
  in one frame has to hold in the others, wherever it has moved. Its convolutions are 'factorised',
  1x3x3 after three temporal taps, or 'full', 3x3x3. Both are told the noise level t of what they
  see (Diffusion-GAN 2023) and, where there are classes, add the projection of the label (Miyato and
  Koyama 2018).
  """

  width: int = 64  # features of the largest maps
  max_width: int = 256
  frame_patch: int = 2  # pixels are space-to-depthed by this
  clip_patch: int = 4
  convolution: str = 'factorised'
  minibatch_stddev: bool = False  # shows each clip how much its neighbours in the batch differ
  classes: int = 0
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, view, t, label, train=False):
    """Logits of clips diffused to t `[B]`, with label `[B]` (-1: none).

    Args:
      view: clips `[B, T, H, W, C]`, and indices `[F]` of the frames that the frame critic sees.
      train: the same in training.

    Returns:
      {'frame': [B, F], 'clip': [B]} in float32.
    """
    trunk = dict(
      width=self.width,
      max_width=self.max_width,
      minibatch_stddev=self.minibatch_stddev,
      classes=self.classes,
      dtype=self.dtype,
    )
    video, frames = view
    few = jnp.take(video, frames, axis=1)
    frame = Trunk(patch=self.frame_patch, convolution='frames', name='frame', **trunk)
    clip = Trunk(patch=self.clip_patch, convolution=self.convolution, name='clip', **trunk)
    return {'frame': frame(few, t, label), 'clip': clip(video, t, label)[:, 0]}


class Trunk(nn.Module):
  """Residual blocks on folded frames, then logits: of 'frames' one each, `[B, T]`; of 'factorised'
  and 'full' convolutions, which mix frames, one for all, `[B, 1]`, for as many as it began with.
  """

  convolution: str  # frames, factorised or full
  width: int
  max_width: int
  patch: int
  minibatch_stddev: bool
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
      if self.convolution == 'factorised':
        h = nn.Dense(width, dtype=self.dtype, name=f'map{size}_time')(_taps(h, frames))
        h = nn.leaky_relu(h, 0.2)
      h = self._conv(h, frames, f'map{size}_conv0')
      h = self._conv(nn.leaky_relu(h, 0.2), frames, f'map{size}_conv1')
      x = x + h
      if size <= 4:
        break
      width = min(2 * width, self.max_width)
      x = nn.Dense(width, dtype=self.dtype, name=f'map{size}_down')(layers.space_to_depth(x, 2))
    h = nn.leaky_relu(x, 0.2).reshape(b, frames, -1)
    if self.minibatch_stddev:
      h = jnp.concatenate([h, spread(h).astype(h.dtype)], axis=-1)
    h = nn.leaky_relu(nn.Dense(self.max_width, dtype=self.dtype, name='flat')(h), 0.2)
    if self.convolution != 'frames':
      h = nn.Dense(self.max_width, dtype=self.dtype, name='join')(h.reshape(b, 1, -1))
      h = nn.leaky_relu(h, 0.2)
    h = h.astype(jnp.float32)  # [B, T or 1, F]
    logit = nn.Dense(1, name='logit')(h)[..., 0]
    if self.classes:
      embedding = layers.LabelEmbedding(self.classes, self.max_width, name='label')(label)
      logit += jnp.sum(h * embedding[:, None], axis=-1) * self.max_width**-0.5
    return logit

  def _conv(self, h, frames, name):
    width = h.shape[-1]
    if self.convolution == 'full':  # 3x3x3 as one 2D convolution over the channels of three frames
      h = _taps(h, frames)
    return nn.Conv(width, (3, 3), dtype=self.dtype, name=name)(h)


def _taps(h, frames):
  return layers.fold(layers.taps(layers.unfold(h, frames)))


def spread(h: jax.Array) -> jax.Array:
  """How much features `[B, T, F]` differ between the clips of a group -> float32 `[B, T, 1]`.

  Groups are neighbours in the batch, `rows.group_size` of them, so that devices which hold whole
  groups need not talk. Source: Karras et al. 2018, sec. 3, minibatch standard deviation.
  """
  group = rows.group_size(len(h), FULL_GROUP)
  grouped = h.astype(jnp.float32).reshape(-1, group, *h.shape[1:])
  deviation = jnp.sqrt(jnp.var(grouped, axis=1) + 1e-8)  # [B / group, T, F]
  return jnp.repeat(jnp.mean(deviation, axis=-1, keepdims=True), group, axis=0)
