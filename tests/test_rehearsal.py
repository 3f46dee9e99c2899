"""A recipe compiled for devices, here those at hand: what is told of it."""

import dataclasses
import re

import jax
import pytest

from hgdt_jax import rehearsal, settings
from hgdt_jax.costs import Collective, Cost

CHIP = rehearsal.Chip(memory=16, flops=200, bandwidth=800)
COST = Cost(2**30, 2**31, 3 * 2**30, 4e12, 8e9, {'all-reduce': Collective(2, 3_000_000)})
ROW = rehearsal.Row('gan', 36_000, 1234567, 2**30, COST, '', 12.4)


@pytest.mark.devices
def test_a_stage_compiled_for_devices_that_share_its_batch(smallest):
  given = smallest()
  given['mesh']['fsdp'], given['hybrid']['tau'], given['data']['classes'] = 2, 'auto', -1
  cfg = settings.build(settings.Config, given)
  (row,) = rehearsal.rows(cfg, ('diffusion',), jax.devices()[:2])
  assert (row.stage, row.steps) == ('diffusion', cfg.diffusion.steps)
  assert row.compiled > 0 and row.cost.flops > 0
  # Parameters, their average and two moments; beside them a batch, of bytes, and a few numbers.
  assert row.cost.arguments == pytest.approx(4 * 4 * row.parameters, rel=0.05)
  # Gradients, but of parameters that a stage's loss does not reach.
  assert 2 * row.parameters < row.cost.collectives['all-reduce'].bytes < 5 * row.parameters


def test_what_earlier_stages_hand_on_lies_beside(smallest, monkeypatch):
  monkeypatch.setattr(rehearsal.programs, 'compiled', lambda *_: jax.jit(abs).lower(1.0).compile())
  gan, diffusion, aligner, joint, _ = rehearsal.rows(
    settings.build(settings.Config, smallest()), (), jax.devices()
  )
  assert gan.beside == 0 and diffusion.beside == 4 * gan.parameters  # critics too
  assert aligner.beside == diffusion.beside + 4 * diffusion.parameters
  assert joint.beside > aligner.beside


@pytest.mark.devices
def test_what_is_wrong_is_told_before_anything_is_compiled(tiny_dict):
  cfg = settings.build(settings.Config, tiny_dict)
  with pytest.raises(ValueError, match='polish: no stage of the recipe, which has gan, diff'):
    rehearsal.rows(cfg, ('polish',), jax.devices())
  cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, batch=12))
  with pytest.raises(ValueError, match=r'config.data.batch=12: not a multiple of the 8 devices'):
    rehearsal.rows(cfg, (), jax.devices())


@pytest.fixture
def failing(monkeypatch, tiny):
  def rows(message):
    def compiled(*_):
      raise jax.errors.JaxRuntimeError(message)

    monkeypatch.setattr(rehearsal.programs, 'compiled', compiled)
    return list(rehearsal.rows(tiny, ('gan',), jax.devices()[:1]))

  return rows


def test_what_the_compiler_refuses_for_want_of_memory_is_a_row(failing):
  (row,) = failing('RESOURCE_EXHAUSTED: Used 30.2G of 15.75G hbm.\nProgram hbm requirement')
  assert row.excess == 'RESOURCE_EXHAUSTED: Used 30.2G of 15.75G hbm.'
  assert not rehearsal.fits(row, CHIP)
  assert 'does not fit' in rehearsal.line(row, CHIP)


def test_any_other_refusal_is_an_error(failing):
  with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'):
    failing('INTERNAL: of the compiler')


def test_what_lies_beside_a_step_counts():
  assert rehearsal.fits(ROW, CHIP)
  assert rehearsal.fits(dataclasses.replace(ROW, beside=13 * 2**30), CHIP)
  assert not rehearsal.fits(dataclasses.replace(ROW, beside=13 * 2**30 + 1), CHIP)


def test_a_step_takes_as_long_as_the_slower_of_arithmetic_and_memory():
  assert rehearsal.seconds(COST, CHIP) == 0.02  # 4 TFLOP at 200 a second; 8 GB take .01
  slow = dataclasses.replace(COST, accessed=32e9)
  assert rehearsal.seconds(slow, CHIP) == 0.04


def test_a_line_has_a_cell_for_every_column():
  head, rule = rehearsal.head().splitlines()
  line = rehearsal.line(ROW, CHIP)
  refused = rehearsal.line(dataclasses.replace(ROW, cost=None, excess='too much'), CHIP)
  assert {text.count('|') for text in (head, rule, line, refused)} == {head.count('|')}
  cells = dict(zip(re.split(r' ?\| ?', head), re.split(r' ?\| ?', line)))
  assert cells['peak GiB'] == '4.00'
  assert cells['ms a step, at least'] == '20.0'
  assert cells['hours, at least'] == '0.20'
  assert cells['between devices, MB'] == '2 all-reduce 3.0'
