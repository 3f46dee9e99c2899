"""What a run runs on is said first; where there is nothing, in a line that says why."""

import importlib.util
import os
import pathlib
import platform
import subprocess
import sys

import jax
import pytest

from configs import hybrid
from hgdt_jax import machine, sharding
from hgdt_jax.space import Space

ROOT = pathlib.Path(__file__).parents[1]


def _run(module, *arguments, cwd=ROOT, **environment):
  return subprocess.run(
    [sys.executable, '-m', module, *map(str, arguments)],
    cwd=cwd,
    env=os.environ | {'PYTHONPATH': str(ROOT)} | environment,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.devices
def test_devices_versions_dtype_and_mesh_are_in_one_line():
  line = machine.line(sharding.make_mesh(-1, 2), 'bfloat16')
  assert line.startswith(f'on 8 x CPU, jax {jax.__version__}, Python 3.')
  assert line.endswith(', 1 process, bfloat16, mesh data=4 x fsdp=2')


def test_kinds_of_devices_are_counted(monkeypatch):
  device = lambda kind: type('Device', (), {'device_kind': kind})
  kinds = [device('NVIDIA H100'), device('NVIDIA A100'), device('NVIDIA H100')]
  monkeypatch.setattr(jax, 'devices', lambda: kinds)
  assert machine.line().startswith('on 2 x NVIDIA H100, 1 x NVIDIA A100, jax ')


@pytest.mark.parametrize('preset', hybrid.PRESETS)
def test_recipes_for_accelerators_warn_on_a_cpu(preset):
  given = hybrid.get_config(preset)
  warned = machine.advice(given.dtype, Space(given.data.frames, given.data.size, 3))
  assert bool(warned) == (preset in ('gpu', 'tpu', 'tpu_pod'))
  assert not warned or '16 frames of 64x64' in warned


@pytest.mark.parametrize('error', [RuntimeError('Unable to initialize backend'), AssertionError()])
def test_without_a_device_there_is_one_line(monkeypatch, error):
  def devices():
    raise error

  monkeypatch.setattr(jax, 'devices', devices)
  monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
  with pytest.raises(ValueError, match=r'^JAX_PLATFORMS=cuda: jax finds no such device .*=cpu$'):
    machine.start()


FAULTS = """
import resource, statistics, jax, jax.numpy as jnp
from hgdt_jax import machine
machine.start()
def layers(w, x):
  for _ in range(3):
    x = jnp.tanh(x @ w)
  return x.sum()
step = jax.jit(lambda w, x: (w - 1e-9 * jax.grad(layers)(w, x), layers(w, x)))
w, x, seen = jnp.ones((16, 16)), jnp.ones((2**19, 16)), []  # 32 MB a layer
for _ in range(21):
  w, loss = step(w, x)
  loss.block_until_ready()
  seen.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(int(statistics.median(after - before for before, after in zip(seen, seen[1:]))))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason="of glibc's malloc")
@pytest.mark.parametrize(
  'environment, is_kept',
  [({'JAX_PLATFORMS': 'cpu'}, True), ({}, True), ({'MALLOC_TRIM_THRESHOLD_': '131072'}, False)],
)
def test_a_cpu_does_not_ask_for_memory_anew_at_each_step(environment, is_kept):
  """At some it does: a block that was freed is split by what is allocated in between."""
  if not environment and importlib.util.find_spec('libtpu'):
    pytest.skip('libtpu is installed: that there are only CPUs is not known')
  given = {name: value for name, value in os.environ.items() if name != 'JAX_PLATFORMS'}
  done = subprocess.run(
    [sys.executable, '-c', FAULTS],
    cwd=ROOT,
    env=given | environment,
    capture_output=True,
    text=True,
    check=True,
  )
  assert (int(done.stdout) < 1000) == is_kept, done.stdout


def test_verbs_say_it_first_and_the_current_folder_may_have_packages_of_our_names(
  finished, tmp_path
):
  """Other people's projects have a folder configs, too."""
  (tmp_path / 'configs').mkdir()
  for name in ('configs/__init__.py', 'input_pipeline.py'):
    (tmp_path / name).write_text('raise SystemExit("the wrong one")')
  clips = finished / 'samples' / 'real' / 'clips'
  for done in (
    _run('hgdt_jax.main', f'--workdir={finished}', '--config.data.frames=4', cwd=tmp_path),
    _run('hgdt_jax.sample', f'--workdir={finished}', '--out=out', '--num=1', cwd=tmp_path),
    _run(
      'hgdt_jax.evaluate', f'--real={clips}', f'--fake={clips}', '--frames=4',
      '--metrics=motion_ratio', cwd=tmp_path,
    ),
  ):  # fmt: skip
    assert done.stdout.startswith(f'on 1 x CPU, jax {jax.__version__}'), done.stderr


def test_a_wrong_platform_is_told_by_every_verb(tmp_path):
  for arguments in (
    ('hgdt_jax.main', f'--workdir={tmp_path}/run'),
    ('hgdt_jax.sample', f'--workdir={tmp_path}/run', f'--out={tmp_path}/out'),
    ('hgdt_jax.evaluate', f'--real={tmp_path}', f'--fake={tmp_path}'),
  ):
    done = _run(*arguments, JAX_PLATFORMS='bogus')
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert 'JAX_PLATFORMS=bogus: jax finds no such device' in line and 'JAX_PLATFORMS=cpu' in line
  assert not list(tmp_path.iterdir())
