"""One stage from what is before it to what it hands on."""

import functools

import jax

import input_pipeline
from hgdt_jax import guards, handed_on, programs, results, rng, train, warm_start, writer
from hgdt_jax import workdir as workdirs
from hgdt_jax.checkpoint import Checkpoints
from hgdt_jax.stages import networks


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
      attempt = train.go_on_from(about, batches, watch)
    else:
      state = _first_state(model, stage, like)
    if int(state.step) < section.steps:

      def check(state):
        model.weights[stage] = handed_on.of_state(state)
        return results.on_the_way(model, stage, held_out)

      writers = writer.make_writers(workdir)
      try:
        job = train.Job(
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
        state = train.fit(job, state, attempt)
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
    compiler_options=programs.optimised(0),  # it runs once
  )
  return begin(rng.stream(jax.random.key(cfg.seed), f'{stage}/init'), taken)


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
