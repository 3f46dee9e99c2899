"""The benchmark that lays aligners side by side: what it changes, keeps and compares."""

import importlib
import pathlib
import sys

import numpy as np
import pytest

from hgdt_jax.metrics import table

BENCHMARKS = pathlib.Path(__file__).parents[1] / 'benchmarks'


@pytest.fixture
def aligners(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCHMARKS))
  yield importlib.import_module('aligners')
  for name in [name for name in sys.modules if name.startswith(('aligners', 'claim'))]:
    del sys.modules[name]


@pytest.fixture
def recipe(aligners, monkeypatch):
  """`aligners.recipe` without flags parsed."""
  monkeypatch.setattr(aligners, '_STEPS', type('Flag', (), {'value': 0}))
  return aligners.recipe


def test_each_is_the_papers_recipe_with_one_thing_changed(aligners, recipe):
  paths = lambda cfg: {
    f'{section}.{field}': value
    for section, fields in vars(cfg).items()
    for field, value in (vars(fields).items() if hasattr(fields, '__dict__') else [('', fields)])
  }
  base = paths(recipe('base', '0'))
  for name, (_, changes) in aligners.TRIED.items():
    mine = paths(recipe(name, '0'))
    assert {path for path in base if mine[path] != base[path]} == changes.keys(), name
    short = paths(recipe(name, '0', short=True))
    assert {path for path in mine if mine[path] != short[path]} == {'data.frames', 'data.batch'}


def test_short_clips_are_the_first_frames_of_the_sources(aligners):
  class Source:
    classes = ('a', 'b')

    def __len__(self):
      return 5

    def __getitem__(self, i):
      return {'video': np.arange(16) + i, 'label': 1}

    def sample(self, i, generator):
      return self[i + generator]

  short = aligners.First(Source(), 8)
  assert len(short) == 5 and short.classes == ('a', 'b')
  np.testing.assert_array_equal(short[2]['video'], np.arange(8) + 2)
  np.testing.assert_array_equal(short.sample(2, 1)['video'], np.arange(8) + 3)


def test_a_difference_is_marked_only_where_it_is_one(aligners, tmp_path):
  """Of clips paired by code: every one a little steadier is told from chance, noise is not."""
  rng = np.random.default_rng(0)
  columns = table.find('drift_scale').measure
  other = rng.uniform(0.01, 0.05, (64, 8))
  rows = {'real': other, 'base.m': other, 'better.m': other - 0.004}
  rows['same.m'] = other + rng.normal(0, 0.01, other.shape)
  for name, each in rows.items():
    np.savez(tmp_path / f'{name}.npz', **{columns: each})
  cell = lambda row: aligners._cell([tmp_path], row, 'base.m', 'drift_scale')
  assert '(' not in cell('base.m')
  assert '(**-0.0040**)' in cell('better.m')
  assert '**' not in cell('same.m')
