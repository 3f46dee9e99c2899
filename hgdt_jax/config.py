"""The configuration's sections: frozen dataclasses, checked before a device is touched.

The meaning of every field stands once, in `configs/base.py`; here stands what it may be. Choices
are those of the modules that act on them.
"""

import dataclasses
from typing import Annotated

from hgdt_jax import fields, guards
from hgdt_jax.denoisers import DENOISERS
from hgdt_jax.diffusion import noise, parameterization, samplers, schedules, spacing, training
from hgdt_jax.gans import GANS, augment
from hgdt_jax.metrics import drift, random_features, table
from hgdt_jax.schema import Between, Chosen, Inside, Length, OneOf, build
from input_pipeline import SOURCES
from input_pipeline.sampling import SHORT

# No `from __future__ import annotations` here: it would turn the field types into strings.

__all__ = ['AUTO', 'LEAST_SCORED', 'STAGES', 'Config', 'as_dict', 'build']

JUDGES = 'judges'  # in place of their names, which the family of the draft knows
# Every stage, in its order, and the networks it takes over: from the last of these stages that runs
# before it. Those of _MAY_BEGIN begin from scratch where none does.
STARTS_FROM = {
  'gan': {},
  'diffusion': {},
  'aligner': {'generator': ('gan',), 'denoiser': ('diffusion',)},
  'joint': {
    'generator': ('gan',),
    JUDGES: ('gan',),
    'denoiser': ('diffusion', 'aligner'),
    'bridge': ('aligner',),
  },
  'fewstep': {'denoiser': ('diffusion', 'aligner', 'joint'), 'bridge': ('aligner', 'joint')},
}
_MAY_BEGIN = (('aligner', 'generator'), ('aligner', 'denoiser'))
STAGES = tuple(STARTS_FROM)
LATENTS = ('none', 'clean', 'noised')  # what the bridge reads, if there is one
LEAST_SCORED = 4  # clips, for recall among three neighbours
AUTO = 'auto'  # hybrid.tau that a two-sample test is to choose
_LEAST_FRAMES, _LEAST_SIZE, _ = random_features.SMALLEST  # of clips that can be scored


@dataclasses.dataclass(frozen=True)
class Data:
  source: Annotated[str, OneOf(SOURCES)]
  path: str
  frames: Annotated[int, Between(_LEAST_FRAMES, 4096)]
  size: Annotated[int, Between(_LEAST_SIZE, fields.MOST_SIZE)]
  batch: fields.Batch
  clips: Annotated[int, Between(LEAST_SCORED, 10**8)]
  stride: Annotated[int, Between(1, 10**4)]  # minutes from frame to frame
  target_fps: Annotated[float, Between(0, 1000)]
  windows: Annotated[int, Between(0, 10**6)]
  short: Annotated[str, OneOf(SHORT)]
  labels: str
  max_bad: fields.Share
  test_share: fields.PartialShare
  flip: bool
  jitter: fields.PartialShare
  classes: Annotated[int, Between(-1, 10**5)]  # ImageNet has 22 thousand
  workers: fields.Count
  fps: Annotated[float, Between(0.1, 1000)]  # containers count frames by 1/1001 of a second

  def problems(self):
    if self.size & (self.size - 1):
      yield f'size={self.size}: must be a power of two'
    if self.target_fps and self.stride != 1:
      yield f'target_fps={self.target_fps}: stride is {self.stride}; want one of them only'


@dataclasses.dataclass(frozen=True)
class Mesh:
  data: fields.Devices
  fsdp: fields.Devices

  def problems(self):
    for name in ('data', 'fsdp'):
      if getattr(self, name) == 0:
        yield f'{name}=0: want a number of devices, or -1 for all that are left over'
    if self.data == self.fsdp == -1:
      yield 'fsdp=-1: data is -1 too; only one can be what the other leaves over'


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  every: fields.Steps
  keep: Annotated[int, Between(1, 1000)]


@dataclasses.dataclass(frozen=True)
class Bridge:
  width: fields.Width
  max_width: fields.Width
  patch: fields.Patch


@dataclasses.dataclass(frozen=True)
class Gan:
  steps: fields.Steps
  learning_rate: fields.Rate
  augment: Annotated[str, OneOf(augment.MODES)]
  augment_probability: fields.Share
  augment_target: fields.Share
  noise: fields.Share
  ema_decay: fields.Decay


@dataclasses.dataclass(frozen=True)
class Diffusion:
  steps: fields.Steps
  learning_rate: fields.Rate
  warmup: Annotated[int, Between(0, 10**8)]
  ema_decay: fields.Decay
  schedule: Annotated[str, OneOf(schedules.SCHEDULES)]
  prediction: Annotated[str, OneOf(parameterization.KINDS)]
  weight: Annotated[str, OneOf(training.WEIGHTS)]
  times: Annotated[str, OneOf(training.TIMES)]
  low_noise_share: fields.Share
  noise: Annotated[str, OneOf(noise.KINDS)]
  frames_share: fields.Share
  label_dropout: fields.Share


@dataclasses.dataclass(frozen=True)
class AlignerStage:
  steps: fields.Steps
  learning_rate: fields.Rate
  denoiser_learning_rate: fields.RateOrNone
  latents: Annotated[str, OneOf(LATENTS)]
  latent_dropout: fields.Share
  flow_weight: fields.Weight
  hidden_price: fields.Weight
  consistency_weight: fields.Weight
  bridge_weight: fields.Weight


@dataclasses.dataclass(frozen=True)
class Joint:
  steps: fields.Steps
  learning_rate: fields.Rate
  critic_learning_rate: fields.Rate
  denoiser_learning_rate: fields.RateOrNone
  clean_share: fields.Share
  refiner_rows: Annotated[int, Between(0, 2**16)]


@dataclasses.dataclass(frozen=True)
class Fewstep:
  steps: fields.Steps
  learning_rate: fields.Rate
  critic_learning_rate: fields.Rate
  walk: fields.Evaluations
  denoising_weight: fields.Weight
  ema_decay: fields.Decay


@dataclasses.dataclass(frozen=True)
class Guard:
  action: Annotated[str, OneOf(guards.ACTIONS)]
  patience: fields.Steps
  rollbacks: fields.Count
  motion: fields.Share  # a floor above what real clips have would stop every run
  diversity: fields.Share
  d_loss: Annotated[float, Between(0, 100)]  # an undecided critic's is below 5, by any objective


@dataclasses.dataclass(frozen=True)
class Hybrid:
  tau: float | str
  steps: fields.Evaluations
  sampler: Annotated[str, OneOf(samplers.SAMPLERS)]
  spacing: Annotated[str, OneOf(spacing.SPACINGS)]

  def problems(self):
    if self.tau != AUTO and not (isinstance(self.tau, float) and 0 < self.tau < 1):
      ends = '0 (the plain GAN) and 1 (plain diffusion)'
      yield f'tau={self.tau}: must lie between {ends}, or be {AUTO!r}'


@dataclasses.dataclass(frozen=True)
class Evaluation:
  clips: Annotated[int, Between(LEAST_SCORED, 10**6)]
  batch: fields.Batch
  flow_clips: fields.Scored
  taus: Annotated[tuple[Annotated[float, Inside(0, 1)], ...], Length(0, 1000)]
  evaluations: Annotated[tuple[fields.Evaluations, ...], Length(0, 1000)]
  checks: fields.Count
  metrics: tuple[Annotated[str, OneOf(table.METRICS)], ...]
  weights: str


@dataclasses.dataclass(frozen=True)
class Config:
  seed: Annotated[int, Between(0, 2**32 - 1)]  # what the order of clips is drawn with
  stages: tuple[Annotated[str, OneOf(STAGES)], ...]
  dtype: Annotated[str, OneOf(('float32', 'bfloat16'))]  # float16 would need its losses scaled
  log_every: fields.Steps
  data: Data
  mesh: Mesh
  checkpoint: Checkpoint
  draft: Chosen(GANS)
  denoiser: Chosen(DENOISERS)
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
    yield from self._stage_problems()
    yield from self._size_problems()
    for name in self.evaluation.metrics:
      if table.METRICS[name].measure == drift.NAME and self.data.source != 'synthetic':
        yield f'evaluation.metrics: {name} is read by a probe of the synthetic source alone'
    if self.hybrid.tau == AUTO and 'gan' not in self.stages:
      yield f'hybrid.tau={AUTO}: is chosen by the drafts of stage gan; add it to stages'
    if self.hybrid.tau == AUTO and not self.evaluation.taus:
      yield f'evaluation.taus=(): hybrid.tau={AUTO} is chosen among them'

  @property
  def aligns(self) -> bool:
    """Whether a stage trains the aligner."""
    return 'aligner' in self.stages

  @property
  def bridges(self) -> bool:
    """Whether a stage trains the bridge, and tells the denoiser what it makes of clips."""
    return self.aligns and self.aligner.latents != 'none'

  def starts_from(self, stage: str) -> dict[str, str]:
    """The networks that a stage takes over, and the stage that each comes from."""
    before = self.stages[: self.stages.index(stage)]
    found = {}
    for network, lenders in self._taken(stage):
      if running := [lender for lender in lenders if lender in before]:
        names = self.draft.judges if network == JUDGES else (network,)
        found |= dict.fromkeys(names, running[-1])
    return found

  def _taken(self, stage):
    """(network, its lenders) of what a stage takes over; no bridge where none is trained."""
    every = STARTS_FROM[stage].items()
    return [one for one in every if one[0] != 'bridge' or self.bridges]

  def _stage_problems(self):
    in_order = [s for s in STAGES if s in self.stages]
    if not self.stages or list(self.stages) != in_order:
      yield f'stages={self.stages}: want some of {STAGES}, in that order'
      return
    for stage in self.stages:
      found = self.starts_from(stage)
      for network, lenders in self._taken(stage):
        begins = (stage, network) in _MAY_BEGIN or network == JUDGES  # these come with generators
        if network not in found and not begins:
          yield f'stages={self.stages}: {stage} starts from {" or ".join(lenders)}; add it'
    if 'fewstep' in self.stages and self.draft.name != 'style':
      yield f'stages: fewstep plays with the critics of draft.name=style, not {self.draft.name}'
    if self.bridges and not self.draft.latent_size:
      yield (
        f'aligner.latents={self.aligner.latents!r}: drafts of draft.name={self.draft.name!r} have '
        "none; choose 'none'"
      )
    if self.bridges and 'gan' not in self.stages:
      yield (
        f'aligner.latents={self.aligner.latents!r}: the bridge learns from the drafts of stage '
        "gan; add it to stages, or choose 'none'"
      )
    if self.aligns and not self.denoiser.aligns:
      yield f'stages: denoiser.name={self.denoiser.name} has no aligner for stage aligner to train'
    if self.aligns and 'diffusion' not in self.stages and not self.aligner.denoiser_learning_rate:
      yield (
        'aligner.denoiser_learning_rate=0: no stage before aligner trains the denoiser; add '
        'diffusion to stages or give a rate'
      )

  def _size_problems(self):
    size = self.data.size
    yield from (f'draft.{problem}' for problem in self.draft.misfits(size, self.data.frames))
    if size // self.bridge.patch < 4:
      yield f'bridge.patch={self.bridge.patch}: data.size={size} leaves maps under 4x4'
    yield from (f'denoiser.{problem}' for problem in self.denoiser.misfits(size, self.data.frames))


def as_dict(config: Config) -> dict:
  """Plain data, as config.json holds it."""
  return dataclasses.asdict(config)
