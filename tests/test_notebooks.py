"""Each notebook of colab/ runs from top to bottom, and keeps what it showed when it last did."""

import pathlib
import shutil

import pytest

from configs import hybrid

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / 'colab').glob('*.ipynb'))
nbformat = pytest.importorskip('nbformat', reason='nbformat and nbclient are in the extra notebook')
nbclient = pytest.importorskip('nbclient', reason='nbformat and nbclient are in the extra notebook')


def _read(path):
  return nbformat.read(path, as_version=4)


def _outputs(notebook):
  return [output for cell in notebook.cells for output in cell.get('outputs', ())]


def _kinds(notebook):
  return [kind for output in _outputs(notebook) for kind in output.get('data', {})]


def _text(notebook):
  return ''.join(output.get('text', '') for output in _outputs(notebook))


def _leaves(section, path=''):
  for name, value in section.items():
    if isinstance(value, dict):
      yield from _leaves(value, f'{path}{name}.')
    else:
      yield f'{path}{name}', value


def _changes(given):
  """What makes the small preset that configuration, as the notebooks write it."""
  small = dict(_leaves(hybrid.get_config('small').to_dict()))
  return {path: value for path, value in _leaves(given) if small[path] != value}


@pytest.fixture
def unfinished(finished, tmp_path):
  """A copy of the finished run that has yet to train its last stage, and to be scored."""
  workdir = shutil.copytree(finished, tmp_path / 'run')
  shutil.rmtree(workdir / 'checkpoints' / 'joint')
  shutil.rmtree(workdir / 'checkpoints' / 'fewstep', ignore_errors=True)
  (workdir / 'results.json').unlink()
  return workdir


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path, unfinished, smallest, monkeypatch):
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  notebook = _read(path)
  (parameters,) = [c for c in notebook.cells if 'parameters' in c.metadata.get('tags', ())]
  changes = _changes(smallest() | {'stages': ('gan', 'diffusion', 'aligner', 'joint')})
  parameters.source += '\nfrom hgdt_jax import programs\nprograms.optimised = lambda level: None'
  parameters.source += f'\nCHANGES, WORKDIR, CLIPS = {changes!r}, {str(unfinished)!r}, 2\n'
  nbclient.NotebookClient(notebook, timeout=300).execute(cwd=str(path.parent))
  assert (unfinished / 'results.json').exists()
  assert _kinds(notebook).count('image/gif') == _kinds(notebook).count('image/png') == 5
  assert 'joint:' in _text(notebook) and '\nhybrid ' in _text(notebook)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_keeps_what_it_showed(path):
  notebook = _read(path)
  code = [cell for cell in notebook.cells if cell.cell_type == 'code']
  assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
  assert not any(output.output_type == 'error' for output in _outputs(notebook))
  assert _kinds(notebook).count('image/gif') >= 4 and '\nhybrid ' in _text(notebook)
  assert '/root' not in path.read_text() and '/tmp' not in path.read_text()


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_has_no_logic_of_its_own(path):
  code = [cell.source for cell in _read(path).cells if cell.cell_type == 'code']
  assert not [word for word in ('def ', 'for ', 'while ', 'class ') if word in '\n'.join(code)]
