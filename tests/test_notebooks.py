"""Each notebook of colab/ runs from top to bottom, and keeps what it showed when it last did."""

import pathlib
import shutil

import pytest

from configs import hybrid
from hgdt_jax import publish, weights

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


@pytest.fixture
def model(finished, tmp_path):
  """The weights of the finished run."""
  path = tmp_path / 'model.safetensors'
  weights.write(publish.of_run(finished), path)
  return str(path)


def _executed(name, monkeypatch, tmp_path, **parameters):
  """A notebook, run from top to bottom with other parameters than its own."""
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  notebook = _read(ROOT / 'colab' / f'{name}.ipynb')
  (cell,) = [c for c in notebook.cells if 'parameters' in c.metadata.get('tags', ())]
  assert all(f'{one} = ' in cell.source for one in parameters)
  cell.source += '\n' + '\n'.join(f'{one} = {value!r}' for one, value in parameters.items())
  nbclient.NotebookClient(notebook, timeout=300, coalesce_streams=True).execute(cwd=str(tmp_path))
  return notebook


@pytest.mark.long
def test_quickstart(unfinished, model, smallest, monkeypatch, tmp_path):
  four = {'stages': ('gan', 'diffusion', 'aligner', 'joint')}
  two = {'stages': ('gan', 'diffusion')}
  ran = _executed(
    *('quickstart', monkeypatch, tmp_path),
    MODEL=model,
    CHANGES=_changes(smallest() | four),
    TUNING=_changes(smallest() | two),
    WORKDIR=str(unfinished),
    CLIPS=2,
  )
  assert (unfinished / 'results.json').exists()
  assert _kinds(ran).count('image/gif') == 4 and _kinds(ran).count('image/png') == 4 + 3 * 2
  assert 'joint:' in _text(ran) and _text(ran).count('\nhybrid ') >= 4
  assert "'motion_ratio': " in str(_outputs(ran)[-1])  # of the two folders


@pytest.mark.long
def test_your_own_clips(model, smallest, monkeypatch, tmp_path):
  ran = _executed(
    *('your_own_clips', monkeypatch, tmp_path),
    MODEL=model,
    RECIPE='small',
    CHANGES=_changes(smallest() | {'stages': ('gan', 'diffusion')}),
    WORKDIR='mine',
    SHOWN=2,
  )
  assert 'mine_clips: 80 clips' in _text(ran)  # the census
  assert _kinds(ran).count('image/gif') == 1 and '\nhybrid ' in _text(ran)
  assert (tmp_path / 'mine_drawn.zip').exists() and (tmp_path / 'mine.safetensors').exists()


def test_inside_the_hybrid(model, monkeypatch, tmp_path):
  ran = _executed(
    *('inside_the_hybrid', monkeypatch, tmp_path),
    MODEL=model,
    TAUS=(0.2, 0.4),
    CLIPS=2,
    SCORED=8,
    METRICS=('motion_ratio',),
  )
  assert _kinds(ran).count('image/gif') == 1 and _kinds(ran).count('image/png') == 2
  assert '\n0.4   hybrid ' in _text(ran) and '\ndraft_video_aligned ' in _text(ran)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_keeps_what_it_showed(path):
  notebook = _read(path)
  code = [cell for cell in notebook.cells if cell.cell_type == 'code']
  assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
  assert not any(output.output_type == 'error' for output in _outputs(notebook))
  assert 'image/gif' in _kinds(notebook) and '\nhybrid ' in _text(notebook)
  assert '/root' not in path.read_text() and '/tmp' not in path.read_text()
  assert path.stat().st_size < 10e6  # a code host shows no more


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_opens_by_a_badge(path):
  first = _read(path).cells[0].source
  assert first.startswith('[![Open in Colab](') and f'colab/{path.name})' in first


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_has_no_logic_of_its_own(path):
  code = [cell.source for cell in _read(path).cells if cell.cell_type == 'code']
  assert not [word for word in ('def ', 'for ', 'while ', 'class ') if word in '\n'.join(code)]
