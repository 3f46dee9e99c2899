"""A trained model: configuration and weights of a workdir, and the four ways to sample."""

import functools
import json
import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from hgdt_jax import config, rng, sharding
from hgdt_jax.checkpoint import Checkpoints
from hgdt_jax.diffusion.parameterization import denoise_fn
from hgdt_jax.models.unet3d import Condition
from hgdt_jax.sampling import hybrid
from hgdt_jax.stages import STAGES, denoising, networks

CONFIG_FILE = 'config.json'


def abstract_state(cfg: config.Config, stage: str, mesh: jax.sharding.Mesh):
  """Shapes, dtypes and shardings of a stage's state; nothing is allocated."""
  shapes = jax.eval_shape(functools.partial(STAGES[stage].init, cfg), jax.random.key(0))
  return jax.tree.map(
    lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
    shapes,
    sharding.of_state(shapes, mesh),
  )


def stage_weights(workdir: pathlib.Path, cfg: config.Config, stage: str, mesh) -> dict:
  """What each network of a finished stage hands on, by name.

  Raises:
    FileNotFoundError: the stage has no checkpoint in the workdir.
  """
  with Checkpoints(workdir, stage, cfg.checkpoint.keep) as checkpoints:
    found = checkpoints.restore(abstract_state(cfg, stage, mesh))
  if found is None:
    raise FileNotFoundError(f'{workdir}/checkpoints/{stage}: no checkpoint; run that stage first')
  state, _ = found
  return {name: net.weights for name, net in state.nets.items()}


def read_config(workdir: pathlib.Path) -> config.Config:
  """The resolved configuration a workdir was trained with.

  Raises:
    FileNotFoundError: there is no config.json.
  """
  path = pathlib.Path(workdir) / CONFIG_FILE
  if not path.exists():
    raise FileNotFoundError(f'{path} is missing: {workdir} is not the --workdir of a run')
  return config.build(config.Config, json.loads(path.read_text())['config'])


class Trained:
  """Draws clips. All methods draw from the same codes and noise for the same seed.

  Attributes:
    cfg: the configuration.
    recipe: how noise levels are walked down; the default of every call.
    methods: the ways to sample that the finished stages allow.
  """

  def __init__(self, cfg: config.Config, weights: Mapping[str, dict], mesh: jax.sharding.Mesh):
    """`weights`: what each finished stage hands on, `{stage: {network: parameters}}`."""
    self.cfg, self._mesh = cfg, mesh
    # The single models are taken from the stages that trained them for themselves, the hybrid from
    # the last: its generator need only be right down to tau, and would be a poor GAN.
    last = {}
    for stage in config.STAGES:
      last |= weights.get(stage, {})
    self._alone = weights.get('gan', {}) | weights.get('diffusion', {})
    self._together = last
    self._aligned = 'bridge' in last
    self.recipe = hybrid.Recipe(
      denoising.schedule(cfg), denoising.frame_noise(cfg), cfg.hybrid.sampler, cfg.hybrid.spacing
    )
    needs = {
      'gan': {'generator'},
      'diffusion_frames': {'denoiser'},
      'diffusion': {'denoiser'},
      'hybrid': {'generator', 'denoiser'},
    }
    self.methods = tuple(m for m in config.METHODS if needs[m] <= self._networks_of(m).keys())

  @classmethod
  def load(cls, workdir: pathlib.Path) -> 'Trained':
    """From a workdir, on all devices.

    Raises:
      FileNotFoundError: no config.json, or no finished stage.
    """
    cfg = read_config(workdir)
    mesh = sharding.make_mesh(-1, 1)
    done = [s for s in cfg.stages if (pathlib.Path(workdir) / 'checkpoints' / s).is_dir()]
    if not done:
      raise FileNotFoundError(f'{workdir}/checkpoints is empty: train first')
    return cls(cfg, {s: stage_weights(workdir, cfg, s, mesh) for s in done}, mesh)

  def evaluations(self, method: str, steps: int) -> int:
    """Network evaluations a clip: the generator's one, and the denoiser's."""
    drafted = method in ('gan', 'hybrid')
    return drafted + (0 if method == 'gan' else self.recipe.evaluations(steps))

  def steps(self, method: str, evaluations: int) -> int:
    """Steps of a method that spend at most that many network evaluations."""
    return self.recipe.steps(evaluations - (method == 'hybrid'))

  def draw(self, method: str, label, seed: int, *, steps: int, tau: float, frames: int = 0):
    """uint8 clips `[N, T, H, W, C]`, one for each of `label` `[N]` (-1: none), as numpy.

    Args:
      method: one of `methods`.
      seed: which codes and noise; equal for all methods.
      steps: of the denoiser; unused by 'gan'.
      tau: noise level that drafts are diffused to; 'hybrid' only.
      frames: T; 0 for the number trained on.
    """
    if method not in self.methods:
      raise ValueError(
        f'method {method!r} cannot be sampled here; the trained stages allow '
        f'{", ".join(self.methods)}'
      )
    key, label = jax.random.key(seed), self._rows(label)
    frames = frames or self.cfg.data.frames
    if method in ('gan', 'hybrid'):
      generator = self._networks_of(method)['generator']
      clip, latents = self._draft(generator, key, label, frames)
    if method == 'gan':
      return self._fetch(clip)
    if method == 'hybrid':
      return self._refined(clip, latents, label, key, steps, tau)
    shape = (len(label), frames, self.cfg.data.size, self.cfg.data.size, networks.CHANNELS)
    start = self._start(key, shape)
    mixing = jnp.full(len(label), float(method == 'diffusion'))
    return self._fetch(self._walk(method, start, 1.0, key, label, None, mixing, steps))

  def refine(self, method: str, video, label, seed: int, *, steps: int, tau: float):
    """Given clips uint8 `[N, T, H, W, C]`, diffused to `tau` and refined, as uint8.

    'hybrid' refines with the aligner and the latents that the bridge sees in the clips.
    """
    key, label = jax.random.key(seed), self._rows(label)
    clip = self._rows(np.asarray(video, np.float32) / 127.5 - 1.0)
    if method == 'hybrid':
      latents = self._guess(self._together['bridge'], clip) if self._aligned else None
      return self._refined(clip, latents, label, key, steps, tau)
    start = self._truncate(clip, key, tau)
    mixing = jnp.full(len(label), float(method == 'diffusion'))
    return self._fetch(self._walk(method, start, tau, key, label, None, mixing, steps))

  def _refined(self, clip, latents, label, key, steps, tau):
    start = self._truncate(clip, key, tau)
    latents = latents if self._aligned else None
    ones = jnp.ones(len(label))
    return self._fetch(self._walk('hybrid', start, tau, key, label, latents, ones, steps))

  def _networks_of(self, method):
    return self._together if method == 'hybrid' else self._alone

  def _walk(self, method, start, t_start, key, label, latents, mixing, steps):
    key = rng.stream(key, 'sample/walk')
    weights = self._networks_of(method)['denoiser']
    return self._program(weights, start, t_start, key, label, latents, mixing, steps=steps)

  # Each program is compiled once for a number of clips and steps, whatever seed, tau and label.

  @functools.cached_property
  def _networks(self):
    return networks.make(self.cfg)

  @functools.cached_property
  def _draft(self):
    generator = self._networks.generator

    def draft(weights, key, label, frames):
      codes = generator.draw_codes(rng.stream(key, 'sample/codes'), len(label), frames)
      return generator.apply({'params': weights}, codes, label)

    return jax.jit(draft, static_argnames='frames')

  @functools.cached_property
  def _guess(self):
    return jax.jit(lambda weights, clip: self._networks.bridge.apply({'params': weights}, clip))

  @functools.cached_property
  def _truncate(self):
    def program(clip, key, tau):
      return hybrid.truncate(self.recipe, clip, rng.stream(key, 'sample/noise'), tau)

    return jax.jit(program)

  @functools.cached_property
  def _start(self):
    def program(key, shape):
      return hybrid.pure_noise(self.recipe, rng.stream(key, 'sample/noise'), shape)

    return jax.jit(program, static_argnames='shape')

  @functools.cached_property
  def _program(self):
    denoiser, recipe = self._networks.denoiser, self.recipe

    def program(weights, start, t_start, key, label, latents, mixing, steps):
      condition = Condition.plain(label, start.shape[1], self.cfg.generator.latent_size)
      if latents is not None:
        ones = jnp.ones(len(label))
        condition = Condition(label, latents, use_latents=ones, align=ones)

      def network(x, t):
        return denoiser.apply({'params': weights}, x, t, condition, mixing)

      denoise = denoise_fn(network, denoising.prediction(self.cfg), recipe.schedule)
      return hybrid.walk(recipe, denoise, start, key, steps=steps, t_start=t_start)

    return jax.jit(program, static_argnames='steps')

  @functools.cached_property
  def _to_pixels(self):
    def program(clip):
      return jnp.clip(jnp.round((clip + 1.0) * 127.5), 0, 255).astype(jnp.uint8)

    # Whole on every device, so that every process can read it.
    return jax.jit(program, out_shardings=sharding.replicated(self._mesh))

  def _fetch(self, clip):
    return np.asarray(self._to_pixels(clip))

  def _rows(self, rows):
    """The same host rows in every process -> one array, split along the batch where it divides."""
    rows = np.asarray(rows)
    rows = rows.astype(np.int32) if rows.dtype.kind in 'iu' else rows
    if not self.cfg.data.classes and rows.ndim == 1:
      rows = np.full_like(rows, -1)
    even = len(rows) % self._mesh.size == 0
    where = sharding.batch(self._mesh) if even else sharding.replicated(self._mesh)
    return jax.make_array_from_callback(rows.shape, where, lambda index: rows[index])
