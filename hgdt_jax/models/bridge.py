"""The bridge encoder: real clips -> the draft generator's per-frame latents."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hgdt_jax.models import layers


class Bridge(nn.Module):
  """E(x_t, t) -> w, trained by E(G(w)) = w; it lends the denoiser latents for clips no GAN drew."""

  latent_size: int = 128
  width: int = 32
  max_width: int = 128
  patch: int = 4
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, video: Float[Array, 'b t h w c'], t: Float[Array, ' b']
  ) -> Float[Array, 'b t {self.latent_size}']:
    """Latents of unit variance, of clips at noise levels `t`."""
    frames = video.shape[1]
    active = jnp.ones(video.shape[0], self.dtype)
    x = layers.space_to_depth(layers.fold(video.astype(self.dtype)), self.patch)
    level = layers.TimeEmbedding(self.width, self.dtype, name='level')(t)
    x = nn.Conv(self.width, (3, 3), dtype=self.dtype)(x) + jnp.repeat(
      level[:, None, None], frames, axis=0
    )
    while x.shape[1] > 4:
      width = min(2 * x.shape[-1], self.max_width)
      x = nn.silu(nn.Dense(width, dtype=self.dtype)(layers.space_to_depth(x, 2)))
      x = x + nn.silu(nn.Conv(width, (3, 3), dtype=self.dtype)(x))
    x = layers.unfold(x, frames)
    x = layers.TimeConv(dtype=self.dtype)(x, active)
    h = nn.Dense(2 * self.latent_size, dtype=self.dtype)(x.reshape(*x.shape[:2], -1))
    h = nn.Dense(self.latent_size, dtype=self.dtype)(nn.silu(h))
    return nn.LayerNorm(use_bias=False, use_scale=False, dtype=jnp.float32)(h)
