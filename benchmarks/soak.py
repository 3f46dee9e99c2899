"""Kills a run at random moments, starts it again, and looks whether it ends as if nothing had been.

python benchmarks/soak.py --kills=30

One tiny run of every stage is left alone. Another, of the same configuration, is sent SIGKILL,
SIGTERM and Ctrl-C: after a random time, while a checkpoint is being written, within each stage,
and while it is scored. In the end the states of all stages, the rows of metrics.jsonl and the
scores are to be equal to the last bit, and nothing temporary may be left. Prints a line a kill.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from hgdt_jax import checkpoint, writer  # noqa: E402

STAGES = ('gan', 'diffusion', 'aligner', 'joint', 'fewstep')
TINY = {
  'data': dict(frames=4, size=16, batch=4, clips=64),
  'draft.generator': dict(patch=4, width=8, max_width=8)
  | dict(latent_size=8, content_size=4, motion_size=4),
  'draft.critic': dict(width=8, max_width=8, frame_patch=4, clip_patch=4),
  'denoiser': dict(patch=4, width=8, multipliers=(1,), time_attention=8),
  'bridge': dict(width=8, max_width=8),
  'checkpoint': dict(every=7, keep=2),
  'evaluation': dict(clips=8, batch=8, flow_clips=2, taus=(0.5,), evaluations=(2,), checks=2),
  'diffusion': dict(warmup=1),
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_PATIENCE = 600  # seconds without an end, after which a run counts as stuck


def command(workdir: pathlib.Path, stages=STAGES, steps: int = 30) -> list[str]:
  """The main job, tiny."""
  values = {name: dict(fields) for name, fields in TINY.items()}
  for stage in stages:
    values.setdefault(stage, {})['steps'] = steps
  flags = [
    f'--config.{a}.{b}={value}' for a, fields in values.items() for b, value in fields.items()
  ]
  return [
    *(
      sys.executable,
      '-m',
      'hgdt_jax.main',
      f'--workdir={workdir}',
      f'--config.stages={tuple(stages)}',
    ),
    *('--config.log_every=3', *flags),
  ]


def soak(directory: pathlib.Path, kills: int, seed: int, stages: Sequence[str], steps: int) -> None:
  """Raises AssertionError where a killed run differs from the one left alone."""
  draw, began = random.Random(seed), time.monotonic()
  start = lambda workdir: _start(command(workdir, stages, steps), directory)
  moments = ('any time', 'a save', *stages, 'scoring')
  whole = directory / 'whole'
  _run(*start(whole))
  print(f'left alone: {time.monotonic() - began:.0f} s')
  runs, codes = [directory / 'killed-0'], collections.Counter()
  for number in range(kills):
    if (runs[-1] / 'report' / 'index.html').exists():  # it got to its end between two kills
      runs.append(directory / f'killed-{number}')
    which, moment = SIGNALS[number % len(SIGNALS)], moments[number % len(moments)]
    code, when = _kill(*start(runs[-1]), runs[-1], which, moment, draw)
    codes[code] += 1
    print(f'{number + 1:3d} {which.name} at {moment} ({when:.1f} s): exit code {code}', flush=True)
  for run in runs:
    _run(*start(run))
    _compare(whole, run, stages)
  spent = time.monotonic() - began
  print(f'{kills} kills in {len(runs)} runs, exit codes {dict(codes)}, {spent:.0f} s')
  print(f'states {_hash(whole, stages)[:16]}, rows and scores equal; nothing temporary left')


def _start(arguments, directory):
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
  environment.setdefault('JAX_COMPILATION_CACHE_DIR', str(directory / 'cache'))
  environment.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  log = (directory / 'log').open('w+')
  return subprocess.Popen(arguments, env=environment, stdout=log, stderr=log), log


def _said(log):
  log.seek(0)
  return log.read()


def _run(process, log):
  code = process.wait()
  assert code == 0, _said(log)


def _kill(process, log, workdir, which, moment, draw):
  """Sends the signal at the moment; returns the exit code, as a shell has it, and the second."""
  began = time.monotonic()
  delay = draw.uniform(0.5, 20) if moment == 'any time' else draw.uniform(0, 5)
  waited_for = None
  while process.poll() is None and time.monotonic() - began < _PATIENCE:
    now = time.monotonic()
    if waited_for is None and _is_at(moment, workdir):
      waited_for = now
    if waited_for is not None and (moment == 'a save' or now - waited_for >= delay):
      process.send_signal(which)
      break
    time.sleep(0.002)
  when = time.monotonic() - began
  code = process.wait(_PATIENCE)
  code = 128 - code if code < 0 else code
  said = _said(log)
  lines = said.strip().splitlines() or ['']
  assert 'Traceback' not in said, said
  # One that was done before the signal came ends with 0; one that had not begun, by the signal.
  assert code in (0, 128 + which), said
  # Nor has one anything to resume that had written its report and was about to leave.
  finished = lines[-1].startswith('report: ')
  if code and which != signal.SIGKILL and when > 1 and not finished:
    assert 'resume with the same command' in lines[-1], said
  return code, when


def _is_at(moment, workdir):
  if moment == 'any time':
    return True
  if moment == 'a save':
    return any(workdir.glob('checkpoints/*/.part-*'))
  if moment == 'scoring':
    return (workdir / 'samples').exists()
  return (workdir / 'checkpoints' / moment).is_dir()


def _compare(whole, killed, stages):
  assert _hash(whole, stages) == _hash(killed, stages), f'{killed}: other states'
  for rows in zip(_rows(whole), _rows(killed), strict=True):
    assert rows[0] == rows[1], rows
  assert _scores(whole) == _scores(killed), f'{killed}: other scores'
  left = [
    path
    for path in killed.rglob('*')
    if path.name.startswith(('.part', '.old')) or path.name.endswith(('.part', '.old'))
  ]
  assert not left, left


def _hash(workdir, stages):
  """Of every array of the last checkpoint of every stage."""
  digest = hashlib.sha256()
  with ocp.PyTreeCheckpointer() as orbax:
    for stage in stages:
      step = checkpoint.steps(workdir, stage)[-1]
      state = orbax.restore(checkpoint.folder(workdir, stage) / str(step) / 'state')
      for path, leaf in jax.tree.flatten_with_path(state)[0]:
        digest.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
  return digest.hexdigest()


def _rows(workdir):
  for row in writer.read_rows(workdir):
    yield {name: value for name, value in row.items() if name != 'examples_per_second'}


def _scores(workdir):
  results = json.loads((workdir / 'results.json').read_text())
  return [
    {name: row[name] for name in ('method', 'network_evaluations', 'metrics')}
    for row in results['results']
  ]


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--kills', type=int, default=30)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--stages', nargs='+', default=STAGES)
  parser.add_argument('--steps', type=int, default=30, help='of each stage')
  parser.add_argument('--out', type=pathlib.Path, help='kept; by default a temporary folder')
  given = parser.parse_args()
  with tempfile.TemporaryDirectory() as temporary:
    directory = given.out or pathlib.Path(temporary)
    soak(directory, given.kills, given.seed, given.stages, given.steps)
