"""The configuration's schema: frozen dataclasses, built and checked before a device is touched.

The meaning of every field stands once, in `configs/base.py`. Sections check themselves; errors
carry the path of the field, as it is spelt on the command line.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, get_args

# No `from __future__ import annotations` here: it would turn the field types into strings.

STAGES = ('gan', 'diffusion', 'aligner', 'joint', 'fewstep')
METHODS = ('gan', 'diffusion_frames', 'diffusion', 'hybrid', 'hybrid_fewstep')
LEAST_SCORED = 4  # clips, for recall among three neighbours
AUTO = 'auto'  # hybrid.tau that a two-sample test is to choose
SAMPLERS = ('ddpm', 'ddim', 'dpmpp_2m', 'dpmpp_2m_sde', 'heun', 'euler')


def build(cls, given: Mapping[str, Any], path: str = 'config'):
  """Nested mapping -> frozen dataclass.

  Raises:
    ValueError: an unknown, missing, wrongly typed or impossible field; names its path.
  """
  fields = {f.name: f.type for f in dataclasses.fields(cls)}
  _same_names(given, fields, path)
  kwargs = {}
  for name, kind in fields.items():
    value, where = given[name], f'{path}.{name}'
    if dataclasses.is_dataclass(kind):
      if not isinstance(value, Mapping):
        raise ValueError(f'{where}={value!r}: want a section, with {_names(kind)}')
      kwargs[name] = build(kind, value, where)
    else:
      kwargs[name] = _typed(kind, value, where)
  section = cls(**kwargs)
  for problem in getattr(section, 'problems', tuple)():
    raise ValueError(f'{path}.{problem}')
  return section


def _same_names(given, fields, path):
  if unknown := sorted(set(given) - set(fields)):
    raise ValueError(f'{path}.{unknown[0]}: no such field; there are {", ".join(sorted(fields))}')
  if missing := sorted(set(fields) - set(given)):
    raise ValueError(f'{path}.{missing[0]}: missing')


def _names(cls):
  return ', '.join(f.name for f in dataclasses.fields(cls))


def _typed(kind, value, where):
  """`value` as `kind`; ints pass for floats, lists for tuples (JSON has no tuples)."""
  whole = isinstance(value, int) and not isinstance(value, bool)
  if whole and float in (kind, *get_args(kind)):
    return float(value)
  if kind is tuple and isinstance(value, (list, tuple)):
    return tuple(value)
  if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
    raise ValueError(f'{where}={value!r}: want {getattr(kind, "__name__", kind)}')
  return value


def _at_least(low, section, *names):
  """Problems of fields that lie below `low`."""
  for name in names:
    if getattr(section, name) < low:
      yield f'{name}={getattr(section, name)}: must be at least {low}'


def _above_0(section, *names):
  for name in names:
    if getattr(section, name) <= 0:
      yield f'{name}={getattr(section, name)}: must be above 0'


def _one_of(choices, section, *names):
  for name in names:
    if getattr(section, name) not in choices:
      yield f'{name}={getattr(section, name)!r}: want one of {", ".join(map(str, choices))}'


def _between(low, high, section, *names):
  for name in names:
    if not low <= getattr(section, name) <= high:
      yield f'{name}={getattr(section, name)}: want {low} to {high}'


@dataclasses.dataclass(frozen=True)
class Data:
  source: str
  path: str
  frames: int
  size: int
  batch: int
  clips: int
  stride: int
  target_fps: float
  windows: int
  short: str
  labels: str
  max_bad: float
  test_share: float
  flip: bool
  jitter: float
  classes: int
  workers: int
  fps: float

  def problems(self):
    yield from _at_least(1, self, 'batch', 'stride', 'clips')
    yield from _at_least(2, self, 'frames')
    yield from _at_least(8, self, 'size')
    yield from _at_least(0, self, 'workers', 'target_fps', 'windows')
    yield from _at_least(-1, self, 'classes')
    yield from _between(0.0, 1.0, self, 'test_share', 'max_bad')
    yield from _one_of(('drop', 'loop', 'pad'), self, 'short')
    if self.size & (self.size - 1):
      yield f'size={self.size}: must be a power of two'


@dataclasses.dataclass(frozen=True)
class Mesh:
  data: int
  fsdp: int


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  every: int
  keep: int

  def problems(self):
    yield from _at_least(1, self, 'every', 'keep')


@dataclasses.dataclass(frozen=True)
class Generator:
  width: int
  max_width: int
  patch: int
  latent_size: int
  content_size: int
  motion_size: int
  motion: str
  motion_interval: int

  def problems(self):
    yield from _at_least(1, self, 'width', 'max_width', 'latent_size', 'content_size')
    yield from _at_least(1, self, 'motion_interval')
    yield from _one_of(('gru', 'continuous'), self, 'motion')
    yield from _one_of((1, 2, 4), self, 'patch')


@dataclasses.dataclass(frozen=True)
class Critic:
  width: int
  max_width: int
  frame_patch: int
  clip_patch: int
  convolution: str
  minibatch_stddev: bool
  frames: int
  spectral_norm: bool

  def problems(self):
    yield from _at_least(1, self, 'width', 'max_width', 'frames')
    yield from _one_of((1, 2, 4, 8), self, 'frame_patch', 'clip_patch')
    yield from _one_of(('factorised', 'full'), self, 'convolution')


@dataclasses.dataclass(frozen=True)
class Denoiser:
  width: int
  multipliers: tuple
  blocks: int
  patch: int
  convolution: str
  space_attention: int
  time_attention: int
  aligner_radius: float
  remat: bool

  def problems(self):
    yield from _at_least(1, self, 'width', 'blocks')
    yield from _one_of((1, 2, 4), self, 'patch')
    yield from _one_of(('factorised', 'full'), self, 'convolution')
    if not self.multipliers or any(not isinstance(m, int) or m < 1 for m in self.multipliers):
      yield f'multipliers={self.multipliers}: want one whole number from 1 a level'


@dataclasses.dataclass(frozen=True)
class Bridge:
  width: int
  max_width: int
  patch: int

  def problems(self):
    yield from _at_least(1, self, 'width', 'max_width')
    yield from _one_of((1, 2, 4), self, 'patch')


@dataclasses.dataclass(frozen=True)
class Gan:
  steps: int
  learning_rate: float
  objective: str
  r1: float
  r2: float
  interpolation_penalty: float
  penalty_rows: int
  augment: str
  augment_probability: float
  augment_target: float
  noise: float
  image_share: float
  image_weight: float
  ema_decay: float

  def problems(self):
    penalties = ('r1', 'r2', 'interpolation_penalty')
    yield from _at_least(1, self, 'steps', 'penalty_rows')
    yield from _at_least(0.0, self, *penalties, 'image_weight')
    yield from _between(0.0, 0.99999, self, 'ema_decay')
    shares = ('augment_probability', 'augment_target', 'noise', 'image_share')
    yield from _between(0.0, 1.0, self, *shares)
    objectives = ('nonsaturating', 'hinge', 'least_squares', 'wasserstein', 'relativistic')
    yield from _one_of(objectives, self, 'objective')
    yield from _one_of(('none', 'fixed', 'adaptive'), self, 'augment')
    if self.objective == 'wasserstein' and not any(getattr(self, name) for name in penalties):
      yield f"objective='wasserstein': unbounded without one of {', '.join(penalties)}"


@dataclasses.dataclass(frozen=True)
class Diffusion:
  steps: int
  learning_rate: float
  warmup: int
  ema_decay: float
  schedule: str
  prediction: str
  weight: str
  times: str
  low_noise_share: float
  noise: str
  frames_share: float
  label_dropout: float

  def problems(self):
    yield from _at_least(1, self, 'steps')
    yield from _at_least(0, self, 'warmup')
    yield from _between(0.0, 0.99999, self, 'ema_decay')
    yield from _between(0.0, 1.0, self, 'low_noise_share', 'frames_share', 'label_dropout')
    yield from _one_of(('cosine', 'shifted_cosine', 'linear', 'edm', 'flow'), self, 'schedule')
    yield from _one_of(('eps', 'x0', 'v', 'edm', 'flow'), self, 'prediction')
    yield from _one_of(('uniform', 'min_snr', 'clipped_snr', 'edm', 'sigmoid'), self, 'weight')
    yield from _one_of(('uniform', 'truncated', 'logit_normal', 'log_normal'), self, 'times')
    yield from _one_of(('iid', 'mixed', 'ar1'), self, 'noise')


@dataclasses.dataclass(frozen=True)
class AlignerStage:
  steps: int
  learning_rate: float
  denoiser_learning_rate: float
  latent_dropout: float
  flow_weight: float
  consistency_weight: float
  bridge_weight: float

  def problems(self):
    yield from _at_least(1, self, 'steps')
    yield from _between(0.0, 1.0, self, 'latent_dropout')
    weights = ('denoiser_learning_rate', 'flow_weight', 'consistency_weight', 'bridge_weight')
    yield from _at_least(0.0, self, *weights)


@dataclasses.dataclass(frozen=True)
class Joint:
  steps: int
  learning_rate: float
  critic_learning_rate: float
  denoiser_learning_rate: float
  clean_share: float
  refiner_rows: int

  def problems(self):
    yield from _at_least(1, self, 'steps', 'refiner_rows')
    yield from _between(0.0, 1.0, self, 'clean_share')
    yield from _above_0(self, 'critic_learning_rate')


@dataclasses.dataclass(frozen=True)
class Fewstep:
  steps: int
  learning_rate: float
  critic_learning_rate: float
  walk: int
  denoising_weight: float
  ema_decay: float

  def problems(self):
    yield from _at_least(1, self, 'steps', 'walk')
    yield from _at_least(0.0, self, 'denoising_weight')
    yield from _between(0.0, 0.99999, self, 'ema_decay')
    yield from _above_0(self, 'critic_learning_rate')


@dataclasses.dataclass(frozen=True)
class Guard:
  action: str
  patience: int
  rollbacks: int
  motion: float
  diversity: float
  d_loss: float

  def problems(self):
    yield from _one_of(('stop', 'rollback', 'warn'), self, 'action')
    yield from _at_least(1, self, 'patience')
    yield from _at_least(0, self, 'rollbacks', 'motion', 'diversity', 'd_loss')


@dataclasses.dataclass(frozen=True)
class Hybrid:
  tau: float | str
  steps: int
  sampler: str
  spacing: str

  def problems(self):
    yield from _at_least(1, self, 'steps')
    if self.tau != AUTO and not (isinstance(self.tau, float) and 0 < self.tau < 1):
      yield (
        f'tau={self.tau}: must lie between 0 (the plain GAN) and 1 (plain diffusion), '
        f'or be {AUTO!r}'
      )
    yield from _one_of(SAMPLERS, self, 'sampler')


@dataclasses.dataclass(frozen=True)
class Evaluation:
  clips: int
  batch: int
  flow_clips: int
  taus: tuple
  evaluations: tuple
  checks: int
  metrics: tuple
  weights: str

  def problems(self):
    yield from _at_least(LEAST_SCORED, self, 'clips')
    yield from _at_least(1, self, 'batch', 'flow_clips')
    yield from _at_least(0, self, 'checks')
    if any(not 0 < tau < 1 for tau in self.taus):
      yield f'taus={self.taus}: each must lie between 0 and 1'
    if any(not isinstance(n, int) or n < 1 for n in self.evaluations):
      yield f'evaluations={self.evaluations}: each must be a whole number from 1'


@dataclasses.dataclass(frozen=True)
class Config:
  seed: int
  stages: tuple
  dtype: str
  log_every: int
  data: Data
  mesh: Mesh
  checkpoint: Checkpoint
  generator: Generator
  critic: Critic
  denoiser: Denoiser
  bridge: Bridge
  gan: Gan
  diffusion: Diffusion
  aligner: AlignerStage
  joint: Joint
  fewstep: Fewstep
  guard: Guard
  hybrid: Hybrid
  evaluation: Evaluation

  def problems(self):
    yield from _at_least(0, self, 'seed')
    yield from _at_least(1, self, 'log_every')
    yield from _one_of(('float32', 'bfloat16'), self, 'dtype')
    for section in STAGES:
      for problem in _above_0(getattr(self, section), 'learning_rate'):
        yield f'{section}.{problem}'
    yield from self._stage_problems()
    yield from self._size_problems()
    if self.hybrid.tau == AUTO and 'gan' not in self.stages:
      yield f'hybrid.tau={AUTO}: is chosen by the drafts of stage gan; add it to stages'

  def _stage_problems(self):
    in_order = [s for s in STAGES if s in self.stages]
    if not self.stages or list(self.stages) != in_order:
      yield f'stages={self.stages}: want some of {STAGES}, in that order'
    for stage in ('aligner', 'joint', 'fewstep'):
      needed = itertools.takewhile(lambda s, stage=stage: s != stage, STAGES)
      if stage in self.stages and (missing := [s for s in needed if s not in self.stages]):
        yield f'stages={self.stages}: {stage} starts from {", ".join(missing)}; add it'

  def _size_problems(self):
    size = self.data.size
    patches = {
      'generator.patch': self.generator.patch,
      'critic.frame_patch': self.critic.frame_patch,
      'critic.clip_patch': self.critic.clip_patch,
      'bridge.patch': self.bridge.patch,
    }
    for name, patch in patches.items():
      if size // patch < 4:
        yield f'{name}={patch}: data.size={size} leaves maps under 4x4'
    if self.critic.frames > self.data.frames:
      yield f'critic.frames={self.critic.frames}: clips have data.frames={self.data.frames}'
    smallest = self.denoiser.patch * 2 ** (len(self.denoiser.multipliers) - 1)
    if size % smallest or size // smallest < 2:
      yield (
        f'denoiser.multipliers={self.denoiser.multipliers}: '
        f'data.size={size} cannot be halved so often'
      )


def as_dict(config: Config) -> dict:
  """Plain data, as config.json holds it."""
  return dataclasses.asdict(config)
