"""The workdir of a run: its config.json, what may change in it, and which stages are done."""

import dataclasses
import functools
import importlib.metadata
import json
import os
import pathlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from configs import base
from hgdt_jax import __version__, atomic, checkpoint, settings, writer
from hgdt_jax.stages import STAGES

CONFIG_FILE = 'config.json'
# 1 is that of hgdt_jax 0.1, whose checkpoints say neither what they are of nor that they are whole.
# 2 is that of 0.2, whose aligner had one direction and whose bridge was told no noise level.
# 3 is that of 0.3, which knew one family of GAN: its settings were sections of their own.
FORMAT = 4

# A resumed run may ask for more or other of these; all else decides what is trained.
_MAY_CHANGE = {
  *('config.plugins', 'config.log_every', 'config.stages', 'config.mesh'),
  *('config.checkpoint', 'config.evaluation'),
  'config.guard',
  *('config.data.path', 'config.data.workers', 'config.data.fps'),
  *('config.hybrid.steps', 'config.hybrid.sampler', 'config.hybrid.spacing'),
  'config.hybrid.threshold',
}
# And these, of clips that were prepared: the set has the rate that it was made at.
_RATE_OF_CLIPS = {'config.data.stride', 'config.data.target_fps'}
# So may these, which a guard advises to change; config.json says since which step. Not to or from 0
# what an optimiser is made of: its state would be another.
_RATES = {'learning_rate', 'critic_learning_rate', 'denoiser_learning_rate'}  # of a stage
_TUNED = {
  *(f'config.optimiser.{name}' for name in ('b1', 'b2', 'weight_decay', 'clip_norm')),
  *(f'config.draft.{name}' for name in ('r1', 'r2', 'interpolation_penalty')),
}


def read_config(workdir: pathlib.Path) -> settings.Config:
  """The resolved configuration a workdir was trained with.

  Fields that did not exist when it was written have their defaults.

  Raises:
    FileNotFoundError: there is no config.json.
    ValueError: it is not one, or of a later version.
  """
  given = _with_draft(_read(workdir)['config'])
  return settings.build(settings.Config, given, defaults=base.get_config().to_dict())


def _with_draft(given):
  """A configuration of format 3 or older with its sections of the GAN in one."""
  if 'draft' in given or not {'generator', 'critic', 'gan'} <= given.keys():
    return given
  given, gan = dict(given), dict(given['gan'])
  draft = {'name': 'style', 'generator': given.pop('generator'), 'critic': given.pop('critic')}
  moved = ('objective', 'r1', 'r2', 'interpolation_penalty', 'penalty_rows')
  moved += ('image_share', 'image_weight')
  draft |= {name: gan.pop(name) for name in moved if name in gan}
  return given | {'gan': gan, 'draft': draft}


def open_to_train(
  cfg: settings.Config, workdir: pathlib.Path, census: Mapping[str, Any] | None = None
) -> None:
  """Writes config.json, or refuses a workdir that cannot be gone on with.

  `census` is what the clips were taken for, to be written in it.

  One without a checkpoint binds nobody: nothing in it was trained, and what it logged goes. A tau
  that was chosen before, if it was, takes the place of 'auto'.

  Raises:
    ValueError: another configuration or an older version trained what is there, or a stage started
      from another step of a stage before it than there would be.
  """
  path = workdir / CONFIG_FILE
  if not path.exists() or not _is_trained(workdir):
    (workdir / writer.METRICS_FILE).unlink(missing_ok=True)
    write_config(cfg, workdir, census=census or {})
    return
  _refuse_other_format(workdir)
  before = read_config(workdir)
  if cfg.hybrid.tau == settings.AUTO:
    cfg = with_tau(cfg, before.hybrid.tau)
  old, new = dataclasses.asdict(before), dataclasses.asdict(cfg)
  _refuse_other(old, new, path)
  refuse_stale(cfg, workdir)
  at = {stage: last for stage in before.stages if (last := last_step(workdir, stage))}
  tuned = [
    {'field': name, 'was': was, 'now': now, 'after_steps': at}
    for name, was, now in _differences(old, new, 'config')
    if _is_tunable(name) or name.startswith('config.guard.')
  ]
  write_config(cfg, workdir, [*_read(workdir).get('tuned', ()), *tuned], census)
  for line in _left_over(cfg, workdir):
    print(line, flush=True)


def _left_over(cfg: settings.Config, workdir: pathlib.Path) -> Iterator[str]:
  """What was trained and is not asked for: it is neither undone nor removed, and that is said."""
  for stage in STAGES:
    last = last_step(workdir, stage)
    if last and stage not in cfg.stages:
      yield (
        f'stage {stage} has {last} steps in {workdir} and is not among config.stages: it is left '
        'as it is, and nothing is drawn or scored with it'
      )
    elif last and last > (asked := getattr(cfg, stage).steps):
      yield (
        f'config.{stage}.steps={asked}: stage {stage} has {last} in {workdir} already, and stays '
        f'as it is; for {asked} remove {checkpoint.folder(workdir, stage)}'
      )


def write_config(
  cfg: settings.Config,
  workdir: pathlib.Path,
  tuned: Sequence[dict] = (),
  census: Mapping[str, Any] | None = None,
) -> None:
  """With what was tuned, and when, if anything was; and the census, or the one that is there."""
  if census is None and (workdir / CONFIG_FILE).exists():
    census = _read(workdir).get('census')
  content = {
    'config': settings.as_dict(cfg),
    'versions': versions(),
    'seed': cfg.seed,
    'format': FORMAT,
  }
  content |= {'tuned': tuned} if tuned else {}
  content |= {'census': census} if census else {}
  atomic.write_json(workdir / CONFIG_FILE, content)


def _is_trained(workdir):
  """Whether a checkpoint was saved, damaged ones among them; what begins with a dot is half one."""
  return any(not path.name.startswith('.') for path in workdir.glob('checkpoints/*/*'))


def with_tau(cfg: settings.Config, tau) -> settings.Config:
  return dataclasses.replace(cfg, hybrid=dataclasses.replace(cfg.hybrid, tau=tau))


def versions() -> dict[str, str]:
  """Of the packages that decide what is trained; of a checkout, its commit too."""
  packages = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')
  others = {name: importlib.metadata.version(name) for name in packages}
  # Its own version not from pip, which knows not of a checkout.
  return {'hgdt_jax': __version__} | _commit() | others


@functools.cache
def _commit():
  """Nothing where there is none to be known; `-dirty` where what runs is not quite it."""
  root = pathlib.Path(__file__).resolve().parents[1]
  if not (root / '.git').exists():  # else a repository that has it in a folder would answer
    return {}
  command = ('git', '-C', root, 'describe', '--always', '--exclude=*', '--abbrev=40', '--dirty')
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
  except (OSError, subprocess.SubprocessError):
    return {}
  return {'commit': done.stdout.strip()}


def versions_of(workdir: pathlib.Path) -> dict[str, str]:
  """Those that a workdir was last trained with. Raises as `read_config`."""
  return _read(workdir).get('versions', {})


def format_of(workdir: pathlib.Path) -> int:
  """The format that a workdir was written in. Raises as `read_config`."""
  return int(_read(workdir).get('format', 1))


def last_step(workdir: pathlib.Path, stage: str) -> int:
  """Of a stage's checkpoints; 0 where there is none."""
  return max(checkpoint.steps(workdir, stage), default=0)


def is_done(cfg: settings.Config, workdir: pathlib.Path, stage: str) -> bool:
  """Whether the stage's last step is saved: before that it has nothing to hand on."""
  return last_step(workdir, stage) >= getattr(cfg, stage).steps


def strip_on_the_way(workdir: pathlib.Path, stage: str, step: int) -> pathlib.Path:
  """Where some clips are laid out that a stage drew at a step; names sort by time."""
  return workdir / 'progress' / f'{list(STAGES).index(stage)}_{stage}_{step:07d}.png'


def use_compile_cache(workdir: pathlib.Path) -> None:
  """What was compiled for this workdir is not compiled again, if it can be written to."""
  if not jax.config.jax_compilation_cache_dir and os.access(workdir, os.W_OK):
    jax.config.update('jax_compilation_cache_dir', str((workdir / 'xla_cache').resolve()))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)


def refuse_stale(cfg: settings.Config, workdir: pathlib.Path) -> None:
  """Refuses a stage that started from other stages than it would now, or another step of one.

  Raises:
    ValueError: says which, and what to do.
  """
  for stage in cfg.stages:
    last = last_step(workdir, stage)
    started_from = _started_from(workdir, stage, last) if last else None
    if started_from is None:
      continue
    lenders = set(cfg.starts_from(stage).values())
    if lenders != started_from.keys():
      named = lambda stages: ', '.join(s for s in STAGES if s in stages) or 'none'
      raise ValueError(
        f'stage {stage} in {workdir} started from the stages {named(started_from)}, and would now '
        f'from {named(lenders)}: remove {checkpoint.folder(workdir, stage)} to train it anew, or '
        'go back to the stages there were'
      )
    for before, step in started_from.items():
      now = max(getattr(cfg, before).steps, last_step(workdir, before))
      if step != now:
        raise ValueError(
          f'stage {stage} in {workdir} started from step {step} of stage {before}, which is to '
          f'have {now}: remove {checkpoint.folder(workdir, stage)} to train it anew, or go back '
          f'to config.{before}.steps={step}'
        )


def _started_from(workdir, stage, step):
  """The stages and their steps; None where that is not known."""
  try:
    return checkpoint.about(workdir, stage, step).get('started_from')
  except (OSError, ValueError):  # damaged: whoever restores it says so
    return None


def _read(workdir):
  path = pathlib.Path(workdir) / CONFIG_FILE
  if not path.exists():
    raise FileNotFoundError(f'{path} is missing: {workdir} is not the --workdir of a run')
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
    found = int(content.get('format', 1))
  except (ValueError, AttributeError, TypeError) as error:
    raise ValueError(f'{path} is damaged ({error}); put back a copy of it') from error
  if found > FORMAT or not isinstance(content.get('config'), dict):
    raise ValueError(
      f'{path} has format {found} and was written by hgdt_jax {_version_of(content)}; this version '
      f'reads formats up to {FORMAT}'
    )
  return content


def _refuse_other_format(workdir):
  content = _read(workdir)
  if content.get('format', 1) != FORMAT:
    raise ValueError(
      f'{workdir} was begun by hgdt_jax {_version_of(content)}, whose checkpoints are of other '
      'networks or do not say whether they are whole: this version samples from it; train on with '
      'that one, or choose another --workdir'
    )


def _version_of(content):
  return content.get('versions', {}).get('hgdt_jax', '0.1')


def _refuse_other(old, new, path):
  may_change = _MAY_CHANGE | (_RATE_OF_CLIPS if old['data']['source'] == 'arrayrecord' else set())
  for name, was, now in _differences(old, new, 'config'):
    section, _, field = name.rpartition('.')
    is_length = field == 'steps' and section.removeprefix('config.') in STAGES
    is_tuned = _is_tunable(name) and (bool(was) == bool(now) or section == 'config.draft')
    if not (is_length or is_tuned or {name, section} & may_change):
      raise ValueError(
        f'{name} is {now!r}, but {path} was trained with {was!r}; '
        'set it back to go on, or choose another --workdir'
      )


def _is_tunable(name):
  section, _, field = name.rpartition('.')
  return name in _TUNED or (field in _RATES and section.removeprefix('config.') in STAGES)


def _differences(old, new, path):
  for name in old | new:  # another family has other fields
    was, now = old.get(name), new.get(name)
    if isinstance(was, dict) and isinstance(now, dict):
      yield from _differences(was, now, f'{path}.{name}')
    elif json.dumps(was) != json.dumps(now):
      yield f'{path}.{name}', was, now
