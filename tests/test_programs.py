"""What is compiled ahead is what would have been compiled, and holds nothing up."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax import programs, settings, sharding
from hgdt_jax.stages import STAGES

STEPS = ('gan', 'diffusion')


@pytest.fixture
def slow(monkeypatch):
  """Compiles by name, when it is let go on; what was compiled, in order."""
  let, done = threading.Semaphore(0), []

  def compiled(cfg, stage, mesh):
    assert let.acquire(timeout=20)
    if stage == 'broken':
      raise ValueError('no such layer')
    done.append(stage)
    return f'program of {stage}'

  monkeypatch.setattr(programs, 'compiled', compiled)
  return let, done


def test_stages_to_come_are_compiled_while_one_is_trained(slow):
  let, done = slow
  let.release(2)
  with programs.ahead(None, STEPS, None) as program:
    assert program('gan') == 'program of gan'
    assert program('diffusion') == 'program of diffusion'  # nobody asked for it to begin
    assert done == list(STEPS)
    let.release()
    assert program('joint') == 'program of joint'  # that was thought to be done already


def test_what_fails_is_told_to_who_asks_for_it(slow):
  let, _ = slow
  let.release(2)
  with programs.ahead(None, ('broken', 'gan'), None) as program:
    assert program('gan') == 'program of gan'
    with pytest.raises(ValueError, match='no such layer'):
      program('broken')


def test_a_run_that_ends_early_does_not_wait_for_the_rest(slow):
  (let, done), before = slow, threading.enumerate()  # those of other tests may still be at it
  with pytest.raises(KeyboardInterrupt), programs.ahead(None, STEPS, None):
    raise KeyboardInterrupt
  began = [one for one in threading.enumerate() if one not in before]
  (thread,) = [one for one in began if one.name.startswith('compile')]
  assert thread.is_alive()  # what it is at goes on, and nobody waits
  let.release(2)
  thread.join(20)
  assert done == ['gan']


def test_on_a_gpu_each_is_compiled_when_it_is_asked_for(slow, monkeypatch):
  let, done = slow
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  let.release(2)
  with programs.ahead(None, STEPS, None) as program:
    assert not done
    program('diffusion')
    assert done == ['diffusion']


def test_a_program_takes_a_stages_state_and_a_batch(smallest):
  cfg = settings.build(settings.Config, smallest())
  mesh = sharding.make_mesh(-1, 1)
  step = programs.compiled(cfg, 'diffusion', mesh)
  state = jax.jit(lambda key: STAGES['diffusion'].init(cfg, key))(jax.random.key(1))
  like = programs.abstract_batch(cfg, mesh)
  batch = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
  state, metrics = step(state, batch, jax.random.key(2))
  assert int(state.step) == 1
  assert np.isfinite(metrics['diffusion/loss'])
