"""A small network that reads the main object in a frame of the synthetic source.

It was trained by `benchmarks/train_probe.py` on frames whose truth is known, half of them blurred,
noisy or pale, and means nothing on any other clips. Its weights lie beside this module, with its
errors on frames that it never saw.
"""

import functools
import pathlib
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from hgdt_jax.metrics import networks
from hgdt_jax.metrics.networks import npz, parameters, resize, runner, weights

NAME = 'probe'
CLASSES = ('disc', 'square', 'triangle', 'ring')  # those of the synthetic source, in its order
SIZE = 32  # pixels a side that frames are resized to
WEIGHTS = pathlib.Path(__file__).with_name('probe.npz')
ERRORS = 'held_out/'  # entries of the file that begin so are no weights
_PRECISION = jax.lax.Precision.HIGHEST  # else TPUs and GPUs round to bfloat16 or TF32
_PER_DEVICE = 256
_SMALLEST = (16, 16)  # height, width


class Reading(NamedTuple):
  """What is read of each frame.

  Attributes:
    classes: probabilities of `CLASSES`.
    radius: a share of the frame's side.
    centre: (x, y), shares of the side.
    colour: in [0, 1], the mean over the object with the light that falls on it.
  """

  classes: Float[np.ndarray, '*frames 4']
  radius: Float[np.ndarray, '*frames']
  centre: Float[np.ndarray, '*frames 2']
  colour: Float[np.ndarray, '*frames 3']


def read(clips: Shaped[np.ndarray, '...']) -> Reading:
  """The object in every frame of uint8 `[B, T, S, S, C]`, S >= 16, C of 1 or 3.

  All frames go through the network at once, on every local device. ValueError for other clips, and
  for frames that are not square: the synthetic source has none.
  """
  if np.ndim(clips) != 5 or clips.shape[2] != clips.shape[3]:
    raise ValueError(f'the probe reads uint8 clips [B, T, S, S, C], got {list(np.shape(clips))}')
  b, t = clips.shape[:2]
  outputs = network().features(clips.reshape(b * t, *clips.shape[2:])).reshape(b, t, -1)
  classes, radius, centre, colour = np.split(outputs, (4, 5, 7), axis=-1)
  return Reading(classes, radius[..., 0], centre, colour)


@functools.cache
def network() -> networks.FeatureNetwork:
  """The probe of frames uint8 `[N, S, S, C]`, with the facts that stand beside its numbers.

  Its features are the fields of a `Reading`, one after the other: float32 `[N, 10]`.
  """
  with WEIGHTS.open('rb') as file:
    entries = npz.read(str(WEIGHTS), file)
  arrays = {name: a for name, a in entries.items() if not name.startswith(ERRORS)}
  errors = {
    name.removeprefix(ERRORS): round(float(a), 5)
    for name, a in entries.items()
    if name.startswith(ERRORS)
  }
  image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
  params = parameters.fit(Probe(), arrays, image)
  protocol = {
    'network': 'probe of the synthetic source: on other clips its numbers mean nothing',
    'resize': f'bilinear {SIZE}x{SIZE}, antialias',
    'range': '[0, 1]',
    'held_out_errors': errors,
  }
  run = runner.make(_outputs, params, _PER_DEVICE, 4, _SMALLEST)
  return networks.FeatureNetwork(NAME, weights.content_hash(arrays), protocol, run, _SMALLEST)


class Probe(nn.Module):
  """Frames in [0, 1] -> logits, log radius, centre and colour.

  The centre is the mean place, and the colour the mean pixel, under softmaxes over a 16x16 map (as
  in Levine et al. 2016): equally exact at every position, which a dense layer would have to learn
  one by one.
  """

  @nn.compact
  def __call__(
    self, frames: Float[Array, f'n {SIZE} {SIZE} 3']
  ) -> tuple[Float[Array, 'n 4'], Float[Array, ' n'], Float[Array, 'n 2'], Float[Array, 'n 3']]:
    n = len(frames)
    fine = nn.relu(_conv(12, 1, 'fine')(4 * frames - 1))
    half = nn.relu(_conv(16, 2, 'half')(fine))
    x = half  # [N, 16, 16, 16]
    for name, stride in (('quarter', 2), ('wide', 1), ('wider', 1)):  # sees 25 pixels at the end
      x = nn.relu(_conv(16, stride, name)(x))
    up = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
    maps = nn.relu(_conv(16, 1, 'join', 1)(jnp.concatenate([half, up], axis=-1)))
    maps = maps.reshape(n, 256, 16)
    where = nn.softmax(nn.Dense(3, precision=_PRECISION, name='attention')(maps), axis=1)
    pixels = frames.reshape(n, 16, 2, 16, 2, 3).mean(axis=(2, 4)).reshape(n, 256, 3)
    seen = _mean_under(where[..., 2], maps)
    pooled = [seen, maps.mean(axis=1), x.mean(axis=(1, 2))]
    hidden = nn.Dense(32, precision=_PRECISION, name='hidden')(jnp.concatenate(pooled, axis=-1))
    out = nn.Dense(5, precision=_PRECISION, name='out')(nn.relu(hidden))
    log_radius = out[:, 4] / 8 - 1.43  # about the mean of the source
    centre = _mean_under(where[..., 0], jnp.broadcast_to(_places(), (n, 256, 2)))
    return out[:, :4], log_radius, centre, _mean_under(where[..., 1], pixels)


def _conv(features, stride, name, window=3):
  return nn.Conv(features, (window, window), stride, precision=_PRECISION, name=name)


def _mean_under(share, values):
  """`[N, P]`, `[N, P, D]` -> `[N, D]`."""
  return jnp.einsum('np,npd->nd', share, values, precision=_PRECISION)


def _places():
  """(x, y) of the middle of each cell of a 16x16 map, float32 `[256, 2]`."""
  middle = (np.arange(16, dtype=np.float32) + 0.5) / 16
  return jnp.asarray(np.stack(np.meshgrid(middle, middle), axis=-1).reshape(256, 2))


def _outputs(params, frames):
  """uint8 `[N, S, S, 3]` -> float32 `[N, 10]`: the fields of a `Reading`."""
  frames = resize.bilinear(frames.astype(jnp.float32) / 255.0, SIZE, 'antialias')
  logits, log_radius, centre, colour = Probe().apply(params, frames)
  radius = jnp.exp(log_radius)[:, None]
  return jnp.concatenate([nn.softmax(logits), radius, centre, colour], axis=-1)
