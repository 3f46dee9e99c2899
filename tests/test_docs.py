"""The site builds without a warning, its pages need nothing from elsewhere, and the docs agree."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import hgdt_jax

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted((ROOT / 'docs').glob('*.md'))
README = (ROOT / 'README.md').read_text()
_ELSEWHERE = re.compile(r'(?:src|srcset)="(?:https?:)?//|<link[^>]+href="(?:https?:)?//')


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  """The folder of the built site."""
  for package in ('mkdocs', 'material', 'mkdocstrings_handlers.python', 'latex2mathml'):
    pytest.importorskip(package, reason='the extra docs is not installed')
  folder = tmp_path_factory.mktemp('site')
  done = subprocess.run(
    [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', folder],
    cwd=ROOT,
    env=os.environ | {'NO_MKDOCS_2_WARNING': '1'},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return folder


def test_every_page_is_built_and_fetches_nothing_from_elsewhere(site):
  built = {path.stem: path.read_text() for path in site.glob('*.html')}
  assert {page.stem for page in PAGES} <= set(built)
  assert not [name for name, text in built.items() if _ELSEWHERE.search(text)]
  assert not list(site.rglob('*.py'))


def test_every_formula_is_drawn(site):
  source, built = (ROOT / 'docs/concepts.md').read_text(), (site / 'concepts.html').read_text()
  assert built.count('<math ') == source.count('```math') + len(re.findall(r'\$[^$]+\$', source))
  assert 'arithmatex' not in built and 'merror' not in built


def test_the_api_page_has_what_the_package_exports(site):
  built = (site / 'api.html').read_text()
  names = [*hgdt_jax.__all__, 'Model.sample', 'Model.table', 'Model.report']
  assert not [name for name in names if f'id="hgdt_jax.api.{name}"' not in built]


def test_every_field_is_on_the_page_of_the_configuration(site):
  text = re.sub('<[^>]+>', '', (site / 'configuration.html').read_text())
  fields = re.findall(r'^  ([a-z]+\.[a-z_0-9]+) = ', (ROOT / 'configs/base.py').read_text(), re.M)
  assert len(fields) > 100
  assert not [field for field in fields if field not in text]


@pytest.mark.parametrize('page', [ROOT / 'README.md', *PAGES], ids=lambda page: page.name)
def test_links_lead_to_files_in_the_repository_too(page):
  links = re.findall(r'\]\((?!https?:|#)([^)#\s]+)', page.read_text())
  assert not [link for link in links if not (page.parent / link).exists()]


def test_the_readme_is_read_in_two_minutes():
  assert len(README.splitlines()) < 150
  assert (ROOT / 'docs/hybrid.gif').stat().st_size < 1.5e6


def test_the_figures_of_the_readme_are_those_of_the_recipes():
  """Each row has the cells of one there, in their order."""
  cells = lambda line: [cell.strip() for cell in line.split('|')[1:-1]]
  rows = [cells(line) for line in README.splitlines() if re.match(r'\|.*\d\.\d', line)]
  there = [cells(line) for line in (ROOT / 'docs/recipes.md').read_text().splitlines()]
  assert rows
  for row in rows:
    assert any(_in_order(row, one) for one in there), row


def _in_order(few, many):
  left = iter(many)
  return all(cell in left for cell in few)


def test_the_version_is_that_of_the_citation_and_of_the_changelog():
  cited = re.search(r'^version: (.+)$', (ROOT / 'CITATION.cff').read_text(), re.M)[1]
  changed = re.findall(r'^## (\d\S+),', (ROOT / 'CHANGELOG.md').read_text(), re.M)
  assert hgdt_jax.__version__ == cited == changed[0]


def test_a_network_works_as_an_nnx_module():
  page = (ROOT / 'docs/layout.md').read_text()
  (code,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
  found = {}
  exec(code, found)
  assert found['latents'].shape == (1, 4, 16)
