"""The composition root: configuration -> mesh, data, stages, loop, samples, scores, report."""

import contextlib
import functools
import logging
import pathlib
import time
from collections.abc import Mapping

import jax
import numpy as np
from clu import parameter_overview
from ml_collections import ConfigDict

import input_pipeline
from hgdt_jax import (
  clip_sources,
  effort,
  guards,
  handed_on,
  laws,
  lock,
  loop,
  machine,
  processes,
  programs,
  report,
  results,
  rng,
  settings,
  sharding,
  trained,
  warm_start,
  writer,
)
from hgdt_jax import workdir as workdirs
from hgdt_jax.checkpoint import Checkpoints
from hgdt_jax.metrics import score
from hgdt_jax.metrics import table as metric_table
from hgdt_jax.stages import STAGES, networks

_TAU_LEVEL = 0.05  # of the test that chooses tau


def main(given: Mapping | ConfigDict, workdir: pathlib.Path) -> None:
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


def train_stages(given: Mapping | ConfigDict, workdir: pathlib.Path) -> trained.Trained:
  """What `main` trains, without the scores at its end. Raises as `main`."""
  with _opened(given, workdir) as (cfg, mesh):
    return _train(cfg, mesh, workdir)[0]


@contextlib.contextmanager
def _opened(given, workdir):
  """The configuration and the devices, checked; nobody else trains in `workdir` meanwhile."""
  cfg = settings.build(settings.Config, given)
  machine.start()
  mesh = sharding.mesh_of_batch(cfg.mesh.data, cfg.mesh.fsdp, cfg.data.batch)
  if processes.is_first():
    print(machine.line(mesh, cfg.dtype), flush=True)
    if advice := machine.advice(cfg.dtype, cfg.clip):
      logging.warning(advice)
  _check_metrics(cfg)
  warm_start.find(cfg, workdir)
  with contextlib.ExitStack() as stack:
    processes.from_first(lambda: stack.enter_context(lock.held(workdir)))
    yield cfg, mesh


def _train(cfg, mesh, workdir):
  """All stages; returns the model and the sources of clips by split."""
  sources = {split: clip_sources.of(cfg, split, workdir) for split in ('train', 'test')}
  census = clip_sources.census(sources)
  if len(sources['test']) < settings.LEAST_SCORED:
    is_prepared = cfg.data.source == 'arrayrecord'
    more = 'prepare with a larger --test_share' if is_prepared else 'raise config.data.test_share'
    raise ValueError(
      f'{len(sources["test"])} clips are held out, and {settings.LEAST_SCORED} are needed to '
      f'score; {more} or add clips'
    )
  cfg = clip_sources.with_classes(cfg, sources['train'])
  cfg = clip_sources.with_timing(cfg, sources['train'])
  warm_start.check(cfg, mesh, workdir)
  processes.from_first(lambda: workdirs.open_to_train(cfg, workdir, census))
  cfg = workdirs.read_config(workdir)
  workdirs.use_compile_cache(workdir)
  clip_sources.say_rejected(sources, workdir)

  model, held_out = trained.Trained(cfg, {}, mesh), clip_sources.held_out(cfg, sources)
  if cfg.hybrid.tau == settings.AUTO:  # the programs of the other stages depend on it
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
      train_stage(model, stage, program, sources['train'], held_out, workdir)


def train_stage(model, stage, program, source, held_out, workdir) -> None:
  """One stage from its newest checkpoint to its last step; `model` gets what it hands on.

  Args:
    model: holds the stages before it.
    program: the step of a stage, as `programs.ahead` gives it.
    source: the clips to train on.
    held_out: clips that what it has come to is scored against on the way.
  """
  cfg, mesh = model.cfg, model.mesh
  root = jax.random.key(cfg.seed)
  section, lenders = getattr(cfg, stage), cfg.starts_from(stage)
  like = handed_on.abstract_state(cfg, stage, mesh)
  batches = input_pipeline.Batches(
    source,
    batch=cfg.data.batch,
    seed=cfg.seed,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    workers=cfg.data.workers,
    flip=cfg.data.flip,
    jitter=cfg.data.jitter,
  )
  watch, attempt = _watch(cfg), 0
  with Checkpoints(workdir, stage, cfg.checkpoint.keep) as checkpoints:
    if found := checkpoints.restore(like):
      state, about = found
      attempt = loop.go_on_from(about, batches, watch)
    else:
      state = _first_state(model, stage, like)
      if processes.is_first():
        print(f'{stage} trains {_sizes(state)}', flush=True)
    if int(state.step) < section.steps:

      def check(state):
        model.weights[stage] = handed_on.of_state(state)
        strip = workdirs.strip_on_the_way(workdir, stage, int(state.step))
        return results.on_the_way(model, stage, held_out, strip)

      writers = writer.make_writers(workdir)
      try:
        job = loop.Job(
          stage=stage,
          step=program(stage),
          batches=batches,
          checkpoints=checkpoints,
          started_from={name: workdirs.last_step(workdir, name) for name in lenders.values()},
          steps=section.steps,
          save_every=cfg.checkpoint.every,
          log_every=cfg.log_every,
          root=root,
          mesh=mesh,
          writers=writers,
          watch=watch,
          rollbacks=cfg.guard.rollbacks if cfg.guard.action == 'rollback' else 0,
          check=check,
          check_at=_evenly(cfg.evaluation.checks, section.steps),
        )
        state = loop.fit(job, state, attempt)
      finally:
        batches.close()
        for one in writers:
          one.close()
  model.weights[stage] = handed_on.of_state(state)


def _first_state(model, stage, like):
  """With what the stages before it hand on, and another run's where the configuration says so."""
  cfg = model.cfg
  taken = {name: model.weights[lender][name] for name, lender in cfg.starts_from(stage).items()}
  taken |= warm_start.networks(cfg, stage, model.mesh)
  begin = jax.jit(
    functools.partial(handed_on.begin, cfg, stage),
    out_shardings=jax.tree.map(lambda leaf: leaf.sharding, like),
    compiler_options=effort.options(0, jax.default_backend()),  # it runs once
  )
  return begin(rng.stream(jax.random.key(cfg.seed), f'{stage}/init'), taken)


def _sizes(state):
  """The networks that a stage trains, with their numbers of parameters."""
  trained = {name: net.params for name, net in state.nets.items() if net.opt_state}
  counts = {name: parameter_overview.count_parameters(of) for name, of in trained.items()}
  return ', '.join(f'{name} ({count:,} parameters)' for name, count in counts.items())


def _evenly(count, steps):
  """So many steps, evenly spaced, up to the last."""
  return {round(steps * (i + 1) / count) for i in range(count)}


def _watch(cfg):
  # Wasserstein's loss has no floor that would mean an effortless critic.
  judges = networks.make(cfg).gan.judges.values()
  unbounded = any(judge.objective == 'wasserstein' for judge in judges)
  d_loss = 0.0 if unbounded else cfg.guard.d_loss
  bounds = guards.Bounds(cfg.guard.motion, cfg.guard.diversity, d_loss)
  return guards.Watch(bounds, cfg.guard.patience, cfg.guard.action)


def _check_metrics(cfg):
  """Weights that are missing, and clips too short for a metric, are told before training."""
  names = cfg.evaluation.metrics
  if names:
    count = max(settings.LEAST_SCORED, *(metric_table.find(name).least for name in names))
    shape = (count, cfg.data.frames, cfg.data.size, cfg.data.size, 3)
    try:
      score.check(np.zeros(shape, np.uint8), names, cfg.evaluation.weights or None)
    except ValueError as error:
      asked = f'config.evaluation.metrics={names} of config.data.frames={cfg.data.frames}'
      raise ValueError(f'{asked}, config.data.size={cfg.data.size}: {error}') from error


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
