"""What a notebook is shown: clips under their names, a slider over all values, a run as it goes."""

import io
import re
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

import hgdt_jax
from hgdt_jax import notebook, workdir, writer
from hgdt_jax.sampling import clips as files

display = pytest.importorskip('IPython.display', reason='IPython is in the extra notebook')
CLIPS = np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16, 3), np.uint8)


class Handle:
  """Of an output that is updated."""

  def __init__(self):
    self.seen = []

  def update(self, image):
    self.seen.append(image.data)


@pytest.fixture
def shown(monkeypatch):
  """What was displayed, in order; where an id was asked for, its handle."""
  found = []

  def show(one, display_id=False, **_):
    found.append(Handle() if display_id else one)
    return found[-1]

  monkeypatch.setattr(display, 'display', show)
  return found


def _pixels(image):
  return np.asarray(Image.open(io.BytesIO(image.data)).convert('RGB'))


def test_clips_play_and_are_laid_out(shown):
  hgdt_jax.show(CLIPS)
  gif, png = shown
  assert Image.open(io.BytesIO(gif.data)).n_frames == 4
  np.testing.assert_array_equal(_pixels(png), files.film_strip(CLIPS))


def test_clips_with_names_are_below_them(shown):
  hgdt_jax.show({'first': CLIPS, 'second': 255 - CLIPS})
  strips, half = _pixels(shown[1]), notebook._TOP + files.film_strip(CLIPS).shape[0]
  np.testing.assert_array_equal(strips[notebook._TOP : half], files.film_strip(CLIPS))
  np.testing.assert_array_equal(strips[half + notebook._TOP :], files.film_strip(255 - CLIPS))
  for top in (0, half):  # a word, dark on white
    label = strips[top : top + notebook._TOP]
    assert label.min() < 80 and label.max() == 255


def test_a_slider_has_a_picture_of_each_value_and_shows_the_first(shown):
  hgdt_jax.show_over('tau', {value: {'draft': CLIPS} for value in (0.2, 0.4, 0.6)})
  html = shown[0]['text/html']
  assert re.findall(r'alt="(.*?)" style="display:(\w+)"', html) == [
    ('tau = 0.2', 'block'),
    ('tau = 0.4', 'none'),
    ('tau = 0.6', 'none'),
  ]
  assert 'max="2"' in html and '<output>tau = 0.2</output>' in html


def test_arrows_lead_from_frames_and_none_where_nothing_moves(shown):
  still, moving = np.zeros((2, 3, 16, 16, 2)), np.full((2, 3, 16, 16, 2), 3.0)
  black = np.zeros_like(CLIPS)
  hgdt_jax.show_flow(black, still)
  hgdt_jax.show_flow(black, moving)
  yellow = [(_pixels(one) == (255, 210, 63)).all(-1).sum() for one in shown]
  assert yellow[1] > 2 * yellow[0]


def test_a_run_is_followed_in_a_notebook_alone(shown, monkeypatch, tmp_path):
  with notebook.following(tmp_path):
    assert not shown
  monkeypatch.setattr(writer, 'in_notebook', lambda: True)
  monkeypatch.setattr(notebook, '_EVERY', 0.01)
  rows = writer.make_writers(tmp_path)
  waited = threading.Event()
  with notebook.following(tmp_path):
    curves, strips = shown
    for step in (10, 20):
      for one in rows:
        one.write('gan', step, {'gan/d_loss': 1.0 / step})
    path = workdir.strip_on_the_way(tmp_path, 'gan', 20)
    files.write_film_strip(CLIPS, path)
    waited.wait(0.5)
    assert strips.seen
  np.testing.assert_array_equal(
    np.asarray(Image.open(io.BytesIO(strips.seen[-1])))[notebook._TOP :], files.film_strip(CLIPS)
  )
  assert len(strips.seen) == 1 and curves.seen and len(set(curves.seen)) == len(curves.seen)
  for one in rows:
    one.close()


def test_a_warning_is_one_line(shown, monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(writer, 'in_notebook', lambda: True)
  with notebook.following(tmp_path):
    warnings.warn('64 clips asked for, the source holds 18', stacklevel=1)
  assert capsys.readouterr().err == 'warning: 64 clips asked for, the source holds 18\n'


def test_what_broke_a_run_is_raised_and_nothing_goes_on(shown, monkeypatch, tmp_path):
  monkeypatch.setattr(writer, 'in_notebook', lambda: True)
  before = threading.active_count()
  with pytest.raises(ZeroDivisionError), notebook.following(tmp_path):
    _ = 1 / 0
  assert threading.active_count() == before
  assert not any(handle.seen for handle in shown)


def test_strips_on_the_way_sort_by_time(tmp_path):
  stages = [('gan', 900), ('gan', 1000), ('diffusion', 5), ('aligner', 5), ('joint', 1)]
  paths = [workdir.strip_on_the_way(tmp_path, stage, step) for stage, step in stages]
  assert sorted(paths) == paths
