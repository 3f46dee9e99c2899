"""The table of ways to sample: the grid is whole, and each method has what it takes to show it."""

import dataclasses
import itertools
import re

import pytest

from hgdt_jax import methods

FIELDS = ('drafted', 'mixing', 'aligned', 'latents')
CELLS = {name: way for name, way in methods.GRID.items() if way.refined}


def test_the_grid_has_every_combination_once():
  found = [tuple(getattr(way, field) for field in FIELDS) for way in CELLS.values()]
  on = (False, True)
  assert sorted(found) == sorted(itertools.product(on, on, on, methods.LATENTS))
  assert all(methods.grid_name(*each) == name for each, name in zip(found, CELLS))
  assert not methods.GRID.keys() & methods.METHODS.keys()


def test_cells_of_the_grid_differ_in_its_fields_alone():
  """Or two of them would be no experiment on one."""
  words = ('label', 'meaning')
  rest = [
    {k: v for k, v in dataclasses.asdict(way).items() if k not in FIELDS + words}
    for way in CELLS.values()
  ]
  assert all(each == rest[0] for each in rest)
  draft = methods.GRID['draft']
  assert draft.drafted and not draft.refined and draft.draws_from == rest[0]['draws_from']
  for word in words:
    said = [getattr(way, word) for way in CELLS.values()]
    assert len(set(said)) == len(said)


def test_each_method_has_a_look_and_words_of_its_own():
  ways = methods.METHODS.values()
  colours = [colour for way in ways for colour in way.colours]
  assert all(re.fullmatch('#[0-9a-f]{6}', colour) for colour in colours)
  for each in (
    colours,
    *([getattr(way, f) for way in ways] for f in ('label', 'meaning', 'marker')),
  ):
    assert all(each) and len(set(each)) == len(each)


@pytest.mark.parametrize('name', [*methods.METHODS, *methods.GRID])
def test_a_method_is_found_by_its_name_and_knows_its_networks(name):
  way = methods.find(name)
  assert way.refined == ('denoiser' in way.networks)
  assert ('generator' in way.networks) == (way.drafted or way.latents != 'none')
  assert ('bridge' in way.networks) == (way.latents == 'bridge')


def test_an_unknown_method_is_answered_with_those_there_are():
  with pytest.raises(ValueError, match=r"no method 'hybird'; there are gan, .*draft_video_gan"):
    methods.find('hybird')


@pytest.mark.parametrize(
  ('latents', 'told'), [('none', 'none'), ('clean', 'gan'), ('noised', 'bridge')]
)
def test_the_hybrid_is_told_what_its_denoiser_was_trained_to_be_told(latents, told):
  hybrid = methods.METHODS['hybrid']
  fields = {field: getattr(hybrid.as_trained(latents), field) for field in FIELDS}
  of_the_grid = methods.GRID[methods.grid_name(True, True, True, told)]
  assert fields == {field: getattr(of_the_grid, field) for field in FIELDS}
  assert of_the_grid.as_trained(latents) == of_the_grid
