"""The draft generator: content and motion codes -> per-frame latents -> clip."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from hgdt_jax.models import layers


class Generator(nn.Module):
  """Drafts a whole clip in one pass.

  A content code per clip and a motion code per frame give per-frame latents w, of unit variance;
  a recurrent network over the frames makes the motion codes a path (MoCoGAN 2018). Modulated 2D
  convolutions (StyleGAN2 2020) on folded frames draw each frame from its w, and temporal layers
  between them let neighbours agree.
  """

  size: int  # of the square frames, a power of two times `patch`
  channels: int = 3
  width: int = 64  # features of the largest maps
  max_width: int = 256
  patch: int = 2  # the last maps are depth-to-spaced by this
  latent_size: int = 128  # of w
  content_size: int = 64
  motion_size: int = 16
  classes: int = 0
  dtype: jnp.dtype = jnp.float32

  def draw_codes(self, key: jax.Array, batch: int, frames: int) -> dict[str, jax.Array]:
    """Standard normal codes: content `[B, Z]`, motion `[B, T, M]`."""
    content_key, motion_key = jax.random.split(key)
    return {
      'content': jax.random.normal(content_key, (batch, self.content_size)),
      'motion': jax.random.normal(motion_key, (batch, frames, self.motion_size)),
    }

  @nn.compact
  def __call__(self, z, label):
    """Codes, labels `[B]` (-1: none) -> clip `[B, T, H, W, C]` in [-1, 1], latents `[B, T, D]`."""
    latents = self._latents(z, label)
    frames = latents.shape[1]
    w = layers.fold(latents).astype(self.dtype)  # [B*T, D]
    everywhere = jnp.ones(latents.shape[0], self.dtype)  # temporal layers are always on

    size, width = 4, self._width(4)
    x = nn.Dense(size * size * width, dtype=self.dtype, name='seed')(w)
    x = x.reshape(-1, size, size, width)
    while True:
      name = f'map{size}'
      x = ModulatedConv(width, dtype=self.dtype, name=f'{name}_conv0')(x, w)
      x = layers.unfold(x, frames)
      x = layers.TimeConv(dtype=self.dtype, name=f'{name}_time')(x, everywhere)
      x = ModulatedConv(width, dtype=self.dtype, name=f'{name}_conv1')(layers.fold(x), w)
      if size == self.size // self.patch:
        break
      size, x = 2 * size, layers.upsample(x)
      width = self._width(size)
    x = nn.Conv(self.channels * self.patch**2, (3, 3), dtype=self.dtype, name='to_pixels')(x)
    x = jnp.tanh(layers.depth_to_space(x.astype(jnp.float32), self.patch))
    return layers.unfold(x, frames), latents

  def _latents(self, z, label):
    content, motion = z['content'].astype(self.dtype), z['motion'].astype(self.dtype)
    if self.classes:
      embedding = layers.LabelEmbedding(self.classes, self.content_size, self.dtype, name='label')
      content = jnp.concatenate([content, embedding(label)], axis=-1)
    content = nn.silu(nn.Dense(self.latent_size, dtype=self.dtype, name='content0')(content))
    content = nn.Dense(self.latent_size, dtype=self.dtype, name='content1')(content)
    path = nn.RNN(nn.GRUCell(self.latent_size // 2, dtype=self.dtype), name='motion_path')(motion)
    start = content[:, None]  # the path starts from what moves
    h = jnp.concatenate([jnp.broadcast_to(start, (*path.shape[:2], self.latent_size)), path], -1)
    h = nn.silu(nn.Dense(self.latent_size, dtype=self.dtype, name='mix0')(h))
    h = start + nn.Dense(self.latent_size, dtype=self.dtype, name='mix1')(h)
    return nn.LayerNorm(use_bias=False, use_scale=False, dtype=jnp.float32, name='unit')(h)

  def _width(self, size):
    return min(self.max_width, self.width * (self.size // self.patch) // size)


class ModulatedConv(nn.Module):
  """3x3 convolution of `[N, H, W, C]` whose input channels are scaled by a style.

  The demodulation of StyleGAN2 (eq. 3) as a scale of the outputs: equal to scaling the weights of
  each sample, without a grouped convolution.
  """

  features: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, w):
    style = 1.0 + nn.Dense(x.shape[-1], dtype=self.dtype, name='style')(w)  # [N, C]
    shape = (3, 3, x.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
    power = jnp.einsum(
      'nc,cf->nf', jnp.square(style).astype(jnp.float32), jnp.sum(kernel**2, axis=(0, 1))
    )
    x = jax.lax.conv_general_dilated(
      (x * style[:, None, None]).astype(self.dtype),
      kernel.astype(self.dtype),
      window_strides=(1, 1),
      padding='SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    x = x * jax.lax.rsqrt(power + 1e-8)[:, None, None].astype(self.dtype)
    bias = self.param('bias', layers.zeros, (1, 1, 1, self.features))
    return nn.leaky_relu(x + bias.astype(self.dtype), 0.2) * 2**0.5
