"""The composition root: configuration -> mesh, data, stages, loop, samples, scores, report."""

import contextlib
import pathlib
import time
from collections.abc import Mapping

import jax
import numpy as np

import input_pipeline
from hgdt_jax import (
  clip_sources,
  config,
  laws,
  lock,
  processes,
  programs,
  report,
  results,
  sharding,
  stage_run,
  trained,
  warm_start,
)
from hgdt_jax import workdir as workdirs
from hgdt_jax.diffusion import samplers
from hgdt_jax.drawing import Guidance, Known
from hgdt_jax.metrics import score
from hgdt_jax.metrics import table as metric_table
from hgdt_jax.request import Request
from hgdt_jax.sampling import clips
from hgdt_jax.stages import STAGES
from input_pipeline import video_files
from input_pipeline.clip import BadClip

_TAU_LEVEL = 0.05  # of the test that chooses tau


def main(given: Mapping, workdir: pathlib.Path) -> None:
  """Trains every stage of `given` in order, resuming from what `workdir` holds; then `evaluate`.

  Raises:
    ValueError, FileNotFoundError: something about the configuration or the data is wrong, or
      another run is in `workdir`; found before the first compilation.
    guards.Unhealthy: a loss is not finite, or a guard stopped the run.
  """
  with _opened(given, workdir) as (cfg, mesh):
    began = time.monotonic()
    model, sources = _train(cfg, mesh, workdir)
    rows = _evaluate(model, sources, workdir, time.monotonic() - began)
    if processes.is_first():
      page = report.build(workdir)
      print(results.table(rows))
      print(f'report: {page}')


def train_stages(given: Mapping, workdir: pathlib.Path) -> trained.Trained:
  """What `main` trains, without the scores at its end. Raises as `main`."""
  with _opened(given, workdir) as (cfg, mesh):
    return _train(cfg, mesh, workdir)[0]


@contextlib.contextmanager
def _opened(given, workdir):
  """The configuration and the devices, checked; nobody else trains in `workdir` meanwhile."""
  cfg = config.build(config.Config, given)
  mesh = _check_devices(cfg)
  _check_metrics(cfg)
  with contextlib.ExitStack() as stack:
    processes.from_first(lambda: stack.enter_context(lock.held(workdir)))
    yield cfg, mesh


def _train(cfg, mesh, workdir):
  """All stages; returns the model and the sources of clips by split."""
  sources = {split: clip_sources.of(cfg, split, workdir) for split in ('train', 'test')}
  if len(sources['test']) < config.LEAST_SCORED:
    raise ValueError(
      f'{len(sources["test"])} clips are held out, and {config.LEAST_SCORED} are needed to score; '
      'raise config.data.test_share or add clips'
    )
  cfg = clip_sources.with_classes(cfg, sources['train'])
  warm_start.check(cfg, mesh, workdir)
  processes.from_first(lambda: workdirs.open_to_train(cfg, workdir))
  cfg = workdirs.read_config(workdir)
  workdirs.use_compile_cache(workdir)
  clip_sources.say_rejected(sources, workdir)

  model, held_out = trained.Trained(cfg, {}, mesh), clip_sources.held_out(cfg, sources)
  if cfg.hybrid.tau == config.AUTO:  # the programs of the other stages depend on it
    # And it depends on what drafts are diffused in.
    first = [s for s in cfg.stages if s == 'gan' or 'autoencoder' in STAGES[s].trains]
    _train_stages(model, first, sources, held_out, workdir)
    model = _with_chosen_tau(model, sources['train'], workdir)
  _train_stages(model, model.cfg.stages, sources, held_out, workdir)
  return model, sources


def _train_stages(model, stages, sources, held_out, workdir):
  """Those that are not done yet; of the others, what they hand on is read."""
  stages = [stage for stage in stages if stage not in model.weights]
  left = [stage for stage in stages if not workdirs.is_done(model.cfg, workdir, stage)]
  with programs.ahead(model.cfg, left, model.mesh) as program:
    for stage in stages:
      stage_run.train_stage(model, stage, program, sources['train'], held_out, workdir)


def sample(workdir: pathlib.Path, out: pathlib.Path, asked: Request, clip_format='mp4') -> None:
  """Writes clips drawn from the model in `workdir`; they replace what an earlier call wrote.

  Raises:
    ValueError: the method needs a stage that is not done, there is no such method, sampler or
      label, the given frames do not fit, or `out` holds other things than clips.
    FileNotFoundError: `workdir` holds no trained model, or `asked.condition` is not there.
  """
  clips.refuse_foreign(out)
  workdirs.use_compile_cache(workdir)
  model = trained.Trained.load(workdir, asked.method)
  _check_request(model.cfg, asked)
  cfg, drawn = model.cfg, []
  how = dict(
    steps=asked.steps or cfg.hybrid.steps,
    tau=asked.tau or cfg.hybrid.tau,
    frames=asked.frames,
    sampler=asked.sampler,
    threshold=asked.threshold,
    known=_known(asked.condition, asked.at, cfg) if asked.condition else None,
  )
  if asked.guidance is not None:
    how['guidance'] = Guidance(asked.guidance, asked.interval, asked.rescale)
  labels = np.full(cfg.evaluation.batch, asked.label)  # whole batches: one compilation
  for first in range(0, asked.num, len(labels)):
    drawn.append(model.draw(asked.method, labels, asked.seed, first=first, **how))
  clips.replace_clips(np.concatenate(drawn)[: asked.num], out, cfg.data.fps, clip_format)
  print(f'{asked.num} clips in {out}')


def _check_request(cfg, asked):
  if asked.sampler:
    samplers.find(asked.sampler)  # which a plugin may have registered
  if asked.label >= max(cfg.data.classes, 0):
    raise ValueError(f'--label={asked.label}: the model knows {cfg.data.classes} classes, from 0')
  if asked.guidance is not None and asked.label < 0:
    raise ValueError(f'--guidance={asked.guidance}: towards which class? Give --label too')
  if asked.threshold not in ('', 'none') and cfg.space.name != 'pixels':
    raise ValueError(f'--threshold={asked.threshold}: the model works on latents, which it may cut')


def _known(path, at, cfg):
  """The frames that a clip is to contain, from a file."""
  if not path.exists():
    raise FileNotFoundError(f'--condition={path}: no such file or folder')
  try:
    info = video_files.probe(path)
    at = tuple(at) or tuple(range(info.frames))
    pixels = video_files.read(path, range(len(at)), cfg.data.size, info)
  except BadClip as error:
    raise ValueError(f'--condition={path}: {error}') from error
  return Known(pixels, at)


def _check_devices(cfg):
  """The mesh, if the batches divide over it."""
  mesh = sharding.make_mesh(cfg.mesh.data, cfg.mesh.fsdp)
  if cfg.data.batch % mesh.size:
    raise ValueError(
      f'config.data.batch={cfg.data.batch}: not a multiple of the {mesh.size} devices'
    )
  return mesh


def _check_metrics(cfg):
  """Scores noise, so that weights that are missing or clips too short are told before training."""
  names = cfg.evaluation.metrics
  if names:
    count = max(config.LEAST_SCORED, *(metric_table.find(name).least for name in names))
    shape = (count, cfg.data.frames, cfg.data.size, cfg.data.size, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    score.score_clips(noise, noise[::-1], names, cfg.evaluation.weights or None)


def _with_chosen_tau(model, source, workdir):
  """The model with a number for tau: the least at which drafts pass for clips."""
  cfg = model.cfg
  some = input_pipeline.fixed(source, cfg.evaluation.clips)
  rows = laws.truncation(model, some, cfg.evaluation.taus, ('gan',))
  passed = [row for row in rows if row['p_value'] >= _TAU_LEVEL]
  chosen = (passed or rows)[0 if passed else -1]
  if processes.is_first():
    found = 'cannot be told from' if passed else 'can still be told from'
    print(
      f'config.hybrid.tau={chosen["tau"]} chosen: diffused to it, {len(some["video"])} drafts '
      f'{found} clips (p {chosen["p_value"]:.3f})'
    )
  cfg = workdirs.with_tau(cfg, chosen['tau'])
  processes.from_first(lambda: workdirs.write_config(cfg, workdir))
  return trained.Trained(cfg, model.weights, model.mesh)


def _environment():
  devices = jax.devices()
  kinds = sorted({device.device_kind for device in devices})
  return {'versions': workdirs.versions(), 'device': ', '.join(kinds), 'devices': len(devices)}


def _evaluate(model, sources, workdir, seconds):
  """The scores of all methods against held-out clips; see `results.evaluate`."""
  cfg, held_out = model.cfg, clip_sources.held_out(model.cfg, sources)
  reference = input_pipeline.fixed(sources['train'], len(held_out['video']))
  flows = []
  if hasattr(sources['test'], 'flow'):  # only the synthetic source knows the truth
    few = held_out['id'][: cfg.evaluation.flow_clips]
    flows = [sources['test'].flow(int(i)) for i in few]
  environment = _environment() | {'wall_seconds': round(seconds, 1)}
  timing = sources['test'].timing
  return results.evaluate(model, held_out, reference, flows, workdir, environment, timing)
