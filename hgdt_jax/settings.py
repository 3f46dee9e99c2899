"""The configuration's sections: frozen dataclasses, checked before a device is touched.

The meaning of every field stands once, in `configs/base.py`; here stands what it may be. Choices
are those of the modules that act on them.
"""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from ml_collections import ConfigDict

from hgdt_jax import fields, guards, schema
from hgdt_jax.autoencoders import AUTOENCODERS
from hgdt_jax.denoisers import DENOISERS
from hgdt_jax.diffusion import samplers, spacing, thresholding
from hgdt_jax.gans import GANS
from hgdt_jax.metrics import drift, random_features, table
from hgdt_jax.schema import Between, Chosen, Inside, Length, OneOf
from hgdt_jax.space import Space
from hgdt_jax.stages import STAGES, aligner, denoising, diffusion, fewstep, gan, joint
from hgdt_jax.stages.types import JUDGES
from input_pipeline import SOURCES
from input_pipeline.sampling import SHORT
from input_pipeline.stacks import ORDERS

# No `from __future__ import annotations` here: it would turn the field types into strings.

CHANNELS = 3
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
  npy_order: Annotated[str, OneOf(ORDERS)]
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
    if 0 < self.target_fps < 0.1:
      yield f'target_fps={self.target_fps}: must be at least 0.1, or 0 for frames as they come'
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
  threshold: Annotated[str, OneOf(thresholding.THRESHOLDS)]

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
  plugins: tuple[str, ...]
  seed: Annotated[int, Between(0, 2**32 - 1)]  # what the order of clips is drawn with
  stages: tuple[Annotated[str, OneOf(STAGES)], ...]
  init_from: tuple[str, ...]
  dtype: Annotated[str, OneOf(('float32', 'bfloat16'))]  # float16 would need its losses scaled
  log_every: fields.Steps
  data: Data
  mesh: Mesh
  checkpoint: Checkpoint
  draft: Chosen(GANS)
  space: Chosen(AUTOENCODERS)
  denoiser: Chosen(DENOISERS)
  bridge: Bridge
  optimiser: denoising.Optimiser
  gan: gan.Settings
  diffusion: diffusion.Settings
  aligner: aligner.Settings
  joint: joint.Settings
  fewstep: fewstep.Settings
  guard: Guard
  hybrid: Hybrid
  evaluation: Evaluation

  def problems(self):
    yield from self._stage_problems()
    yield from self._size_problems()
    for name in self.evaluation.metrics:
      if table.METRICS[name].measure == drift.NAME and self.data.source != 'synthetic':
        yield f'evaluation.metrics: {name} is read by a probe of the synthetic source alone'
    if self.hybrid.threshold != 'none' and self.space.name != 'pixels':
      yield f'hybrid.threshold={self.hybrid.threshold!r}: is for the space of pixels'
    if self.hybrid.tau == AUTO and 'gan' not in self.stages:
      yield f'hybrid.tau={AUTO}: is chosen by the drafts of stage gan; add it to stages'
    trained = [network for stage in self.stages for network in STAGES[stage].trains]
    if self.hybrid.tau == AUTO and self.space.learns and 'autoencoder' not in trained:
      yield f'hybrid.tau={AUTO}: no stage trains the autoencoder that it is chosen with'
    if self.hybrid.tau == AUTO and not self.evaluation.taus:
      yield f'evaluation.taus=(): hybrid.tau={AUTO} is chosen among them'

  @property
  def clip(self) -> Space:
    """What a source gives, a GAN drafts and judges see."""
    return Space(self.data.frames, self.data.size, CHANNELS)

  @property
  def latent(self) -> Space:
    """Where the denoiser works."""
    return self.space.of(self.clip)

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
    found = {}
    for network in self.present(STAGES[stage].takes):
      if lender := self._trained_before(stage, network):
        names = self.draft.judges if network == JUDGES else (network,)
        found |= dict.fromkeys(names, lender)
    return found

  def begins_with(self, stage: str) -> set[str]:
    """The networks that a stage is given, by this run or another; JUDGES for those of the draft."""
    own = [n for n in self.present(STAGES[stage].takes) if self._trained_before(stage, n)]
    if donor := donor_of(stage, self.init_from):
      own += STAGES[donor[1]].trains + STAGES[donor[1]].takes
    elif donors_of_all(self.init_from):  # what they have is seen when they are read
      own += STAGES[stage].takes
    return set(own)

  def lacks(self, stage: str) -> list[str]:
    """The networks that a stage takes over and no stage before it trains."""
    found = []
    for network in self.present(STAGES[stage].takes):
      if network not in STAGES[stage].begins and not self._trained_before(stage, network):
        found += self.draft.judges if network == JUDGES else (network,)
    return found

  def networks_of(self, stage: str) -> set[str]:
    """Those that a stage trains for others or takes over, judges by their names."""
    names = set(self.present(STAGES[stage].trains + STAGES[stage].takes))
    return names - {JUDGES} | set(self.draft.judges if JUDGES in names else ())

  def present(self, networks: Iterable[str]) -> list[str]:
    """Of the names of networks, those that this configuration has."""
    absent = {'bridge': not self.bridges, 'autoencoder': not self.space.learns}
    return [name for name in networks if not absent.get(name)]

  def _trained_before(self, stage, network):
    """The last stage before this one that trains the network; None where none does."""
    before = self.stages[: self.stages.index(stage)]
    return next((one for one in reversed(before) if network in STAGES[one].trains), None)

  def _stage_problems(self):
    if not self.stages or len(set(self.stages)) < len(self.stages):
      yield f'stages={self.stages}: want some of {", ".join(STAGES)}, each once'
      return
    for entry in self.init_from:
      stage, equals, source = entry.partition('=')
      if entry and not equals and entry not in STAGES:
        continue  # of all stages
      if stage not in self.stages or not source:
        yield (
          f'init_from={entry!r}: want SOURCE, STAGE=SOURCE or STAGE=SOURCE:STAGE, a stage of '
          'stages; SOURCE is a workdir, a file of weights or the name of shipped ones'
        )
      elif (other := donor_of(stage, self.init_from)[1]) not in STAGES:
        yield f'init_from={entry!r}: no stage {other!r}; there are {", ".join(STAGES)}'
        return
    for name in self.stages:
      stage = STAGES[name]
      if not hasattr(self, name):
        yield f'{name}: missing; stage {name} has its settings there'
        return
      for network in self.present(stage.takes):
        if network not in stage.begins and network not in self.begins_with(name):
          others = [one for one in STAGES if one != name and network in STAGES[one].trains]
          yield (
            f'stages={self.stages}: {name} takes the {network} over; put {" or ".join(others)} '
            'before it'
          )
      for network in self.present(stage.trains):
        lender = self._trained_before(name, network)
        if lender and network not in stage.takes:
          yield (
            f'stages={self.stages}: {name} begins the {network} anew, which {lender} has trained '
            f'before it; put {name} first'
          )
    for name in self.stages:
      yield from STAGES[name].problems(self)

  def _size_problems(self):
    size, frames = self.data.size, self.data.frames
    yield from (f'draft.{problem}' for problem in self.draft.misfits(size, frames))
    yield from (f'space.{problem}' for problem in self.space.misfits(size, frames))
    size = self.latent.size
    if self.bridges and size // self.bridge.patch < 4:
      yield f'bridge.patch={self.bridge.patch}: {size}x{size} leaves maps under 4x4'
    yield from (f'denoiser.{problem}' for problem in self.denoiser.misfits(size, frames))


def donors_of_all(init_from: Sequence[str]) -> list[str]:
  """Those that are to give each network to the first stage that has it."""
  return [entry for entry in init_from if '=' not in entry]


def donor_of(stage: str, init_from: Sequence[str]) -> tuple[str, str] | None:
  """The workdir or weights, and the stage in them, that `init_from` lets this stage begin with."""
  for entry in init_from:
    begun, _, source = entry.partition('=')
    if begun == stage:
      workdir, colon, other = source.rpartition(':')
      named = colon and '/' not in other  # else the colon is one of the path, gs://..., if any
      return (workdir, other) if named else (source, stage)
  return None


def build(
  cls: type[Config],
  given: Mapping[str, Any] | ConfigDict,
  defaults: Mapping[str, Any] | None = None,
) -> Config:
  """`schema.build`, after the modules of `plugins` are imported: what they register is known.

  Raises:
    ValueError: as there; or a plugin cannot be imported.
  """
  if isinstance(given, ConfigDict):
    given = given.to_dict()
  import_plugins(given)
  known = {field.name for field in dataclasses.fields(cls)}
  more = {n: s.settings for n, s in STAGES.items() if n not in known and n in given}
  if more:  # sections of stages that plugins registered
    cls = dataclasses.make_dataclass(cls.__name__, more.items(), bases=(cls,), frozen=True)
  return schema.build(cls, given, defaults=defaults)


def import_plugins(given: Mapping[str, Any]) -> None:
  """The modules that a configuration names. ValueError where one cannot be imported."""
  names = given.get('plugins', ())
  for i, name in enumerate(names if isinstance(names, (list, tuple)) else ()):
    if not isinstance(name, str):
      continue  # `schema.build` says so
    try:
      importlib.import_module(name)
    except (ImportError, ValueError) as error:
      raise ValueError(
        f'config.plugins[{i}]={name!r}: {error}; want the name of a module on PYTHONPATH'
      ) from error


def as_dict(config: Config) -> dict:
  """Plain data, as config.json holds it."""
  return dataclasses.asdict(config)
