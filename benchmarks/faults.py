"""What a run does about each fault: exit code, last line, what was kept. Needs root, for mounts.

python benchmarks/faults.py [--only=WORD]
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import soak

RUN = {
  'stages': ('gan', 'diffusion', 'aligner', 'joint'),
  'log_every': 5,
  'gan.steps': 12,
  'diffusion.steps': 12,
  'aligner.steps': 12,
  'joint.steps': 12,
  'checkpoint.every': 4,
  'checkpoint.keep': 3,
}
INJECTED = 'import runpy, sys; {patch}; runpy.run_module("hgdt_jax.{verb}", run_name="__main__")'
OUT_OF_MEMORY = """
import orbax.checkpoint as ocp
def fail(*_, **__): raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 4 GiB')
ocp.Checkpointer.restore = fail
"""
NAN = """
import jax.numpy as jnp
from hgdt_jax.stages import gan
make = gan.make_step
def make_step(cfg):
  step = make(cfg)
  def ill(state, batch, root):
    state, metrics = step(state, batch, root)
    return state, {name: jnp.where(state.step >= 7, jnp.nan, v) for name, v in metrics.items()}
  return ill
gan.make_step = make_step
"""
SLOW = """
import time
from input_pipeline import Batches
read = Batches.__next__
def slow(self):
  time.sleep(1)
  return read(self)
Batches.__next__ = slow
"""


def main(directory: pathlib.Path, only: str) -> None:
  base = directory / 'base'
  done = _main(base)
  assert done.returncode == 0, done.stderr
  for name, fault in FAULTS.items():
    if only in name:
      workdir = directory / 'run'
      shutil.rmtree(workdir, ignore_errors=True)
      fault(name, base, workdir)


def _truncated(name, base, workdir):
  _damaged(name, base, workdir, lambda path: _largest(path).write_bytes(b'x' * 100))


def _flipped(name, base, workdir):
  def flip(path):
    content = bytearray(_largest(path).read_bytes())
    content[len(content) // 2] ^= 1
    _largest(path).write_bytes(content)

  _damaged(name, base, workdir, flip)


def _no_manifest(name, base, workdir):
  _damaged(name, base, workdir, lambda path: (path / 'manifest.json').unlink())


def _no_item(name, base, workdir):
  _damaged(name, base, workdir, lambda path: shutil.rmtree(path / 'state'))


def _all_damaged(name, base, workdir):
  shutil.copytree(base, workdir)
  for path in (workdir / 'checkpoints' / 'gan').iterdir():
    (path / 'manifest.json').unlink()
  _say(name, _main(workdir), workdir, 'gan')


def _full_disk(name, base, workdir):
  del base
  with _mounted(workdir, '-t', 'tmpfs', '-o', 'size=3m', 'tmpfs'):
    _say(name, _main(workdir), workdir, 'gan')


def _read_only(name, base, workdir):
  shutil.copytree(base, workdir.parent / 'source')
  with _mounted(workdir, '--bind', str(workdir.parent / 'source')):
    subprocess.run(['mount', '-o', 'remount,ro,bind', str(workdir)], check=True)
    _say(f'{name}, main', _main(workdir), workdir, 'gan')
    _say(f'{name}, sample', _sample(workdir), workdir, 'gan')
  shutil.rmtree(workdir.parent / 'source')


def _two_at_once(name, base, workdir):
  del base
  first = _started(workdir, SLOW)
  _wait_for(lambda: (workdir / 'checkpoints' / 'gan').is_dir())
  _say(name, _main(workdir), workdir, 'gan')
  first.send_signal(signal.SIGKILL)
  first.wait()
  _say(f'{name}: the first was killed', _main(workdir), workdir, 'gan')


def _out_of_memory(name, base, workdir):
  shutil.copytree(base, workdir)
  _say(f'{name}, main', _main(workdir, OUT_OF_MEMORY), workdir, 'gan')
  _say(f'{name}, sample', _sample(workdir, OUT_OF_MEMORY), workdir, 'gan')


def _nan(name, base, workdir):
  del base
  _say(name, _main(workdir, NAN), workdir, 'gan')


def _worker(name, base, workdir):
  del base
  process = _started(workdir, SLOW, 'data.workers=2', 'gan.steps=60')  # more than was read ahead
  _wait_for(lambda: (workdir / 'checkpoints' / 'gan' / '4').is_dir())
  workers = _loaders(process.pid)
  os.kill(workers[0], signal.SIGKILL)
  output = process.communicate(timeout=300)
  done = subprocess.CompletedProcess(process.args, process.returncode, *output)
  _say(f'{name} ({len(workers)} processes)', done, workdir, 'gan')


def _changed(name, base, workdir):
  shutil.copytree(base, workdir)
  _say(name, _main(workdir, '', 'draft.generator.width=16'), workdir, 'gan')
  _say(f'{name}: more steps of gan', _main(workdir, '', 'gan.steps=13'), workdir, 'gan')


def _older(name, base, workdir):
  shutil.copytree(base, workdir)
  content = json.loads((workdir / 'config.json').read_text())
  del content['config']['draft']['image_weight']
  (workdir / 'config.json').write_text(json.dumps(content))
  _say(f'{name}, a field missing, sample', _sample(workdir), workdir, 'gan')
  _say(f'{name}, a field missing, main', _main(workdir), workdir, 'gan')
  del content['format'], content['versions']['hgdt_jax']
  (workdir / 'config.json').write_text(json.dumps(content))
  _say(f'{name}, format 1, sample', _sample(workdir), workdir, 'gan')
  _say(f'{name}, format 1, main', _main(workdir), workdir, 'gan')


def _sample_meanwhile(name, base, workdir):
  del base
  process = _started(workdir, SLOW)
  for stage in RUN['stages']:
    _wait_for(lambda stage=stage: (workdir / 'checkpoints' / stage).is_dir())
    for method in ('gan', 'diffusion', 'hybrid'):
      _say(f'{name} {stage}, {method}', _sample(workdir, '', method), workdir, stage)
  process.kill()
  process.wait()


FAULTS = {
  'array file truncated': _truncated,
  'bit of an array file flipped': _flipped,
  'manifest missing': _no_manifest,
  'item removed': _no_item,
  'every checkpoint damaged': _all_damaged,
  'disk full': _full_disk,
  'workdir read-only': _read_only,
  'two runs at once': _two_at_once,
  'out of memory while restoring': _out_of_memory,
  'NaN between two rows': _nan,
  'loader worker killed': _worker,
  'config field changed': _changed,
  'config.json of an older version': _older,
  'sample during stage': _sample_meanwhile,
}


def _damaged(name, base, workdir, damage):
  shutil.copytree(base, workdir)
  damage(workdir / 'checkpoints' / 'gan' / '12')
  _say(name, _main(workdir), workdir, 'gan')


def _largest(path):
  return max((f for f in path.rglob('d/*') if f.is_file()), key=lambda f: f.stat().st_size)


def _say(name, done, workdir, stage):
  folder = workdir / 'checkpoints' / stage
  kept = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
  lines = [line for line in (done.stderr + done.stdout).strip().splitlines() if line]
  told = [line for line in lines if 'step ' not in line or 'stage' in line]
  lines = done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ['']
  warned = [line for line in told if 'damaged' in line or 'not done' in line]
  said = ' | '.join([*warned, lines[-1]] if done.returncode == 0 else [lines[-1]])
  trace = ', TRACEBACK' if 'Traceback' in done.stderr else ''
  print(
    f'{name}: exit {done.returncode}{trace}; {said}; kept {stage}: {" ".join(kept)}', flush=True
  )


def _environment(workdir):
  environment = os.environ | {'PYTHONPATH': str(soak.ROOT)}
  environment.setdefault('JAX_COMPILATION_CACHE_DIR', str(workdir.parent / 'cache'))
  return environment | {'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}


def _command(verb, patch, flags):
  how = ['-c', INJECTED.format(patch=f'exec({patch!r})', verb=verb)]
  return [sys.executable, *(how if patch else ['-m', f'hgdt_jax.{verb}']), *flags]


def _flags(workdir, more):
  values = {f'{a}.{b}': v for a, fields in soak.TINY.items() for b, v in fields.items()} | RUN
  return [
    f'--workdir={workdir}',
    *(f'--config.{name}={value}' for name, value in values.items()),
    *(f'--config.{each}' for each in more),
  ]


def _main(workdir, patch='', *more):
  command = _command('main', patch, _flags(workdir, more))
  return subprocess.run(command, env=_environment(workdir), capture_output=True, text=True)


def _started(workdir, patch, *more):
  command = _command('main', patch, _flags(workdir, more))
  pipe = subprocess.PIPE
  return subprocess.Popen(command, env=_environment(workdir), stdout=pipe, stderr=pipe, text=True)


def _sample(workdir, patch='', method='hybrid'):
  flags = [f'--workdir={workdir}', f'--out={workdir.parent}/clips', '--num=2']
  command = _command('sample', patch, [*flags, f'--method={method}'])
  return subprocess.run(command, env=_environment(workdir), capture_output=True, text=True)


@contextlib.contextmanager
def _mounted(path, *arguments):
  path.mkdir()
  subprocess.run(['mount', *arguments, str(path)], check=True)
  try:
    yield
  finally:
    subprocess.run(['umount', str(path)], check=True)
    path.rmdir()


def _wait_for(there, seconds=600):
  until = time.monotonic() + seconds
  while not there():
    assert time.monotonic() < until
    time.sleep(0.05)


def _loaders(pid):
  """The loader's processes of a run; another child only tracks what they share."""
  found = subprocess.run(['pgrep', '-a', '-P', str(pid)], capture_output=True, text=True)
  return [int(line.split()[0]) for line in found.stdout.splitlines() if 'spawn_main' in line]


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--only', default='', help='faults whose name has this in it')
  with tempfile.TemporaryDirectory() as temporary:
    main(pathlib.Path(temporary), parser.parse_args().only)
