"""The programs that draw clips, from arrays and weights: they know no method and no stage."""

import functools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hgdt_jax import effort, pixels, rng, settings, sharding
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.diffusion import guidance as guide
from hgdt_jax.diffusion.long_clips import windowed
from hgdt_jax.diffusion.noise import by_row
from hgdt_jax.diffusion.parameterization import denoise_fn
from hgdt_jax.diffusion.thresholding import thresholded
from hgdt_jax.gans.types import Given
from hgdt_jax.sampling import hybrid
from hgdt_jax.stages import denoising, networks

NOISY_CONTRAST = 1 / 3  # at which unit noise and a clip in [-1, 1] fit in a byte
STEPS_COMPILED = 64  # one program for up to so many steps, another up to twice as many, ...
_RECONSTRUCTION = 3.0  # guidance by given frames; replacing them alone leaves the others unmoved


class Known(NamedTuple):
  """Frames that clips are to contain, and where in them.

  Attributes:
    pixels: uint8 `[K, H, W, C]`, the same for all clips, or `[N, K, H, W, C]`.
    frames: K numbers from 0.
  """

  pixels: np.ndarray
  frames: tuple[int, ...]


class Guidance(NamedTuple):
  """Towards a label, without a classifier; no other number compiles anew.

  Attributes:
    scale: 1 is none.
    interval: the noise levels at which it is on.
    rescale: in [0, 1], how far a clip gets back the contrast it has without guidance.
  """

  scale: float
  interval: tuple[float, float] = (0.0, 1.0)
  rescale: float = 0.0


class Walk(NamedTuple):
  """From where the denoiser walks to a clean clip, and by what it is led; one argument of jit.

  Attributes:
    start: `[B, T, h, w, c]` at noise level `t_start`, in the denoiser's space.
    numbers: `[B]`, of the clips: each draws its noise by its own.
    steps: how many; no other number compiles anew, up to the next `STEPS_COMPILED`.
    label: `[B]`.
    latents: `[B, T, D]` that the denoiser is told; None: none, or what the bridge makes of the clip
      at each step.
    align: `[B]` of ones, or None: the aligner is off.
    mixing: `[B]`, whether frames see each other.
    guidance: towards the label, or None.
    known: as `Drawing.known` gives it, the clips in the denoiser's space.
  """

  start: jax.Array
  numbers: jax.Array
  t_start: float
  steps: int
  label: jax.Array
  latents: jax.Array | None
  align: jax.Array | None
  mixing: jax.Array
  guidance: Guidance | None = None
  known: tuple | None = None


class Drawing:
  """The programs of a configuration, and what goes in and out of them.

  Each is compiled once for a number of clips, whatever seed, numbers, tau, steps, label and scale
  of guidance.

  Attributes:
    cfg: the configuration.
    mesh: the devices.
  """

  def __init__(self, cfg: settings.Config, mesh: jax.sharding.Mesh, *, inline: bool = False):
    """`inline`: they are parts of a program that its caller compiles."""
    self.cfg, self.mesh = cfg, mesh
    options = effort.options(1, mesh.devices.flat[0].platform)
    compiled = functools.partial(jax.jit, compiler_options=options)
    self._compiled = (lambda program, **_: program) if inline else compiled

  def recipe(self, sampler: str = '', threshold: str = '') -> hybrid.Recipe:
    """How the noise levels are walked down; what is given overrides what is configured."""
    return hybrid.Recipe(
      denoising.schedule(self.cfg),
      denoising.frame_noise(self.cfg),
      sampler or self.cfg.hybrid.sampler,
      self.cfg.hybrid.spacing,
      threshold or self.cfg.hybrid.threshold,
    )

  @functools.cached_property
  def networks(self):
    return networks.make(self.cfg)

  @functools.cached_property
  def draft(self):
    gan = self.networks.gan

    def draft(weights, key, numbers, label, first, frames):
      key = rng.stream(key, 'sample/codes')
      one = lambda number: gan.codes(jax.random.fold_in(key, number), 1, frames)
      codes, given = jax.tree.map(lambda code: code[:, 0], jax.vmap(one)(numbers)), None
      if first is not None:
        image = jnp.broadcast_to(first, (len(label), *first.shape[1:]))
        given = Given(image, jnp.ones(len(label), bool))
      drawn = gan.generator.apply(weights, codes, label, given)
      return drawn.clip, drawn.latents

    return self._compiled(draft, static_argnames='frames')

  @functools.cached_property
  def encode(self):
    """Clips into the denoiser's space; `{}` are the weights of an autoencoder without any."""

    def program(weights, clip):
      return self.networks.autoencoder.apply(weights, clip, method='encode')

    return self._compiled(program)

  @functools.cached_property
  def guess(self):
    def program(weights, clip, t):
      return self.networks.bridge.apply(weights, clip, jnp.full(len(clip), t))

    return self._compiled(program)

  @functools.cached_property
  def truncate(self):
    recipe = self.recipe()

    def program(clip, key, numbers, tau):
      return hybrid.truncate(recipe, clip, rng.stream(key, 'sample/noise'), numbers, tau)

    return self._compiled(program)

  @functools.cached_property
  def start(self):
    recipe = self.recipe()

    def program(key, numbers, shape):
      return hybrid.pure_noise(recipe, rng.stream(key, 'sample/noise'), numbers, shape)

    return self._compiled(program, static_argnames='shape')

  @functools.cached_property
  def walk(self):
    def program(weights, walk, key, *, recipe, most_steps, guesses):
      denoise = self._denoise(weights, walk, walk.label, recipe, guesses)
      if walk.guidance is not None:
        free = self._denoise(weights, walk, jnp.full_like(walk.label, -1), recipe, guesses)
        scale, interval, rescale = walk.guidance
        denoise = guide.classifier_free(denoise, free, scale, recipe.schedule, interval, rescale)
      # Inside of what puts given frames in their place, which are not to be changed.
      denoise = thresholded(denoise, recipe.schedule, recipe.threshold)
      if walk.known is not None:
        draw = by_row(recipe.noise, walk.numbers)
        noise = draw(rng.stream(key, 'known'), walk.start.shape)
        denoise = guide.condition_on_frames(
          denoise, *walk.known, noise, recipe.schedule, scale=_RECONSTRUCTION
        )
      return hybrid.walk(
        recipe,
        denoise,
        walk.start,
        key,
        walk.numbers,
        steps=walk.steps,
        most_steps=most_steps,
        t_start=walk.t_start,
      )

    return self._compiled(program, static_argnames=('recipe', 'most_steps', 'guesses'))

  def _denoise(self, weights, walk, label, recipe, guesses):
    """The denoiser as a denoise function of the clips of a walk.

    `guesses`: it is told what the bridge makes of the clip it is to denoise.
    """
    window, frames = self.cfg.data.frames, walk.start.shape[1]

    def at(first):
      """Of the frames from `first`."""
      length = min(frames, window)
      condition = Condition.plain(label, length, self.cfg.draft.latent_size)
      if walk.latents is not None:
        part = jax.lax.dynamic_slice_in_dim(walk.latents, first, length, axis=1)
        condition = condition.replace(latents=part, use_latents=jnp.ones(len(label)))
      condition = condition.replace(align=walk.align)

      def network(x, t):
        told = condition
        if guesses:
          guess = self.networks.bridge.apply(weights['bridge'], x, t)
          told = condition.replace(latents=guess, use_latents=jnp.ones(len(label)))
        return self.networks.denoiser.apply(weights['denoiser'], x, t, told, walk.mixing).output

      return denoise_fn(network, denoising.prediction(self.cfg), recipe.schedule)

    return at(0) if frames <= window else windowed(at, window, window // 2)

  @functools.cached_property
  def _to_pixels(self):
    def program(clip, contrast):
      return pixels.of_clip(contrast * clip)

    # Whole on every device, so that every process can read it.
    return self._compiled(program, out_shardings=sharding.replicated(self.mesh))

  @functools.cached_property
  def decode(self):
    """From the denoiser's space, clips; `{}` are the weights of an autoencoder without any."""

    def program(weights, latent):
      return self.networks.autoencoder.apply(weights, latent, method='decode')

    return self._compiled(program)

  def fetch(self, clip, contrast=1.0):
    """uint8 on the host."""
    return np.asarray(self._to_pixels(clip, contrast))

  def fetch_decoded(self, weights, latent, contrast=1.0):
    return self.fetch(self.decode(weights, latent), contrast)

  def labels(self, label):
    label = np.asarray(label, np.int32)
    return self._rows(label if self.cfg.data.classes else np.full_like(label, -1))

  def numbers(self, first, rows):
    """Of clips, one for each of `rows`; an array, so that no other number compiles anew."""
    return self._rows(np.arange(first, first + len(rows), dtype=np.int32))

  def clips(self, video):
    return self._rows(pixels.to_clip(np.asarray(video)))

  def known(self, known, frames):
    """(clips `[N, T, H, W, C]` in [-1, 1], mask `[1, T]`), N the number of clips or 1; or None."""
    if known is None:
      return None
    given, size = known.pixels, self.cfg.clip.size
    given = given[None] if given.ndim == 4 else given
    clip = np.zeros((len(given), frames, size, size, self.cfg.clip.channels), np.float32)
    mask = np.zeros((1, frames), bool)
    clip[:, list(known.frames)] = pixels.to_clip(given)
    mask[:, list(known.frames)] = True
    return clip, mask

  def _rows(self, rows):
    """The same host rows in every process -> one array, split along the batch where it divides."""
    even = len(rows) % self.mesh.size == 0
    where = sharding.batch(self.mesh) if even else sharding.replicated(self.mesh)
    return jax.make_array_from_callback(rows.shape, where, lambda index: rows[index])


def in_batches(cfg: settings.Config, count: int, draw):
  """What `draw(rows, first)` gives for all `count` rows, and seconds a row.

  `first` is the number of the first of `rows`. The last batch is filled up with rows from the
  start, which are left out of the result: no other size is compiled. The time is that of all
  batches but the first, which may compile, and None where there is no other.
  """
  size, start, drawn = min(cfg.evaluation.batch, count), None, []
  for first in range(0, count, size):
    drawn.append(draw(np.arange(first, first + size) % count, first))
    start = start or time.monotonic()
  timed = size * (len(drawn) - 1)
  return np.concatenate(drawn)[:count], (time.monotonic() - start) / timed if timed else None
