"""The plan of benchmarks/claim.py: equal costs, rows that differ in one part, verdicts."""

import importlib
import json
import pathlib
import sys

import numpy as np
import pytest

from hgdt_jax import methods
from hgdt_jax.metrics import networks, table

BENCHMARKS = pathlib.Path(__file__).parents[1] / 'benchmarks'


@pytest.fixture(autouse=True)
def path(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCHMARKS))
  yield
  for name in [name for name in sys.modules if name.startswith('claim')]:
    del sys.modules[name]


@pytest.fixture
def plan():
  return importlib.import_module('claim_plan')


@pytest.fixture
def cost(plan):
  """Another number of seconds for each kind of step."""
  keys = {plan.cost_key('bench', run, s) for run in plan.RUNS for s in plan.RUNS[run].stages}
  return {key: 0.01 + 0.003 * i for i, key in enumerate(sorted(keys))}


def test_every_run_is_a_configuration(plan, cost):
  for name in plan.SETS:
    for run in plan.RUNS:
      steps = plan.steps(name, run, cost) if name == 'bench' else {}
      built = plan.build(plan.config(name, run, 0, steps, 1.0, '/somewhere'))
      assert built.stages == plan.RUNS[run].stages


def test_a_run_that_fills_takes_as_long_as_the_one_it_is_compared_with(plan, cost):
  filled = [run for run in plan.RUNS if plan.RUNS[run].fills]
  assert {'gan_equal', 'diffusion_equal', 'frames_equal'} <= set(filled)
  for run in filled:
    stage, like = plan.RUNS[run].fills
    seconds = lambda run: sum(
      count * cost[plan.cost_key('bench', run, stage)]
      for stage, count in plan.steps('bench', run, cost).items()
    )
    one = cost[plan.cost_key('bench', run, stage)]
    assert abs(seconds(run) - seconds(like)) <= one


def test_baselines_see_all_noise_levels_and_rows_of_their_kind_alone(plan):
  share = {'diffusion_equal': 0.0, 'frames_equal': 1.0}
  for run, frames in share.items():
    recipe = plan.recipe('bench', run)
    assert (recipe.diffusion.times, recipe.diffusion.frames_share) == ('uniform', frames)
    assert recipe.stages == ('diffusion',)


def test_stages_that_are_taken_over_were_trained_by_the_same_settings(plan):
  sections = {'gan': ('draft', 'gan'), 'diffusion': ('denoiser',)}
  for run, of in plan.RUNS.items():
    for stage, lender in of.takes.items():
      one, other = plan.recipe('bench', run), plan.recipe('bench', lender)
      for section in sections[stage]:
        assert one[section] == other[section], (run, section)
      assert lender in plan.closure([run])


def test_the_grid_is_drawn_whole_and_rows_of_one_start_take_as_many_steps(plan):
  drawn = {cell.method for cell in plan.cells('hybrid')}
  of_the_gan = {name for name, one in methods.GRID.items() if one.latents != 'bridge'}
  assert of_the_gan <= drawn
  for run in plan.RUNS:
    for cell in plan.cells(run):
      if cell.method in methods.GRID and methods.find(cell.method).refined:
        want = plan.DRAFT_STEPS if methods.find(cell.method).drafted else plan.NOISE_STEPS
        with_one_step = cell.name in (f'{plan.FULL}.1', f'{plan.PAPER}.1')  # of the main table
        assert cell.steps == want or with_one_step


def test_the_parts_of_a_run_are_all_of_its_cells(plan):
  for run in plan.RUNS:
    assert [cell for part in plan.parts(run) for cell in part] == plan.cells(run)
    assert all(plan.parts(run))


def test_pairs_of_a_grid_differ_in_one_field(plan):
  rows = [cell.name for run in ('hybrid', 'paper') for cell in plan.cells(run)]
  compared = 0
  for pair in plan.pairs(rows):
    (run, first, _), (other, second, _) = (row.split('.') for row in pair)
    if run != other or 'draft' in (first, second):
      continue
    one, two = methods.find(first), methods.find(second)
    fields = ('drafted', 'mixing', 'aligned', 'latents')
    assert sum(getattr(one, f) != getattr(two, f) for f in fields) == 1
    compared += 1
  assert compared >= 20


def test_a_sentence_is_decided_by_every_seed_or_by_none():
  tables = importlib.import_module('claim_tables')
  below, above, around = (-2.0, -3.0, -1.0), (2.0, 1.0, 3.0), (0.5, -1.0, 2.0)
  assert tables.verdict_of([below, below]) == 'confirmed'
  assert tables.verdict_of([above, above]) == 'refuted'
  for mixed in ([below, above], [below, around], [around]):
    assert tables.verdict_of(mixed) == 'undecided'


def test_the_strips_have_a_row_of_every_cell(plan):
  tables = importlib.import_module('claim_tables')
  assert {cell.name for run in plan.RUNS for cell in plan.cells(run)} <= tables.shown().keys()


def test_a_set_is_written_anew_and_the_others_stay():
  tables = importlib.import_module('claim_tables')
  page = (tables.DOCS / 'claim.md').read_text()
  sections = tables.sections_of(page)
  assert tables.page_of(sections) == page
  changed = tables.sections_of(tables.page_of(sections | {'weizmann': '### Another\n'}))
  assert changed['weizmann'].strip() == '### Another'
  assert changed['bench'].strip() == sections['bench'].strip()


def test_statistics_of_cells(tmp_path, plan):
  """From rows on disk: a distance to real clips with its interval, and a difference of two rows."""
  stats = importlib.import_module('claim_stats')
  cells = tmp_path / 'bench' / 'seed0' / 'cells'
  cells.mkdir(parents=True)
  rng = np.random.default_rng(0)

  def keep(row, shift, count=48):
    features = rng.normal(shift, 1.0, (count, 8)).astype(np.float32)
    rows = {'clip_random_conv3d': features, 'motion': np.full((count, 1), 0.1), 'shown': features}
    rows |= {'clip_i3d': features, 'groups': np.arange(count)}
    np.savez(cells / f'{row}.npz', **rows)
    (cells / f'{row}.json').write_text(json.dumps({'clips': count}))

  near, far = 'paper.draft_frames_aligned.3', 'paper.draft_frames.3'
  for row, shift in (('real', 0.0), ('real_again', 0.0), (near, 1.0), (far, 3.0)):
    keep(row, shift)
  found = stats.stats(tmp_path, 'bench', ['0'])['0']
  scores = {row: found['rows'][row]['scores'] for row in (near, far, 'real_again')}
  for metric in ('fvd', 'kvd'):
    values = [scores[row][metric][0] for row in ('real_again', near, far)]
    assert values == sorted(values)
    _, low, high = scores[far][metric]
    assert low < scores[far][metric][0] < high
    value, low, high = found['pairs'][f'{near} - {far}'][metric]
    assert low < value < high < 0
  written = json.loads((tmp_path / 'bench' / 'stats.json').read_text())
  assert written['0']['rows'].keys() == found['rows'].keys()


def test_a_row_gets_what_is_not_yet_measured_of_it_and_only_that(tmp_path, monkeypatch):
  """Of the same clips: what is drawn otherwise now is not mixed with what was."""
  score = importlib.import_module('claim_score')
  clips = np.random.default_rng(0).integers(0, 256, (8, 4, 32, 32, 3), np.uint8)
  keep = lambda video, **facts: score._keep(
    tmp_path, 'weizmann', None, 'row', lambda: video, **facts
  )
  of_row = lambda: dict(np.load(tmp_path / 'row.npz'))
  monkeypatch.setattr(score, 'MEASURES', ('motion',))
  monkeypatch.setattr(score, 'STEADY', {'weizmann': ()})
  keep(clips, groups=np.arange(8) // 2, evaluations=4)
  first = of_row()
  np.savez(tmp_path / 'row.npz', **first | {'motion': first['motion'] + 7})
  monkeypatch.setattr(score, 'STEADY', {'weizmann': ('acd_colour',)})
  keep(clips)
  second = of_row()
  np.testing.assert_array_equal(second['motion'], first['motion'] + 7)
  np.testing.assert_array_equal(second['groups'], np.arange(8) // 2)
  assert second['acd_colour'].shape == (8, 1)
  facts = json.loads((tmp_path / 'row.json').read_text())
  assert (facts['clips'], facts['evaluations']) == (8, 4)
  monkeypatch.setattr(score, 'STEADY', {'weizmann': ('acd_colour', 'profile')})
  with pytest.raises(ValueError, match=r'row\.npz: its clips come out otherwise now'):
    keep(255 - clips)
  assert 'profile' not in of_row()


def test_fvd_of_real_clips_against_real_ones_is_least():
  """In I3D's features, of few clips of the set `bench`; of 2,048 it stands in docs/claim.md."""
  try:
    i3d = networks.load('i3d')
  except FileNotFoundError as missing:
    pytest.skip(str(missing))
  from input_pipeline import make_source

  source = make_source('synthetic', path='', frames=16, size=32, split='test', count=64, seed=0)
  clips = np.stack([source[i]['video'] for i in range(16)])
  frozen = np.repeat(clips[:8, :1], 16, axis=1)
  real, again, still = (i3d.features(part) for part in (clips[:8], clips[8:], frozen))
  for metric in ('fvd', 'kvd'):
    value = table.find(metric).value
    assert value(real, again) < value(real, still)
