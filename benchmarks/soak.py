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

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from hgdt_jax import writer  # noqa: E402

STAGES = ('gan', 'diffusion', 'aligner', 'joint', 'fewstep')
STEPS = 30  # of each stage
TINY = {
  'data': dict(frames=4, size=16, batch=4, clips=64),
  'generator': dict(patch=4, width=8, max_width=8, latent_size=8, content_size=4, motion_size=4),
  'critic': dict(width=8, max_width=8, frame_patch=4, clip_patch=4),
  'denoiser': dict(patch=4, width=8, multipliers=(1,), time_attention=8),
  'bridge': dict(width=8, max_width=8),
  'checkpoint': dict(every=7, keep=2),
  'evaluation': dict(clips=8, batch=8, flow_clips=2, taus=(0.5,), evaluations=(2,), checks=2),
  'diffusion': dict(warmup=1),
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOMENTS = ('any time', 'a save', *STAGES, 'scoring')
_PATIENCE = 600  # seconds without an end, after which a run counts as stuck


def command(workdir: pathlib.Path) -> list[str]:
  values = {name: dict(fields) for name, fields in TINY.items()}
  for stage in STAGES:
    values.setdefault(stage, {})['steps'] = STEPS
  flags = [
    f'--config.{a}.{b}={value}' for a, fields in values.items() for b, value in fields.items()
  ]
  return [
    *(sys.executable, '-m', 'hgdt_jax.main', f'--workdir={workdir}', f'--config.stages={STAGES}'),
    *('--config.log_every=3', *flags),
  ]


def soak(directory: pathlib.Path, kills: int, seed: int) -> None:
  """Raises AssertionError where a killed run differs from the one left alone."""
  draw, began = random.Random(seed), time.monotonic()
  whole = directory / 'whole'
  _run(whole, directory)
  print(f'left alone: {time.monotonic() - began:.0f} s')
  runs, codes = [directory / 'killed-0'], collections.Counter()
  for number in range(kills):
    if (runs[-1] / 'report' / 'index.html').exists():  # it got to its end between two kills
      runs.append(directory / f'killed-{number}')
    which, moment = SIGNALS[number % len(SIGNALS)], MOMENTS[number % len(MOMENTS)]
    code, when = _kill(runs[-1], directory, which, moment, draw)
    codes[code] += 1
    print(f'{number + 1:3d} {which.name} at {moment} ({when:.1f} s): exit code {code}', flush=True)
  for run in runs:
    _run(run, directory)
    _compare(whole, run)
  spent = time.monotonic() - began
  print(f'{kills} kills in {len(runs)} runs, exit codes {dict(codes)}, {spent:.0f} s')
  print(f'states {_hash(whole)[:16]}, rows and scores equal; nothing temporary left')


def _start(workdir, directory):
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
  environment.setdefault('JAX_COMPILATION_CACHE_DIR', str(directory / 'cache'))
  environment.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  log = (directory / 'log').open('w+')
  return subprocess.Popen(command(workdir), env=environment, stdout=log, stderr=log), log


def _said(log):
  log.seek(0)
  return log.read()


def _run(workdir, directory):
  process, log = _start(workdir, directory)
  code = process.wait()
  assert code == 0, _said(log)


def _kill(workdir, directory, which, moment, draw):
  """Sends the signal at the moment; returns the exit code, as a shell has it, and the second."""
  process, log = _start(workdir, directory)
  began = time.monotonic()
  delay = draw.uniform(0.5, 20) if moment == 'any time' else draw.uniform(0, 5)
  waited_for = None
  while process.poll() is None and time.monotonic() - began < _PATIENCE:
    now = time.monotonic()
    if waited_for is None and _is_at(moment, workdir, log):
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
  if code and which != signal.SIGKILL and when > 1:
    assert 'resume with the same command' in lines[-1], said
  return code, when


def _is_at(moment, workdir, log):
  if moment == 'any time':
    return True
  if moment == 'a save':
    return any(workdir.glob('checkpoints/*/.part-*'))
  if moment == 'scoring':
    return (workdir / 'samples').exists()
  return (workdir / 'checkpoints' / moment).is_dir()


def _compare(whole, killed):
  assert _hash(whole) == _hash(killed), f'{killed}: other states'
  for rows in zip(_rows(whole), _rows(killed), strict=True):
    assert rows[0] == rows[1], rows
  assert _scores(whole) == _scores(killed), f'{killed}: other scores'
  left = [
    path
    for path in killed.rglob('*')
    if path.name.startswith(('.part', '.old')) or path.name.endswith(('.part', '.old'))
  ]
  assert not left, left


def _hash(workdir):
  """Of every array of the last checkpoint of every stage."""
  digest = hashlib.sha256()
  with ocp.PyTreeCheckpointer() as orbax:
    for stage in STAGES:
      state = orbax.restore((workdir / 'checkpoints' / stage / str(STEPS) / 'state').resolve())
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
  parser.add_argument('--out', type=pathlib.Path, help='kept; by default a temporary folder')
  given = parser.parse_args()
  with tempfile.TemporaryDirectory() as temporary:
    soak(given.out or pathlib.Path(temporary), given.kills, given.seed)
