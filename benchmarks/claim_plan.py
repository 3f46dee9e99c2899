"""What `claim.py` trains and draws: runs, and the cells of its tables. Data and arithmetic."""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping

from hgdt_jax import methods, settings

SETS = {'bench': 'bench', 'weizmann': 'small'}  # their presets
# Steps of the grids' cells: of one start all take as many, whatever else they differ in.
DRAFT_STEPS, NOISE_STEPS = 3, 4
# Cells of the two systems as they are meant, in so many steps.
FULL, PAPER = 'hybrid.draft_video_aligned_gan', 'paper.draft_frames_aligned_gan'
LONG_GAN = 'hybrid_long_gan.draft_video'  # another share of the seconds
BLURS = (0.35, 0.5, 0.7)  # deviations in pixels, of a draft that no network refines
FEW = 512  # clips of a row beside the main ones
MAIN = ('hybrid', 'paper', 'gan_equal', 'diffusion_equal', 'frames_equal')  # of the first table


@dataclasses.dataclass(frozen=True)
class Run:
  """What one workdir trains.

  Attributes:
    recipe: 'hybrid' or 'paper'.
    stages: those that run.
    changes: of the recipe, 'section.field': value.
    takes: stages that are not trained but copied, and from which run.
    fills: (stage, run): the stage has so many steps that this run takes as many seconds as that.
  """

  recipe: str
  stages: tuple[str, ...]
  changes: Mapping[str, object] = dataclasses.field(default_factory=dict)
  takes: Mapping[str, str] = dataclasses.field(default_factory=dict)
  fills: tuple[str, str] = ()


ALL = ('gan', 'diffusion', 'aligner', 'joint')
ALIGNED = ('gan', 'diffusion', 'aligner')
PLAIN = {'diffusion.times': 'uniform'}  # noise levels over the whole range
_FRAMES = {'gan': 'gan', 'diffusion': 'frames'}
_VIDEO = {'gan': 'gan', 'diffusion': 'video'}


RUNS = {
  # What others share.
  'gan': Run('hybrid', ('gan',)),
  'video': Run('hybrid', ('diffusion',)),
  'frames': Run('paper', ('diffusion',)),
  # The two systems.
  'paper': Run('paper', ALIGNED, {}, _FRAMES),
  'hybrid': Run('hybrid', ALL, {}, _VIDEO),
  # Baselines of as many seconds.
  'gan_equal': Run('hybrid', ('gan',), {}, {}, ('gan', 'hybrid')),
  'diffusion_equal': Run(
    'hybrid',
    ('diffusion',),
    PLAIN | {'diffusion.frames_share': 0.0},
    {},
    ('diffusion', 'hybrid'),
  ),
  'frames_equal': Run('paper', ('diffusion',), PLAIN, {}, ('diffusion', 'hybrid')),
  # A part never trained, at as many seconds.
  'paper_no_aligner': Run(
    'paper', ('gan', 'diffusion'), {}, {'gan': 'gan'}, ('diffusion', 'paper')
  ),
  'hybrid_no_aligner': Run(
    'hybrid', ('gan', 'diffusion', 'joint'), {}, {'gan': 'gan'}, ('diffusion', 'hybrid')
  ),
  'hybrid_no_joint': Run('hybrid', ALIGNED, {}, _VIDEO, ('aligner', 'hybrid')),
  'hybrid_long_gan': Run(
    'hybrid', ('gan', 'diffusion'), {}, {'diffusion': 'video'}, ('gan', 'hybrid')
  ),
  'hybrid_no_latents': Run('hybrid', ALL, {'aligner.latents': 'none'}, _VIDEO),
  # The law of the pair.
  'paper_noised': Run('paper', ALIGNED, {'aligner.latents': 'noised'}, _FRAMES),
  'hybrid_noised': Run('hybrid', ALL, {'aligner.latents': 'noised'}, _VIDEO),
  # What joint gives the draft, and what it gives the refiner.
  'paper_joint': Run('paper', ALL, {'joint.refiner_rows': 0}, _FRAMES),
  'hybrid_rests': Run('hybrid', ALL, {'joint.refiner_rows': 0}, _VIDEO),
  # Aligner and everything else at once, from the start: no stage diffusion.
  'at_once': Run(
    'hybrid',
    ('gan', 'aligner'),
    {'aligner.denoiser_learning_rate': 2e-3},
    {'gan': 'gan'},
    ('aligner', 'hybrid'),
  ),
  # Frames, then the aligner, then the temporal layers.
  'attention_last': Run(
    'hybrid', ALL, {'joint.denoiser_learning_rate': 5e-4, 'joint.refiner_rows': 1}, _FRAMES
  ),
}


def closure(names: Iterable[str]) -> list[str]:
  """These runs, and those they take stages from or are as long as; in an order that works."""
  found = []

  def add(name):
    if name in found:
      return
    for other in RUNS[name].takes.values():
      add(other)
    found.append(name)

  for name in names:
    add(name)
  return found


@dataclasses.dataclass(frozen=True)
class Cell:
  """A row of a table: clips of a run, by a method, in so many steps."""

  run: str
  method: str
  steps: int
  whole: bool = False  # of as many clips as there are real ones; else of `FEW`

  @property
  def name(self) -> str:
    return f'{self.run}.{self.method}.{self.steps}'


LONG_FRAMES, LONG_CLIPS = 64, 512  # of the cells whose clips are drawn long as well
LONG = (
  Cell(*FULL.split('.'), 3, whole=True),
  Cell(*PAPER.split('.'), 3, whole=True),
  Cell('gan_equal', 'gan', 0, whole=True),
  Cell('diffusion_equal', 'diffusion', 4, whole=True),
)


def cells(run: str) -> list[Cell]:
  """The rows that are drawn from a run."""
  stages = RUNS[run].stages
  wholes = {FULL, PAPER}
  grid = lambda names: [
    Cell(run, m, DRAFT_STEPS if methods.GRID[m].drafted else NOISE_STEPS, f'{run}.{m}' in wholes)
    for m in names
  ]
  if run in ('hybrid', 'paper'):
    tried = [m for m in methods.GRID if m != 'draft' and m.endswith('_bridge') <= ('draft' in m)]
    if run == 'paper':  # its temporal layers are idle: frames and video are one method
      tried = [m for m in tried if '_video' not in m]
    return [
      Cell(run, {'hybrid': FULL, 'paper': PAPER}[run].split('.')[1], 1, whole=True),
      Cell(run, 'gan', 0, whole=True),
      Cell(run, 'draft', 0),
      *grid(tried),
    ]
  if run == 'gan_equal':
    return [Cell(run, 'gan', 0, whole=True)]
  if run == 'diffusion_equal':
    return [Cell(run, 'diffusion', steps, whole=True) for steps in (2, 4, 50)]
  if run == 'frames_equal':
    return [Cell(run, 'diffusion_frames', steps, whole=True) for steps in (2, 4, 50)]
  if run in ('gan', 'video', 'frames'):
    return []
  start = 'draft_frames' if RUNS[run].recipe == 'paper' else 'draft_video'
  found = [start]
  if 'aligner' in stages:
    found += [f'{start}_aligned']
    if run.endswith('noised'):
      found += [f'{start}_aligned_bridge', f'{start}_aligned_gan', f'{start}_bridge']
    elif 'latents' not in run:
      found += [f'{start}_aligned_gan']
  return grid(found)


def parts(run: str) -> list[list[Cell]]:
  """Its cells, by the processes that draw and measure them: neighbours have programs in common."""
  found = cells(run)
  return [found[i : i + 5] for i in range(0, len(found), 5)]


def pairs(rows: Iterable[str]) -> list[tuple[str, str]]:
  """Rows that differ in one part, or that a sentence of the claim compares; of those there are."""
  rows = set(rows)
  baselines = [
    *('gan_equal.gan.0', 'diffusion_equal.diffusion.4', 'diffusion_equal.diffusion.50'),
    *('frames_equal.diffusion_frames.4', 'frames_equal.diffusion_frames.50'),
  ]
  wanted = [
    (f'{system}.{steps}', other)
    for system in (FULL, PAPER)
    for steps in (1, 3)
    for other in baselines
  ]
  wanted += [(f'{FULL}.{steps}', f'{PAPER}.{steps}') for steps in (1, 3)]
  for row in rows:
    run, method, steps = row.split('.')[:3] if row.count('.') == 2 else ('', '', '')
    wanted.append((row, f'{run}.{method.replace("_aligned", "")}.{steps}'))
    if row == f'{LONG_GAN}.{DRAFT_STEPS}':
      wanted += [(row, other) for other in (*baselines, f'{FULL}.3')]
    if '_no_aligner' in run:
      wanted.append(({'hybrid': f'{FULL}.3', 'paper': f'{PAPER}.3'}[run.split('_')[0]], row))
    wanted.append((row, f'{run}.{method.replace("_video", "_frames")}.{steps}'))
    for latents in ('_gan', '_bridge'):
      wanted.append((row, f'{run}.{method.removesuffix(latents)}.{steps}'))
    for system in ('hybrid', 'paper'):
      if run.startswith((f'{system}_', 'at_once', 'attention')):
        wanted.append((row, f'{system}.{method}.{steps}'))
    if method.startswith('draft_'):
      wanted.append((row, f'{run}.draft.0'))
  return sorted({(a, b) for a, b in wanted if a != b and {a, b} <= rows})


def recipe(name: str, run: str):
  """The ml_collections config of a run, before its steps are set."""
  module = importlib.import_module(f'configs.{RUNS[run].recipe}')
  config = module.get_config(SETS[name])
  if name == 'weizmann':
    # Clips as short as I3D takes them: a CPU trains five runs of equal cost in an hour.
    config.data.update(source='folder', flip=True, frames=10, stride=2, windows=8)
    # So few clips are soon known by heart: critics see each of them changed in many ways.
    config.gan.update(steps=2500, augment='fixed', augment_probability=0.2)
    config.diffusion.steps = 1500
    config.aligner.steps = 400
    config.joint.refiner_rows = 1
    config.evaluation.update(clips=96, batch=32)  # all that are held out
  config.stages = RUNS[run].stages
  for path, value in RUNS[run].changes.items():
    section, field = path.split('.')
    config[section][field] = value
  return config


def config(name: str, run: str, seed: int, steps: Mapping[str, int], scale: float, data: str):
  """Plain data, for `hgdt_jax.run.train_stages`."""
  config = recipe(name, run)
  config.seed = seed
  if name == 'weizmann':
    config.data.path = data
  config.checkpoint.every = 10**6
  config.evaluation.checks = 0
  config.evaluation.metrics = ()
  config.log_every = 50
  for stage, count in steps.items():
    config[stage].steps = count
  if scale != 1:
    config.data.clips = max(int(config.data.clips * scale), 64)
    config.evaluation.clips = max(int(config.evaluation.clips * scale), 8)
    config.evaluation.batch = min(config.evaluation.batch, config.evaluation.clips)
  return config.to_dict()


def build(given) -> settings.Config:
  """With the classes that the source has."""
  given['data']['classes'] = 4
  return settings.build(settings.Config, given)


def cost_key(name: str, run: str, stage: str) -> str:
  """What a step's seconds depend on, of all that runs differ in."""
  config = recipe(name, run)
  parts = [stage]
  if stage in ('aligner', 'joint'):
    aligned = 'aligner' in config.stages
    parts.append(config.aligner.latents if aligned else 'unaligned')
    parts.append('whole' if config.aligner.denoiser_learning_rate else 'frozen')
  if stage == 'joint':
    parts.append(f'rows{config.joint.refiner_rows}')
  return '-'.join(parts)


def of_cost_key(name: str, key: str) -> tuple[str, str]:
  """A run and its stage with that key."""
  return next(
    (run, stage) for run in RUNS for stage in RUNS[run].stages if cost_key(name, run, stage) == key
  )


def seconds(name: str, run: str, cost: Mapping[str, float]) -> dict[str, float]:
  """Of each stage of a run, all trained, and no compilation."""
  config = recipe(name, run)
  return {
    stage: config[stage].steps * cost[cost_key(name, run, stage)] for stage in RUNS[run].stages
  }


def steps(name: str, run: str, cost: Mapping[str, float], scale: float = 1.0) -> dict[str, int]:
  """Of each stage of a run."""
  config, found = recipe(name, run), {}
  for stage in RUNS[run].stages:
    found[stage] = config[stage].steps
  if RUNS[run].fills:
    stage, like = RUNS[run].fills
    others = sum(s for other, s in seconds(name, run, cost).items() if other != stage)
    left = sum(seconds(name, like, cost).values()) - others
    found[stage] = round(left / cost[cost_key(name, run, stage)])
  return {stage: max(round(count * scale), 2) for stage, count in found.items()}
