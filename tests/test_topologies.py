"""The compiler of TPUs, without a TPU; skipped where libtpu is not installed."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from hgdt_jax import topologies

ROOT = pathlib.Path(__file__).parents[1]
NEEDED = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None, reason='no libtpu: pip install hgdt_jax[tpu]'
)


def test_without_the_compiler_it_is_told_how_to_get_it(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ImportError, match=r'pip install .hgdt_jax\[tpu\]'):
    topologies.devices('v5e:2x4')


@pytest.mark.parametrize(
  'name', ['', 'v5e', 'v5e:8', 'v5e:2x', 'v5e:0x2', 'v5e:2x2x2', 'v4:2x2', 'v99:2x2', 'v5e:2X4']
)
def test_what_is_no_slice_is_told_by_its_form(name):
  with pytest.raises(ValueError, match='want KIND:AxB of v5e, v6e, or KIND:AxBxC of v4, v5p'):
    topologies.devices(name)


@NEEDED
def test_a_slice_that_does_not_exist_is_told_in_one_line():
  with pytest.raises(
    ValueError, match=r"^topology 'v5e:3x5': the compiler knows none such"
  ) as error:
    topologies.devices('v5e:3x5')
  assert '\n' not in str(error.value)


@NEEDED
@pytest.mark.parametrize(
  ('name', 'count', 'kind'),
  [
    ('v5e:1x1', 1, 'TPU v5 lite'),
    ('v5e:2x4', 8, 'TPU v5 lite'),
    ('v5e:16x16', 256, 'TPU v5 lite'),
    ('v6e:1x1', 1, 'TPU v6 lite'),
    ('v5p:2x2x1', 4, 'TPU v5'),
    ('v4:2x2x2', 8, 'TPU v4'),
  ],
)
def test_a_slice_has_its_chips(name, count, kind):
  found = topologies.devices(name)
  assert len(found) == count
  assert {device.device_kind for device in found} == {kind}


def _compile(*arguments):
  """The verb, in a process of its own: libtpu stays out of this one."""
  return subprocess.run(
    [sys.executable, '-m', 'hgdt_jax', 'compile', *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    env=os.environ | {'JAX_COMPILATION_CACHE_DIR': ''},
  )


@pytest.mark.parametrize(
  ('arguments', 'says'),
  [
    (('--topology=v5e:8',), "compile: topology 'v5e:8': want KIND:AxB of v5e, v6e"),
    (('--config.data.batch=0',), 'compile: config.data.batch=0: must be at least 1'),
  ],
)
def test_what_is_wrong_is_one_line(arguments, says):
  done = _compile(*arguments)
  assert done.returncode == 1 and done.stderr.startswith(says) and done.stderr.count('\n') == 1


@NEEDED
def test_a_batch_that_does_not_divide_is_told_before_anything_is_compiled():
  done = _compile('--topology=v5e:2x4', '--config.data.batch=12')
  assert done.returncode == 1 and not done.stdout
  assert done.stderr.endswith('config.data.batch=12: not a multiple of the 8 devices\n')


@NEEDED
@pytest.mark.long
def test_a_narrow_step_is_compiled_for_a_slice():
  """Of two by two, which share its batch: what they exchange are its gradients."""
  done = _compile(
    *('--topology=v5e:2x2', '--config=configs/hybrid.py:small', '--stages=diffusion'),
    *('--config.data.frames=4', '--config.data.size=16', '--config.denoiser.patch=4'),
    *('--config.denoiser.width=8', '--config.denoiser.multipliers=(1,)'),
    *('--config.draft.generator.patch=4', '--config.bridge.patch=2'),
    *('--config.draft.critic.frame_patch=2', '--config.draft.critic.clip_patch=2'),
  )
  assert done.returncode == 0, done.stderr
  said, _, _, _, row, _, verdict = done.stdout.splitlines()
  assert said == 'v5e:2x2, 4 x TPU v5 lite: 4 clips of 4x16x16 a step, float32'
  cells = row.strip('| ').split(' | ')
  assert cells[0] == 'diffusion' and ' all-reduce ' in cells[-2] and float(cells[4]) < 1
  assert verdict == 'diffusion: fits v5e:2x2, 4 x TPU v5 lite'
