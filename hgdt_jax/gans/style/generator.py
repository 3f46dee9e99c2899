"""The draft generator: content and motion codes -> per-frame latents -> clip."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from hgdt_jax.gans.types import Draft, Given
from hgdt_jax.models import layers
from hgdt_jax.warp import warp

MOTIONS = ('gru', 'continuous')


class Generator(nn.Module):
  """Drafts a whole clip in one pass.

  A content code per clip and motion codes give per-frame latents w, of unit variance. Motion 'gru'
  has a code per frame, which a recurrent network makes a path (MoCoGAN 2018); 'continuous' has one
  every `motion_interval` frames, and `ContinuousMotion` between them. Each frame grows from its w
  by modulated 2D convolutions (StyleGAN2 2020) on folded frames, all of which take their style from
  the content: so what moves is where things are, not their colour or texture. Temporal layers
  between them let neighbours agree.

  With `image` it also continues a first frame: `ImageEncoder` makes features of it, and every frame
  fetches them, at each size of map, and at last the pixels, from where they were (`FromFirst`).
  """

  size: int  # of the square frames, a power of two times `patch`
  channels: int = 3
  width: int = 64  # features of the largest maps
  max_width: int = 256
  patch: int = 2  # the last maps are depth-to-spaced by this
  latent_size: int = 128  # of w
  content_size: int = 64
  motion_size: int = 16
  motion: str = 'gru'
  motion_interval: int = 8
  image: bool = False
  classes: int = 0
  dtype: jnp.dtype = jnp.float32

  def draw_codes(self, key: jax.Array, batch: int, frames: int) -> dict[str, jax.Array]:
    """Standard normal codes: content `[B, Z]`, motion `[B, T, M]`.

    Continuous motion has fewer, as `ContinuousMotion` wants them, and with them the times `[B, T]`
    of the frames.
    """
    content_key, motion_key = jax.random.split(key)
    codes, times = frames, {}
    if self.motion == 'continuous':
      codes = ContinuousMotion.codes(frames, self.motion_interval)
      times = {'time': jnp.broadcast_to(jnp.arange(frames, dtype=jnp.float32), (batch, frames))}
    return times | {
      'content': jax.random.normal(content_key, (batch, self.content_size)),
      'motion': jax.random.normal(motion_key, (batch, codes, self.motion_size)),
    }

  @nn.compact
  def __call__(self, z, label, given: Given | None = None, train=False):
    """Codes, labels `[B]` (-1: none) -> `Draft` with latents; a given first frame is in its clip.

    `train`: the same in training.

    Raises:
      ValueError: a frame is given to a generator that was made without `image`.
    """
    if given and not self.image:
      raise ValueError('this generator was made without image=True: it cannot continue a frame')
    first = self._encode(given)
    latents, style = self._latents(z, label, first)
    frames = latents.shape[1]
    style = jnp.repeat(style.astype(self.dtype), frames, axis=0)  # [B*T, D]
    everywhere = jnp.ones(latents.shape[0], self.dtype)  # temporal layers are always on

    size, width = 4, self._width(4)
    seed = nn.Dense(size * size * width, dtype=self.dtype, name='seed')
    x = seed(layers.fold(latents).astype(self.dtype)).reshape(-1, size, size, width)
    while True:
      name = f'map{size}'
      x = ModulatedConv(width, dtype=self.dtype, name=f'{name}_conv0')(x, style)
      x = layers.unfold(x, frames)
      if first:
        x = FromFirst(self.dtype, name=f'{name}_first')(x, first[size])
      x = layers.TimeConv(dtype=self.dtype, name=f'{name}_time')(x, everywhere)
      x = ModulatedConv(width, dtype=self.dtype, name=f'{name}_conv1')(layers.fold(x), style)
      if size == self.size // self.patch:
        break
      size, x = 2 * size, layers.upsample(x)
      width = self._width(size)
    pixels = nn.Conv(self.channels * self.patch**2, (3, 3), dtype=self.dtype, name='to_pixels')(x)
    pixels = jnp.tanh(layers.depth_to_space(pixels.astype(jnp.float32), self.patch))
    video = layers.unfold(pixels, frames)
    if given:
      x = layers.unfold(x, frames)
      fetched, gate = PixelsFromFirst(self.patch, name='pixels_first')(x, given.image)
      mixed = video + gate * (fetched - video)
      mixed = mixed.at[:, 0].set(given.image)
      video = jnp.where(layers.expand(given.rows, video) > 0, mixed, video)
    return Draft(video, latents)

  def _encode(self, given):
    """Features of first frames by size of map, zero for clips without one; {} without any."""
    if not given:
      return {}
    sizes = [4]
    while sizes[-1] < self.size // self.patch:
      sizes.append(2 * sizes[-1])
    widths = tuple(self._width(size) for size in reversed(sizes))
    maps = ImageEncoder(widths, self.patch, self.dtype, name='image')(given.image)
    return {x.shape[1]: layers.expand(given.rows, x) * x for x in maps}

  def _latents(self, z, label, first):
    """Per-frame latents `[B, T, D]`, and the style of the clip `[B, D]`."""
    content = z['content'].astype(self.dtype)
    if self.classes:
      embedding = layers.LabelEmbedding(self.classes, self.content_size, self.dtype, name='label')
      content = jnp.concatenate([content, embedding(label)], axis=-1)
    content = nn.silu(nn.Dense(self.latent_size, dtype=self.dtype, name='content0')(content))
    content = nn.Dense(self.latent_size, dtype=self.dtype, name='content1')(content)
    if first:
      small = first[4].reshape(len(content), -1)
      seen = nn.Dense(self.latent_size, use_bias=False, dtype=self.dtype, name='image_content')
      content += seen(small)
    path, start = self._path(z), content[:, None]  # the path starts from what moves
    h = jnp.concatenate([jnp.broadcast_to(start, (*path.shape[:2], self.latent_size)), path], -1)
    h = nn.silu(nn.Dense(self.latent_size, dtype=self.dtype, name='mix0')(h))
    h = start + nn.Dense(self.latent_size, dtype=self.dtype, name='mix1')(h)
    unit = nn.LayerNorm(use_bias=False, use_scale=False, dtype=jnp.float32, name='unit')
    return unit(h), unit(content)

  def _path(self, z):
    """What moves, `[B, T, D/2]`."""
    features, motion = self.latent_size // 2, z['motion'].astype(self.dtype)
    if self.motion == 'continuous':
      path = ContinuousMotion(features, self.motion_interval, self.dtype, name='motion_path')
      return path(motion, z['time']).astype(self.dtype)
    return nn.RNN(nn.GRUCell(features, dtype=self.dtype), name='motion_path')(motion)

  def _width(self, size):
    return min(self.max_width, self.width * (self.size // self.patch) // size)


class ImageEncoder(nn.Module):
  """Features of frames `[B, H, W, C]`, finest first: maps of half the size each, `widths` wide."""

  widths: tuple[int, ...]
  patch: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image):
    x = layers.space_to_depth(image.astype(self.dtype), self.patch)
    maps = []
    for i, width in enumerate(self.widths):
      x = nn.Dense(width, dtype=self.dtype, name=f'in{i}')(x)
      x = x + nn.Conv(width, (3, 3), dtype=self.dtype, name=f'conv{i}')(nn.leaky_relu(x, 0.2))
      maps.append(x)
      x = layers.space_to_depth(x, 2)
    return maps


class FromFirst(nn.Module):
  """What frames `[B, T, H, W, C]` fetch from features `[B, H, W, C]` of the first one.

  Each looks back along a flow of its own, as far as the map is wide, and takes what a gate lets
  through; from features that are zero it takes nothing.
  """

  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x, first):
    frames, size, width = x.shape[1], x.shape[2], x.shape[-1]
    first = layers.fold(jnp.repeat(first[:, None], frames, axis=1))
    pair = jnp.concatenate([layers.fold(x), first], axis=-1)
    pair = layers.group_norm(2 * width)(pair).astype(self.dtype)
    pair = nn.silu(nn.Conv(width // 2, (3, 3), dtype=self.dtype, name='pair')(pair))
    small = nn.initializers.normal(0.01)
    found = nn.Conv(3, (3, 3), kernel_init=small, dtype=jnp.float32, name='flow_and_gate')(pair)
    fetched = warp(first, size / 2 * jnp.tanh(found[..., :2])).astype(self.dtype)
    fetched = nn.Dense(width, use_bias=False, dtype=self.dtype, name='out')(fetched)
    return x + layers.unfold(nn.sigmoid(found[..., 2:]).astype(self.dtype) * fetched, frames)


class PixelsFromFirst(nn.Module):
  """What frames, by their last maps `[B, T, h, w, C]`, fetch of an image `[B, H, W, C]`.

  Returns the fetched frames, each looking back along a flow of its own, up to an eighth of the
  frame long, and a gate `[B, T, H, W, 1]`, near 1 where they hold, and everywhere to begin with.
  """

  patch: int  # H / h

  @nn.compact
  def __call__(self, x, image):
    frames, size = x.shape[1], x.shape[2]
    small = nn.initializers.normal(0.003)
    found = nn.Conv(3, (3, 3), kernel_init=small, dtype=jnp.float32, name='flow_and_gate')(
      layers.fold(x).astype(jnp.float32)
    )
    found = jax.image.resize(found, (len(found), *image.shape[1:3], 3), 'bilinear')
    first = layers.fold(jnp.repeat(image[:, None], frames, axis=1))
    fetched = warp(first, self.patch * size / 8 * jnp.tanh(found[..., :2]))
    gate = nn.sigmoid(found[..., 2:] + 2.0)
    return layers.unfold(fetched, frames), layers.unfold(gate, frames)


class ContinuousMotion(nn.Module):
  """Motion as a path through vectors at anchor times, `interval` frames apart, that never repeats.

  Between two anchors, the straight line from vector to vector, and waves on it whose amplitude,
  pace and phase the left one sets, less the line between the waves' own ends: so the path is
  continuous, and each stretch is new. The vectors come from the codes by convolutions without
  padding, and waves count time from their anchor: every stretch has the same law, and a clip may be
  of any length.

  Source: StyleGAN-V (Skorokhodov et al. 2022), sec. 3.1; amplitudes in place of its fixed ones.
  """

  features: int
  interval: int
  dtype: jnp.dtype = jnp.float32

  taps = 3  # codes under each of the two convolutions

  @classmethod
  def codes(cls, frames: int, interval: int) -> int:
    """How many codes a clip takes: an anchor on each side of its frames, and all under the taps."""
    return (frames - 1) // interval + 2 + 2 * (cls.taps - 1)

  @nn.compact
  def __call__(self, codes, time):
    """Codes `[B, N, M]`, times in frames `[B, T]` -> float32 `[B, T, features]` (if even)."""
    vectors = codes
    for i in range(2):
      conv = nn.Conv(
        self.features, (self.taps,), padding='VALID', dtype=self.dtype, name=f'codes{i}'
      )
      vectors = nn.leaky_relu(conv(vectors), 0.2)  # [B, anchors, F]

    left = jnp.floor(time / self.interval).astype(jnp.int32)
    way = (time / self.interval - left)[..., None]  # [B, T, 1], from the left anchor to the right
    waves = self.features // 2

    def project(name, features):  # without a bias, onto which all motion might collapse
      dense = nn.Dense(features, use_bias=False, dtype=self.dtype, name=name)
      return dense(vectors).astype(jnp.float32)

    at = lambda values, anchor: jnp.take_along_axis(values, anchor[..., None], axis=1)
    line = lambda start, end: (1 - way) * start + way * end
    amplitude, pace, phase = (at(project(n, waves), left) for n in ('amplitude', 'pace', 'phase'))
    # Wavelengths of half an interval to four; its pace may halve one, or stretch it without end.
    cycles = jnp.exp2(jnp.linspace(1.0, -2.0, waves)).reshape(1, 1, -1) * (1 + jnp.tanh(pace))

    def wave(way):
      angle = 2 * jnp.pi * (cycles * way + phase)
      return jnp.concatenate([amplitude * jnp.sin(angle), amplitude * jnp.cos(angle)], axis=-1)

    detour = wave(way) - line(wave(jnp.zeros_like(way)), wave(jnp.ones_like(way)))
    vector = project('vector', 2 * waves)
    return line(at(vector, left), at(vector, left + 1)) + detour


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
