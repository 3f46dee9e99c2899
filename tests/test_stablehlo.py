"""A sampler taken away draws what the model draws, in a process that has jax alone."""

import functools
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export

from hgdt_jax import stablehlo
from hgdt_jax.trained import Trained

ROOT = pathlib.Path(__file__).parents[1]
SEED, LABEL, STEPS, TAU = 3, np.array([0, -1, 2, 1], np.int32), 2, 0.4


@pytest.fixture(scope='module')
def model(finished):
  yield Trained.load(finished)


def _traced(model, method, steps=STEPS, tau=TAU):
  traced = functools.partial(model.traced, method, most_steps=64)
  return jax.jit(traced)(SEED, LABEL, steps=steps, tau=tau)


def _called(program, steps=STEPS, tau=TAU):
  return np.asarray(program.call(np.uint32(SEED), LABEL, np.int32(steps), np.float32(tau)))


@pytest.mark.parametrize('method', ['gan', 'hybrid'])
def test_it_draws_what_the_model_draws(model, method):
  program = export.deserialize(stablehlo.exported(model, method, len(LABEL)).serialize())
  assert set(program.platforms) == {'cpu', 'cuda', 'tpu'}
  clips = _called(program)
  np.testing.assert_allclose(clips, _traced(model, method), atol=1e-5)
  drawn, inside = model.draw(method, LABEL, SEED, steps=STEPS, tau=TAU), np.abs(clips) < 1
  apart = np.abs((clips + 1) * 127.5 - drawn.astype(float))[inside]
  assert apart.max() < 0.51  # it is what was rounded


def test_steps_and_tau_are_arguments(model):
  program = export.deserialize(stablehlo.exported(model, 'hybrid', len(LABEL)).serialize())
  for steps, tau in ((1, 0.4), (3, 0.4), (2, 0.7)):
    wanted = _traced(model, 'hybrid', steps, tau)
    np.testing.assert_allclose(_called(program, steps, tau), wanted, atol=1e-5)


def test_its_parts_ask_nothing_of_the_compiler(finished, monkeypatch):
  """As they do by themselves, on a CPU: jax takes options of the outermost program alone."""
  monkeypatch.setenv('XLA_FLAGS', '')
  stablehlo.exported(Trained.load(finished), 'gan', len(LABEL))


def test_the_script_of_the_docs_runs_with_jax_alone(model, tmp_path):
  stablehlo.write(model, 'gan', 8, tmp_path / 'hybrid.stablehlo')
  page = (ROOT / 'docs' / 'weights.md').read_text()
  (script,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
  assert len(script.splitlines()) <= 10
  alone = "import sys; sys.modules['hgdt_jax'] = None\n"
  done = subprocess.run(
    [sys.executable, '-c', alone + script], cwd=tmp_path, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  clips = np.load(tmp_path / 'clips.npy')
  drawn = model.draw('gan', np.full(8, -1), 0, steps=0, tau=0.0)
  assert np.abs(clips.astype(int) - drawn).max() <= 1


def test_a_method_that_is_none_is_told(model):
  with pytest.raises(ValueError, match="'hybrid_slow'"):
    stablehlo.exported(model, 'hybrid_slow', 2)
