"""The claim of HGDT-SM put to the test: each part on and off, against baselines of equal cost.

python benchmarks/claim.py --out=runs/claim --sets=bench,weizmann --seeds=0,1,2

Resumable: what is done is not done again. `claim_plan.py` says what is trained and drawn,
`claim_tables.py` writes docs/claim.md. Jobs run side by side (--jobs), each in a process of its
own; what is timed is timed by one process at a time, when nothing trains.
"""

import concurrent.futures
import contextlib
import fcntl
import functools
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import claim_plan as plan
from absl import flags

from hgdt_jax import cli

_OUT = flags.DEFINE_string('out', 'runs/claim', 'Everything is written here; resumed from.')
_SETS = flags.DEFINE_list('sets', ['bench'], f'Of {", ".join(plan.SETS)}.')
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Of data, weights and samples.')
_OTHERS = flags.DEFINE_list('others', [], 'Seeds of runs beside the main ones; all if empty.')
_RUNS = flags.DEFINE_list('runs', [], 'Of claim_plan.RUNS; those the tables need if empty.')
_DATA = flags.DEFINE_string('weizmann', '', 'Folder of the real set.')
_WEIGHTS = flags.DEFINE_string('weights', '', "Folder of I3D's weights; the package's if empty.")
_JOBS = flags.DEFINE_integer('jobs', 1, 'At most so many processes at once.', lower_bound=1)
_SCALE = flags.DEFINE_float('scale', 1.0, 'Of steps and clips: less for a trial of the script.')
_JOB = flags.DEFINE_string('job', '', 'One job, as the script calls itself.')
_UNTIL = flags.DEFINE_enum('until', 'tables', ['cost', 'train', 'score', 'time', 'tables'], 'Stop.')


def main():
  out = pathlib.Path(_OUT.value)
  out.mkdir(parents=True, exist_ok=True)
  if _JOB.value:
    from hgdt_jax import machine

    machine.start()
    kind, *what = _JOB.value.split('/')
    return JOBS[kind](out, *what)
  graph = jobs(_SETS.value, _SEEDS.value, _OTHERS.value, plan.closure(_RUNS.value or plan.RUNS))
  order = ('cost', 'train', 'score', 'time', 'tables')
  last = order.index(_UNTIL.value)
  graph = {job: needs for job, needs in graph.items() if order.index(job.split('/')[0]) <= last}
  failed = schedule(graph, out)
  if failed:
    sys.exit(f'{len(failed)} jobs failed: {", ".join(failed)}; see {out}/logs')
  if _UNTIL.value == 'tables':
    import claim_stats
    import claim_tables

    for name in _SETS.value:
      claim_stats.stats(out, name, _SEEDS.value)
    claim_tables.write(out, _SETS.value, _SEEDS.value, _RUNS.value)
  return None


def jobs(sets, seeds, others, wanted):
  """Every job, and those it needs: what is timed comes before all training, or after it."""
  graph = {}
  for name in sets:
    timed = [run for run in wanted if run in plan.MAIN or plan.RUNS[run].fills]
    timed += [plan.RUNS[run].fills[1] for run in timed if plan.RUNS[run].fills]
    for run in timed:
      graph |= {f'cost/{name}/{plan.cost_key(name, run, s)}': [] for s in plan.RUNS[run].stages}
  costs = list(graph)
  main = plan.closure(plan.MAIN)
  # Main runs first, then a seed after the other: what one compiles, the next ones find.
  todo = [
    (f'{name}/{seed}', run) for run in main for name in sets for seed in seeds if run in wanted
  ]
  todo += [
    (f'{name}/{seed}', run)
    for seed, name in itertools.product(others or seeds, sets)
    for run in wanted
    if run not in main
  ]
  for of, run in todo:
    takes = [f'train/{of}/{other}' for other in plan.RUNS[run].takes.values()]
    graph[f'train/{of}/{run}'] = costs + takes
    for part in range(len(plan.parts(run))):
      graph[f'score/{of}/{run}/{part}'] = [f'train/{of}/{run}']
  scored = [job for job in graph if job.startswith('score')]
  for name in sets:
    for run in set(plan.MAIN) & set(wanted):
      graph[f'time/{name}/{seeds[0]}/{run}'] = scored
  return graph


def schedule(graph, out):
  """Runs jobs as soon as what they need is done; returns those that failed or could not run."""
  done = {job for job in graph if _mark(out, job).exists()}
  running, failed, lock = set(), set(), threading.Condition()

  def one(job):
    log = out / 'logs' / f'{job.replace("/", "_")}.log'
    log.parent.mkdir(exist_ok=True)
    began = time.monotonic()
    with log.open('w') as file:
      code = subprocess.run(
        [sys.executable, *sys.argv, f'--job={job}'],
        stdout=file,
        stderr=subprocess.STDOUT,
        check=False,
      ).returncode
    with lock:
      running.discard(job)
      (failed if code else done).add(job)
      if not code:
        _mark(out, job).parent.mkdir(parents=True, exist_ok=True)
        _mark(out, job).touch()
      print(f'{"failed" if code else "done"} {job} {time.monotonic() - began:.0f} s', flush=True)
      lock.notify()

  with concurrent.futures.ThreadPoolExecutor(_JOBS.value) as pool, lock:
    while True:
      ready = [
        job
        for job, needs in graph.items()
        if job not in done | running | failed and set(needs) <= done
      ]
      for job in ready[: _JOBS.value - len(running)]:
        running.add(job)
        pool.submit(one, job)
      if not running:
        return sorted(graph.keys() - done)
      lock.wait()


def _mark(out, job):
  return out / 'done' / job


@contextlib.contextmanager
def alone(out):
  """Nothing else is timed meanwhile."""
  with (out / 'clock').open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def cost(out, name, key):
  """Seconds a step of a stage, compiled."""
  import jax
  import jax.numpy as jnp

  from hgdt_jax import handed_on, programs, sharding
  from hgdt_jax.stages import STAGES

  run, stage = plan.of_cost_key(name, key)
  cfg = plan.build(plan.config(name, run, 0, {}, _SCALE.value, _DATA.value))
  mesh, root = sharding.make_mesh(-1, 1), jax.random.key(0)
  like = handed_on.abstract_state(cfg, stage, mesh)
  batch = jax.tree.map(
    lambda leaf: jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding),
    programs.abstract_batch(cfg, mesh),
  )
  began = time.monotonic()
  step = programs.compiled(cfg, stage, mesh)
  compiled = time.monotonic() - began
  begin = functools.partial(STAGES[stage].init, cfg)
  shardings = jax.tree.map(lambda leaf: leaf.sharding, like)
  state = jax.jit(begin, out_shardings=shardings)(root)
  for _ in range(3):
    state, _ = step(state, batch, root)
  jax.block_until_ready(state)
  with alone(out):
    began, count = time.monotonic(), 0
    while time.monotonic() - began < 1.0 or count < 3:
      state, metrics = step(state, batch, root)
      count += 1
      if count % 10 == 0:
        jax.block_until_ready(metrics)
    jax.block_until_ready(state)
    seconds = (time.monotonic() - began) / count
  path = out / 'cost' / name
  path.mkdir(parents=True, exist_ok=True)
  content = {'seconds': seconds, 'compile': compiled, 'device': jax.devices()[0].device_kind}
  (path / f'{key}.json').write_text(json.dumps(content))
  print(key, content)


def costs(out, name):
  """Seconds a step of a set, by key."""
  found = {}
  for path in (out / 'cost' / name).glob('*.json'):
    found[path.stem] = json.loads(path.read_text())['seconds']
  return found


def train(out, name, seed, run):
  """All stages of a run; those it shares with another are copied."""
  from hgdt_jax import run as runs

  workdir = out / name / f'seed{seed}' / run
  workdir.mkdir(parents=True, exist_ok=True)
  steps = plan.steps(name, run, costs(out, name), _SCALE.value)
  given = plan.config(name, run, int(seed), steps, _SCALE.value, _DATA.value)
  for stage, other in plan.RUNS[run].takes.items():
    source = workdir.parent / other / 'checkpoints' / stage
    if not (workdir / 'checkpoints' / stage).exists():
      part = workdir / f'.{stage}.part'
      shutil.rmtree(part, ignore_errors=True)
      shutil.copytree(source, part, copy_function=os.link)
      (workdir / 'checkpoints').mkdir(exist_ok=True)
      part.rename(workdir / 'checkpoints' / stage)
  runs.train_stages(given, workdir)


def score(out, name, seed, run, part):
  """Clips, features and measures of a part of a run's cells."""
  import claim_score

  workdir = out / name / f'seed{seed}' / run
  claim_score.score(workdir, name, _WEIGHTS.value or None, int(part))


def clock(out, name, seed, run):
  """Seconds a clip of the cells of the main table of a run, when nothing else runs."""
  import claim_score

  with alone(out):
    claim_score.clock(out / name / f'seed{seed}' / run, name)


JOBS = {'cost': cost, 'train': train, 'score': score, 'time': clock}

if __name__ == '__main__':
  sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
  cli.run(main)
