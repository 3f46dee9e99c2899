"""A trained model: configuration and weights of a workdir, and the ways to sample from it."""

import functools
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hgdt_jax import checkpoint, config, rng, sharding
from hgdt_jax import methods as ways
from hgdt_jax import workdir as workdirs
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.diffusion import guidance as guide
from hgdt_jax.diffusion.long_clips import windowed
from hgdt_jax.diffusion.noise import by_row
from hgdt_jax.diffusion.parameterization import denoise_fn
from hgdt_jax.gans.types import Given
from hgdt_jax.sampling import hybrid
from hgdt_jax.stages import STAGES, denoising, networks
from hgdt_jax.state import Net


def abstract_state(cfg: config.Config, stage: str, mesh: jax.sharding.Mesh):
  """Shapes, dtypes and shardings of a stage's state; nothing is allocated."""
  shapes = _shapes(cfg, stage)
  return jax.tree.map(
    lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
    shapes,
    sharding.of_state(shapes, mesh),
  )


@functools.cache  # to trace takes seconds
def _shapes(cfg, stage):
  return jax.eval_shape(functools.partial(STAGES[stage].init, cfg), jax.random.key(0))


def stage_weights(workdir: pathlib.Path, cfg: config.Config, stage: str, mesh, names) -> dict:
  """What the networks `names` of a finished stage hand on; nothing else of it is read.

  Raises:
    OSError: its last checkpoint is damaged, or could not be restored.
  """
  like = abstract_state(cfg, stage, mesh).nets
  part = {
    name: {'params' if like[name].ema is None else 'ema': like[name].weights}
    | ({'kept': like[name].kept} if like[name].kept else {})
    for name in names
  }
  step, is_old = workdirs.last_step(workdir, stage), workdirs.format_of(workdir) < 3
  if is_old:  # there the aligner had one direction, and its parameters no scope for it
    part = _aligners_changed(part, lambda params: params['forward'])
  found = checkpoint.restore_part(workdir, stage, step, {'nets': part})['nets']
  if is_old:
    found = _aligners_changed(found, lambda params: {'forward': params})
  return {name: Net(next(iter(net.values())), net.get('kept', {})) for name, net in found.items()}


def _aligners_changed(part, change):
  """`{network: {kind: parameters}}` with `change` made to those of each aligner."""
  one = lambda name, params: change(params) if name.startswith('aligner') else params
  of_kind = lambda params: {name: one(name, each) for name, each in params.items()}
  return {
    network: {kind: of_kind(params) for kind, params in kinds.items()}
    for network, kinds in part.items()
  }


_NOISY_CONTRAST = 1 / 3  # at which unit noise and a clip in [-1, 1] fit in a byte
_STEPS_COMPILED = 64  # one program for up to so many steps, another up to twice as many, ...
_RECONSTRUCTION = 3.0  # guidance by given frames; replacing them alone leaves the others unmoved


class Known(NamedTuple):
  """Frames that clips are to contain, and where in them.

  Attributes:
    pixels: uint8 `[K, H, W, C]`, the same for all clips, or `[N, K, H, W, C]`.
    frames: K numbers from 0.
  """

  pixels: np.ndarray
  frames: tuple[int, ...]


class _Walk(NamedTuple):
  """From where the denoiser walks to a clean clip, and by what it is led; one argument of jit.

  Attributes:
    start: `[B, T, H, W, C]` at noise level `t_start`.
    numbers: `[B]`, of the clips: each draws its noise by its own.
    steps: how many; no other number compiles anew, up to the next `_STEPS_COMPILED`.
    label: `[B]`.
    latents: `[B, T, D]` that the denoiser is told; None: none, or what the bridge makes of the clip
      at each step.
    align: `[B]` of ones, or None: the aligner is off.
    mixing: `[B]`, whether frames see each other.
    guidance: scale of classifier-free guidance, or None.
    known: as `Trained._known` gives it.
  """

  start: jax.Array
  numbers: jax.Array
  t_start: float
  steps: int
  label: jax.Array
  latents: jax.Array | None
  align: jax.Array | None
  mixing: jax.Array
  guidance: float | None = None
  known: tuple | None = None


class Trained:
  """Draws clips. All methods draw from the same codes and noise for the same seed.

  Clips of a seed are numbered, and all that is drawn for one is a function of (seed, its number):
  neither the batch it is drawn in nor how many are drawn changes it.

  Attributes:
    cfg: the configuration.
    mesh: the devices.
    weights: what each stage so far hands on, `{stage: {network: Net}}`.
  """

  def __init__(self, cfg: config.Config, weights: Mapping[str, dict], mesh: jax.sharding.Mesh):
    self.cfg, self.weights, self.mesh = cfg, dict(weights), mesh

  @property
  def methods(self) -> tuple[str, ...]:
    """The ways to sample that the stages so far allow."""
    return tuple(name for name in ways.METHODS if not self._lacks(self._way(name)))

  @classmethod
  def load(cls, workdir: pathlib.Path, method: str = '') -> 'Trained':
    """From a workdir, at any moment of its run: what the stages that are done hand on.

    A stage is done once its last step is saved. Of one that a method would draw with and that is
    not, a line says so. Nothing is changed on disk.

    Args:
      method: restore only what it draws with; '' for what any method does, those of the grid too.

    Raises:
      FileNotFoundError: no config.json.
      ValueError: a stage that the method needs is not done.
      OSError: a checkpoint is damaged, or could not be restored.
    """
    cfg = workdirs.read_config(workdir)
    mesh = sharding.fitting_mesh(cfg.mesh.data, cfg.mesh.fsdp)
    workdirs.refuse_stale(cfg, workdir)
    done = {stage: {} for stage in cfg.stages if workdirs.is_done(cfg, workdir, stage)}
    found = cls(cfg, done, mesh)
    # In format 1 the bridge knew no noise level: what draws with it, which is of the grid, is lost.
    every = ways.METHODS | (ways.GRID if workdirs.format_of(workdir) >= 3 else {})
    methods = (
      (method,) if method else [name for name in every if not found._lacks(found._way(name))]
    )
    wanted = {
      (stage, name) for m in methods for name, stage in found._sources(found._way(m)).items()
    }
    if method:
      _say_what_is_not_done(found, workdir, method)
    if not wanted:
      raise ValueError(f'no stage of {workdir} is done, so there is nothing to draw with')
    for stage in done:
      names = [name for of, name in wanted if of == stage]
      found.weights[stage] = stage_weights(workdir, cfg, stage, mesh, names) if names else {}
    return found

  def recipe(self, method: str, sampler: str = '') -> hybrid.Recipe:
    """How a method walks the noise levels down; `sampler` overrides the configured one."""
    return hybrid.Recipe(
      denoising.schedule(self.cfg),
      denoising.frame_noise(self.cfg),
      sampler or self._way(method).sampler or self.cfg.hybrid.sampler,
      self.cfg.hybrid.spacing,
    )

  def evaluations(
    self, method: str, steps: int, *, guided: bool = False, known: bool = False
  ) -> int:
    """Network evaluations a clip, in forward passes: the generator's one, and the denoiser's.

    Guidance towards a label (`guided`) denoises twice. That by `known` frames takes a gradient with
    respect to the noisy clip, not to weights: the backward pass counts as one forward pass more
    (XLA counts 2.0 times the operations of a forward pass alone), or two where activations are
    recomputed.
    """
    way = self._way(method)
    if not way.refined:
      return 1
    passes = (1 + guided) * (2 + self.cfg.denoiser.remat if known else 1)
    return self._generates(way) + passes * self.recipe(method).evaluations(steps)

  def steps(self, method: str, evaluations: int) -> int:
    """Steps of a method that spend at most that many network evaluations, at least 1."""
    return self.recipe(method).steps(max(1, evaluations - self._generates(self._way(method))))

  def draw(
    self,
    method: str,
    label,
    seed: int,
    *,
    first: int = 0,
    steps: int,
    tau: float,
    frames: int = 0,
    sampler: str = '',
    guidance: float | None = None,
    known: Known | None = None,
  ):
    """uint8 clips `[N, T, H, W, C]`, one for each of `label` `[N]` (-1: none), as numpy.

    Args:
      method: one of `methods`.
      seed: which codes and noise; equal for all methods.
      first: number of the first clip; the others follow.
      steps: of the denoiser; unused by 'gan'.
      tau: noise level that drafts are diffused to; unused without a draft.
      frames: T; 0 for the number trained on. Longer clips are denoised in overlapping windows.
      sampler: one of `SAMPLERS`; '' for the configured one.
      guidance: scale of classifier-free guidance towards the label; None for none.
      known: frames that the clips are to contain.

    Raises:
      ValueError: the method is not one of `methods`, or cannot do what is asked.
    """
    way, frames = self._way(method), frames or self.cfg.data.frames
    self._check(method, frames, guidance, known)
    key, label, numbers = jax.random.key(seed), self._labels(label), self._numbers(first, label)
    clip, latents, given = None, None, self._known(known, frames)
    if self._generates(way):
      clip, latents = self._drafted(way, key, numbers, label, frames, given)
    if not way.refined:
      return self._fetch(clip)
    if way.drafted:
      start, t_start = self._truncate(clip, key, numbers, tau), tau
    else:
      size = self.cfg.data.size
      start = self._start(key, numbers, (frames, size, size, networks.CHANNELS))
      t_start = 1.0
    if self._reads_drafts(way):
      latents = self._guess(self._nets(way)['bridge'], clip, 0.0)
    told = latents if way.latents == 'gan' or self._reads_drafts(way) else None
    walk = self._walk(way, start, numbers, t_start, steps, label)
    walk = walk._replace(latents=told, guidance=guidance, known=given)
    return self._refined(way, self.recipe(method, sampler), walk, key)

  def refine(self, method: str, video, label, seed: int, *, first: int = 0, steps: int, tau: float):
    """Given clips uint8 `[N, T, H, W, C]`, diffused to `tau` and refined, as uint8.

    No method is told more of the clean clips than what is left of them at `tau`: the hybrids refine
    with the aligner and without latents, for those of a clean clip would be an encoding of the
    answer.
    """
    way = self._way(method)
    key, label, numbers = jax.random.key(seed), self._labels(label), self._numbers(first, label)
    start = self._truncate(self._clips(video), key, numbers, tau)
    walk = self._walk(way, start, numbers, tau, steps, label)
    return self._refined(way, self.recipe(method), walk, key)

  def draft_at(self, method: str, label, seed: int, tau: float, *, first: int = 0):
    """What a `method` that drafts refines from: its drafts diffused to tau. As `clips_at`."""
    key, label, numbers = jax.random.key(seed), self._labels(label), self._numbers(first, label)
    draft, _ = self._drafted(self._way(method), key, numbers, label, self.cfg.data.frames)
    return self._fetch(self._truncate(draft, key, numbers, tau), _NOISY_CONTRAST)

  def told_of_drafts(self, method: str, label, seed: int, tau: float, *, first: int = 0):
    """The latents `[N, T, D]` that a method is told of its drafts at tau, its first step."""
    way, key = self._way(method), jax.random.key(seed)
    label, numbers = self._labels(label), self._numbers(first, label)
    draft, latents = self._drafted(way, key, numbers, label, self.cfg.data.frames)
    if way.latents == 'bridge':
      latents = self._told_of(way, draft, key, numbers, tau)
    return np.asarray(latents)

  def told_of_clips(self, method: str, video, seed: int, tau: float, *, first: int = 0):
    """The latents that a method's denoiser was told of such clips in training, `[N, T, D]`."""
    key, numbers = jax.random.key(seed), self._numbers(first, video)
    return np.asarray(self._told_of(self._way(method), self._clips(video), key, numbers, tau))

  def _told_of(self, way, clip, key, numbers, tau):
    """The bridge's guess, from the clip or from what noise leaves of it."""
    bridge = self.weights[self._lender('bridge', way)]['bridge'].variables()
    if self.cfg.aligner.latents == 'clean':
      return self._guess(bridge, clip, 0.0)
    return self._guess(bridge, self._truncate(clip, key, numbers, tau), tau)

  def clips_at(self, video, seed: int, tau: float, *, first: int = 0):
    """Given clips diffused to tau, uint8 `[N, T, H, W, C]` at a contrast that clips no noise."""
    clip, key = self._clips(video), jax.random.key(seed)
    return self._fetch(self._truncate(clip, key, self._numbers(first, video), tau), _NOISY_CONTRAST)

  def _way(self, method):
    told = self.cfg.aligner.latents if self.cfg.bridges else 'none'
    return ways.find(method).as_trained(told)

  def _nets(self, way):
    """The variables of a method's networks."""
    return {n: self.weights[stage][n].variables() for n, stage in self._sources(way).items()}

  def _sources(self, way):
    """The stage that each network of a method is of: the last that trained it."""
    found = {name: self._lender(name, way) for name in way.networks}
    return {name: stage for name, stage in found.items() if stage}

  def _lender(self, network, way):
    """The last stage that trained a network, of those a method draws from; None where none did."""
    if network == 'bridge' and not self.cfg.bridges:
      return None
    stages = (s for s in self.cfg.stages if s in way.draws_from and s in self.weights)
    lenders = [s for s in stages if network in STAGES[s].trains]
    return lenders[-1] if lenders else None

  def _lacks(self, way):
    """What there would have to be to draw by this method."""
    networks_of = [name for name in way.networks if name not in self._sources(way)]
    return [*networks_of, *(stage for stage in way.needs if stage not in self.weights)]

  def _reads_drafts(self, way):
    """Whether latents are the bridge's guess from the clean draft."""
    return way.latents == 'bridge' and self.cfg.aligner.latents == 'clean'

  def _generates(self, way):
    """Whether it runs the generator, which costs a network evaluation."""
    return way.drafted or way.latents == 'gan' or self._reads_drafts(way)

  def _walk(self, way, start, numbers, t_start, steps, label):
    """By a method, of one that is told no latents."""
    on = jnp.ones(len(label))
    align = on if way.aligned else None
    return _Walk(start, numbers, t_start, steps, label, None, align, on * way.mixing)

  def _is_aligned(self, way):
    """Where no stage has trained them, aligner and latents mean nothing to the denoiser."""
    return self.cfg.aligns and self._lender('denoiser', way) not in (None, 'diffusion')

  def _check(self, method, frames, guidance, known):
    way = self._way(method)
    if lacks := self._lacks(way):
      raise ValueError(
        f'method {method!r} cannot be sampled here, for want of {" and ".join(lacks)}; the trained '
        f'stages allow {", ".join(self.methods)}'
      )
    if guidance is not None and not self.cfg.data.classes:
      raise ValueError('guidance is towards a label, and this model was trained without classes')
    if known is None:
      return
    if not way.mixing:
      raise ValueError(
        f'{method} cannot contain given frames: it draws each frame alone; use --method=diffusion'
      )
    if self._generates(way) and not self.cfg.draft.given:
      raise ValueError(
        f'{method} cannot contain given frames: its generator was trained without them '
        '(config.draft.image_share=0); use --method=diffusion'
      )
    fits = 0 in known.frames if way.refined else known.frames == (0,)
    if self._generates(way) and not fits:
      raise ValueError(
        f'{method} continues a first frame, and frames {known.frames} are given; '
        'use --method=diffusion for others'
      )
    if outside := [i for i in known.frames if not 0 <= i < frames]:
      raise ValueError(f'frame {outside[0]} is given, but clips have the frames 0 to {frames - 1}')

  def _known(self, known, frames):
    """(clips `[N, T, H, W, C]` in [-1, 1], mask `[1, T]`), N the number of clips or 1; or None."""
    if known is None:
      return None
    size, pixels = self.cfg.data.size, known.pixels
    pixels = pixels[None] if pixels.ndim == 4 else pixels
    clip = np.zeros((len(pixels), frames, size, size, networks.CHANNELS), np.float32)
    mask = np.zeros((1, frames), bool)
    clip[:, list(known.frames)] = pixels / 127.5 - 1.0
    mask[:, list(known.frames)] = True
    return clip, mask

  def _refined(self, way, recipe, walk, key):
    """The clips that a walk ends in."""
    if walk.steps < 1:
      raise ValueError(f'steps is {walk.steps}; want at least 1')
    nets, is_aligned = self._nets(way), self._is_aligned(way)
    is_told = is_aligned and self.cfg.bridges
    walk = walk._replace(
      align=walk.align if is_aligned else None, latents=walk.latents if is_told else None
    )
    most_steps = -(-walk.steps // _STEPS_COMPILED) * _STEPS_COMPILED
    key = rng.stream(key, 'sample/walk')
    return self._fetch(
      self._program(
        {name: nets[name] for name in ('denoiser', 'bridge') if name in nets},
        walk,
        key,
        recipe=recipe,
        most_steps=most_steps,
        guesses=is_told and way.latents == 'bridge' and self.cfg.aligner.latents == 'noised',
      )
    )

  def _drafted(self, way, key, numbers, label, frames, given=None):
    """Drafts and their latents; `given` as `_known` gives it."""
    first = None if given is None else given[0][:, 0]
    return self._draft(self._nets(way)['generator'], key, numbers, label, first, frames)

  # Each program is compiled once for a number of clips, whatever seed, numbers, tau, steps, label
  # and guidance scale.

  @functools.cached_property
  def _networks(self):
    return networks.make(self.cfg)

  @functools.cached_property
  def _draft(self):
    gan = self._networks.gan

    def draft(weights, key, numbers, label, first, frames):
      key = rng.stream(key, 'sample/codes')
      one = lambda number: gan.codes(jax.random.fold_in(key, number), 1, frames)
      codes, given = jax.tree.map(lambda code: code[:, 0], jax.vmap(one)(numbers)), None
      if first is not None:
        image = jnp.broadcast_to(first, (len(label), *first.shape[1:]))
        given = Given(image, jnp.ones(len(label), bool))
      drawn = gan.generator.apply(weights, codes, label, given)
      return drawn.clip, drawn.latents

    return jax.jit(draft, static_argnames='frames')

  @functools.cached_property
  def _guess(self):
    def program(weights, clip, t):
      return self._networks.bridge.apply(weights, clip, jnp.full(len(clip), t))

    return jax.jit(program)

  @functools.cached_property
  def _truncate(self):
    recipe = self.recipe('hybrid')

    def program(clip, key, numbers, tau):
      return hybrid.truncate(recipe, clip, rng.stream(key, 'sample/noise'), numbers, tau)

    return jax.jit(program)

  @functools.cached_property
  def _start(self):
    recipe = self.recipe('diffusion')

    def program(key, numbers, shape):
      return hybrid.pure_noise(recipe, rng.stream(key, 'sample/noise'), numbers, shape)

    return jax.jit(program, static_argnames='shape')

  @functools.cached_property
  def _program(self):
    def program(weights, walk, key, *, recipe, most_steps, guesses):
      denoise = self._denoise(weights, walk, walk.label, recipe, guesses)
      if walk.guidance is not None:
        free = self._denoise(weights, walk, jnp.full_like(walk.label, -1), recipe, guesses)
        denoise = guide.classifier_free(denoise, free, walk.guidance, recipe.schedule)
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

    return jax.jit(program, static_argnames=('recipe', 'most_steps', 'guesses'))

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
          guess = self._networks.bridge.apply(weights['bridge'], x, t)
          told = condition.replace(latents=guess, use_latents=jnp.ones(len(label)))
        return self._networks.denoiser.apply(weights['denoiser'], x, t, told, walk.mixing).output

      return denoise_fn(network, denoising.prediction(self.cfg), recipe.schedule)

    return at(0) if frames <= window else windowed(at, window, window // 2)

  @functools.cached_property
  def _to_pixels(self):
    def program(clip, contrast):
      return jnp.clip(jnp.round((contrast * clip + 1.0) * 127.5), 0, 255).astype(jnp.uint8)

    # Whole on every device, so that every process can read it.
    return jax.jit(program, out_shardings=sharding.replicated(self.mesh))

  def _fetch(self, clip, contrast=1.0):
    return np.asarray(self._to_pixels(clip, contrast))

  def _labels(self, label):
    label = np.asarray(label, np.int32)
    return self._rows(label if self.cfg.data.classes else np.full_like(label, -1))

  def _numbers(self, first, rows):
    """Of clips, one for each of `rows`; an array, so that no other number compiles anew."""
    return self._rows(np.arange(first, first + len(rows), dtype=np.int32))

  def _clips(self, video):
    return self._rows(np.asarray(video, np.float32) / 127.5 - 1.0)

  def _rows(self, rows):
    """The same host rows in every process -> one array, split along the batch where it divides."""
    even = len(rows) % self.mesh.size == 0
    where = sharding.batch(self.mesh) if even else sharding.replicated(self.mesh)
    return jax.make_array_from_callback(rows.shape, where, lambda index: rows[index])


def _say_what_is_not_done(found, workdir, method):
  """A line for each stage that the method would draw with; ValueError for one that it needs."""
  way = found._way(method)
  for stage in way.draws_from:
    if stage not in found.cfg.stages or stage in found.weights:
      continue
    trains = [network for network in way.networks if network in STAGES[stage].trains]
    lenders = [found._lender(network, way) for network in trains]
    at = f'{workdirs.last_step(workdir, stage)} of {getattr(found.cfg, stage).steps}'
    if None in lenders or stage in way.needs:
      others = ', '.join(found.methods)
      raise ValueError(
        f'{method} needs stage {stage}, whose last saved step is {at}; it counts when it is done'
        + (f'. Until then {others} can be drawn' if others else '')
      )
    earlier = way.draws_from[: way.draws_from.index(stage)]
    if any(lender in earlier for lender in lenders):
      print(f'stage {stage} is not done (step {at}): drawn with what the stages before it trained')
