"""A trained model: configuration and weights of a workdir, and the ways to sample from it."""

import copy
import os
from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from hgdt_jax import donors, rng, settings, sharding
from hgdt_jax import methods as ways
from hgdt_jax.drawing import NOISY_CONTRAST, STEPS_COMPILED, Drawing, Guidance, Known, Walk
from hgdt_jax.lending import Lending
from hgdt_jax.sampling import hybrid


class Trained:
  """Draws clips. All methods draw from the same codes and noise for the same seed.

  Clips of a seed are numbered, and all that is drawn for one is a function of (seed, its number):
  neither the batch it is drawn in nor how many are drawn changes it.

  Attributes:
    cfg: the configuration.
    mesh: the devices.
    weights: what each stage so far hands on, `{stage: {network: Net}}`.
    lending: what each method draws with.
    drawing: the programs.
  """

  def __init__(
    self,
    cfg: settings.Config,
    weights: Mapping[str, dict],
    mesh: jax.sharding.Mesh,
    lent: Mapping[str, Collection[str]] | None = None,
  ):
    """`lent`: what the stages could hand on, where `weights` is only what somebody draws with."""
    self.cfg, self.weights, self.mesh = cfg, dict(weights), mesh
    self.lending = Lending(cfg, self.weights if lent is None else lent)
    self.drawing = Drawing(cfg, mesh)

  @property
  def methods(self) -> tuple[str, ...]:
    """The ways to sample that the stages so far allow."""
    return self.lending.methods

  def needs_image(self, method: str) -> bool:
    """Whether its generator has only learnt to continue first frames, so that it wants `known`."""
    return self.lending.needs_image(self.lending.way(method))

  @classmethod
  def load(cls, source: str | os.PathLike | donors.Donor, method: str = '') -> 'Trained':
    """From a workdir, at any moment of its run: what the stages that are done hand on; or weights.

    A stage is done once its last step is saved. Of one that a method would draw with and that is
    not, a line says so. Nothing is changed on disk.

    Args:
      source: as `donors.find` takes it, or what it found.
      method: restore only what it draws with; '' for what any method does, those of the grid too.

    Raises:
      FileNotFoundError: nothing is there.
      ValueError: a stage that the method needs is not done, or the weights lack it.
      OSError: a checkpoint is damaged, or could not be restored.
    """
    donor = donors.find(source) if isinstance(source, str | os.PathLike) else source
    cfg = donor.cfg
    mesh = sharding.fitting_mesh(cfg.mesh.data, cfg.mesh.fsdp)
    found = cls(cfg, {stage: {} for stage in donor.lent}, mesh, donor.lent)
    lending = found.lending
    every = ways.METHODS | ways.GRID
    methods = (method,) if method else (m for m in every if not lending.lacks(lending.way(m)))
    wanted = {(s, name) for m in methods for name, s in lending.sources(lending.way(m)).items()}
    if method:
      donor.say_what_is_not_done(lending, method)
    if not wanted:
      raise ValueError(f'no stage of {donor.where} is done, so there is nothing to draw with')
    for stage in found.weights:
      names = [name for of, name in wanted if of == stage]
      found.weights[stage] = donor.networks(stage, names, mesh) if names else {}
    return found

  def recipe(self, method: str, sampler: str = '', threshold: str = '') -> hybrid.Recipe:
    """How a method walks the noise levels down; what is given overrides what is configured."""
    return self.drawing.recipe(sampler or self.lending.way(method).sampler, threshold)

  def evaluations(
    self, method: str, steps: int, *, guided: bool = False, known: bool = False
  ) -> int:
    """Network evaluations a clip, in forward passes: the generator's one, and the denoiser's.

    Guidance towards a label (`guided`) denoises twice. That by `known` frames takes a gradient with
    respect to the noisy clip, not to weights: the backward pass counts as one forward pass more
    (XLA counts 2.0 times the operations of a forward pass alone), or two where activations are
    recomputed.
    """
    way = self.lending.way(method)
    if not way.refined:
      return 1
    passes = (1 + guided) * (2 + self.cfg.denoiser.remat if known else 1)
    return self.lending.generates(way) + passes * self.recipe(method).evaluations(steps)

  def steps(self, method: str, evaluations: int) -> int:
    """Steps of a method that spend at most that many network evaluations, at least 1."""
    drafts = self.lending.generates(self.lending.way(method))
    return self.recipe(method).steps(max(1, evaluations - drafts))

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
    threshold: str = '',
    guidance: Guidance | None = None,
    known: Known | None = None,
  ):
    """uint8 clips `[N, T, H, W, C]`, one for each of `label` `[N]` (-1: none), as numpy.

    Args:
      method: one of `methods`.
      seed: which codes and noise; equal for all methods.
      first: number of the first clip; the others follow.
      steps: of the denoiser; unused by 'gan'.
      tau: noise level that drafts are diffused to, at 0 they are not refined; else unused.
      frames: T; 0 for the number trained on. Longer clips are denoised in overlapping windows.
      sampler: one of `SAMPLERS`; '' for the configured one.
      threshold: one of `THRESHOLDS`; '' for the configured one.
      guidance: towards the label; None for none.
      known: frames that the clips are to contain.

    Raises:
      ValueError: the method is not one of `methods`, or cannot do what is asked.
    """
    way, frames = self.lending.way(method), frames or self.cfg.data.frames
    self._check(method, frames, guidance, known)
    rows, given = self._rows(label, seed, first), self.drawing.known(known, frames)
    if not way.refined or (way.drafted and not tau):
      return self.drawing.fetch(self._drafted(way, *rows, frames, given)[0])
    recipe = self.recipe(method, sampler, threshold)
    clip = self._clips(way, recipe, rows, frames, steps, tau, _most(steps), guidance, given)
    return self.drawing.fetch(clip)

  def traced(self, method: str, seed, label, *, steps, tau, most_steps: int):
    """`draw` as a part of one program: clips `[N, T, H, W, C]` in [-1, 1], on the devices.

    Numbered from 0. `seed`, `label` `[N]`, `steps` up to the static `most_steps`, and `tau` above 0
    may be traced.

    Raises:
      ValueError: the method is not one of `methods`, or wants a given frame.
    """
    way, frames, inside = self.lending.way(method), self.cfg.data.frames, copy.copy(self)
    inside.drawing = Drawing(self.cfg, self.mesh, inline=True)
    self._check(method, frames, None, None)
    rows = jax.random.key(seed), label, jnp.arange(len(label))
    if not way.refined:
      return inside._drafted(way, *rows, frames)[0]
    return inside._clips(way, self.recipe(method), rows, frames, steps, tau, most_steps)

  def _clips(self, way, recipe, rows, frames, steps, tau, most_steps, guidance=None, given=None):
    """Of a method that refines; `rows` as `_rows` gives them."""
    (key, label, numbers), clip, latents = rows, None, None
    if self.lending.generates(way):
      clip, latents = self._drafted(way, *rows, frames, given)
      clip = self._encode(clip)
    if way.drafted:
      start, t_start = self.drawing.truncate(clip, key, numbers, tau), tau
    else:
      _, size, channels = self.cfg.latent
      start, t_start = self.drawing.start(key, numbers, (frames, size, size, channels)), 1.0
    if self.lending.reads_drafts(way):
      latents = self.drawing.guess(self._nets(way)['bridge'], clip, 0.0)
    told = latents if way.latents == 'gan' or self.lending.reads_drafts(way) else None
    given = given and (self._encode(given[0]), given[1])
    walk = self._walk(way, start, numbers, t_start, steps, label)
    walk = walk._replace(latents=told, guidance=guidance, known=given)
    return self._refined(way, recipe, walk, key, most_steps)

  def refine(self, method: str, video, label, seed: int, *, first: int = 0, steps: int, tau: float):
    """Given clips uint8 `[N, T, H, W, C]`, diffused to `tau` and refined, as uint8.

    No method is told more of the clean clips than what is left of them at `tau`: the hybrids refine
    with the aligner and without latents, for those of a clean clip would be an encoding of the
    answer.
    """
    way = self.lending.way(method)
    key, label, numbers = self._rows(label, seed, first)
    start = self.drawing.truncate(self._encoded(video), key, numbers, tau)
    walk = self._walk(way, start, numbers, tau, steps, label)
    return self.drawing.fetch(self._refined(way, self.recipe(method), walk, key, _most(steps)))

  def draft_at(
    self, method: str, label, seed: int, tau: float, *, first: int = 0, known: Known | None = None
  ):
    """What a `method` that drafts refines from: its drafts diffused to tau. As `clips_at`."""
    key, label, numbers = self._rows(label, seed, first)
    frames = self.cfg.data.frames
    given = self.drawing.known(known, frames)
    draft, _ = self._drafted(self.lending.way(method), key, label, numbers, frames, given)
    return self._noisy(self._encode(draft), key, numbers, tau)

  def told_of_drafts(
    self, method: str, label, seed: int, tau: float, *, first: int = 0, known: Known | None = None
  ):
    """The latents `[N, T, D]` that a method is told of its drafts at tau, its first step."""
    way, frames = self.lending.way(method), self.cfg.data.frames
    key, label, numbers = self._rows(label, seed, first)
    given = self.drawing.known(known, frames)
    draft, latents = self._drafted(way, key, label, numbers, frames, given)
    if way.latents == 'bridge':
      latents = self._told_of(way, self._encode(draft), key, numbers, tau)
    return np.asarray(latents)

  def told_of_clips(self, method: str, video, seed: int, tau: float, *, first: int = 0):
    """The latents that a method's denoiser was told of such clips in training, `[N, T, D]`."""
    key, numbers = jax.random.key(seed), self.drawing.numbers(first, video)
    way = self.lending.way(method)
    return np.asarray(self._told_of(way, self._encoded(video), key, numbers, tau))

  def _told_of(self, way, clip, key, numbers, tau):
    """The bridge's guess, from the clip or from what noise leaves of it."""
    bridge = self.weights[self.lending.lender('bridge', way)]['bridge'].variables()
    if self.cfg.aligner.latents == 'clean':
      return self.drawing.guess(bridge, clip, 0.0)
    return self.drawing.guess(bridge, self.drawing.truncate(clip, key, numbers, tau), tau)

  def clips_at(self, video, seed: int, tau: float, *, first: int = 0):
    """Given clips diffused to tau, uint8 `[N, T, H, W, C]` at a contrast that clips no noise."""
    numbers = self.drawing.numbers(first, video)
    return self._noisy(self._encoded(video), jax.random.key(seed), numbers, tau)

  def _noisy(self, latent, key, numbers, tau):
    """A latent at tau as clips."""
    noisy = self.drawing.truncate(latent, key, numbers, tau)
    return self.drawing.fetch_decoded(self._autoencoder, noisy, NOISY_CONTRAST)

  def _encoded(self, video):
    """uint8 clips in the denoiser's space."""
    return self._encode(self.drawing.clips(video))

  def _encode(self, clip):
    return self.drawing.encode(self._autoencoder, clip)

  @property
  def _autoencoder(self):
    """Its variables."""
    if not self.cfg.space.learns:
      return {}
    return self.weights[self.lending.autoencoder]['autoencoder'].variables()

  def _rows(self, label, seed, first):
    """(key, labels, numbers) of clips."""
    return jax.random.key(seed), self.drawing.labels(label), self.drawing.numbers(first, label)

  def _nets(self, way):
    """The variables of a method's networks."""
    return {n: self.weights[stage][n].variables() for n, stage in self.lending.sources(way).items()}

  def _walk(self, way, start, numbers, t_start, steps, label):
    """By a method, of one that is told no latents."""
    on = jnp.ones(len(label))
    align = on if way.aligned else None
    return Walk(start, numbers, t_start, steps, label, None, align, on * way.mixing)

  def _check(self, method, frames, guidance, known):
    way = self.lending.way(method)
    if lacks := self.lending.lacks(way):
      raise ValueError(
        f'method {method!r} cannot be sampled here, for want of {" and ".join(lacks)}; the trained '
        f'stages allow {", ".join(self.methods)}'
      )
    if guidance is not None and not self.cfg.data.classes:
      raise ValueError('guidance is towards a label, and this model was trained without classes')
    if known is None and self.lending.needs_image(way):
      raise ValueError(f'{method} continues a first frame, and none is given; use --image')
    if known is None:
      return
    if not way.mixing:
      raise ValueError(
        f'{method} cannot contain given frames: it draws each frame alone; use --method=diffusion'
      )
    if self.lending.generates(way) and not self.cfg.draft.given:
      raise ValueError(
        f'{method} cannot contain given frames: its generator was trained without them '
        '(config.draft.image_share=0); use --method=diffusion'
      )
    fits = 0 in known.frames if way.refined else known.frames == (0,)
    if self.lending.generates(way) and not fits:
      raise ValueError(
        f'{method} continues a first frame, and frames {known.frames} are given; '
        'use --method=diffusion for others'
      )
    if outside := [i for i in known.frames if not 0 <= i < frames]:
      raise ValueError(f'frame {outside[0]} is given, but clips have the frames 0 to {frames - 1}')

  def _refined(self, way, recipe, walk, key, most_steps):
    """The clips that a walk ends in."""
    nets, is_aligned = self._nets(way), self.lending.is_aligned(way)
    is_told = is_aligned and self.cfg.bridges
    walk = walk._replace(
      align=walk.align if is_aligned else None, latents=walk.latents if is_told else None
    )
    key = rng.stream(key, 'sample/walk')
    latent = self.drawing.walk(
      {name: nets[name] for name in ('denoiser', 'bridge') if name in nets},
      walk,
      key,
      recipe=recipe,
      most_steps=most_steps,
      guesses=is_told and way.latents == 'bridge' and self.cfg.aligner.latents == 'noised',
    )
    return self.drawing.decode(self._autoencoder, latent)

  def _drafted(self, way, key, label, numbers, frames, given=None):
    """Drafts and their latents; `given` as `Drawing.known` gives it."""
    first = None if given is None else given[0][:, 0]
    return self.drawing.draft(self._nets(way)['generator'], key, numbers, label, first, frames)


def _most(steps):
  """Up to how many steps the program that walks so many is compiled for."""
  if steps < 1:
    raise ValueError(f'steps is {steps}; want at least 1')
  return -(-steps // STEPS_COMPILED) * STEPS_COMPILED
