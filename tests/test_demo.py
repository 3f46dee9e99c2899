"""The page to play with: what it asks of a model, and what it makes of the answer."""

import dataclasses
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from hgdt_jax import demo_page, playground, sampled
from hgdt_jax.request import Request
from hgdt_jax.trained import Trained
from input_pipeline import video_files


@pytest.fixture(scope='module')
def model(finished):
  return Trained.load(finished)


@pytest.fixture(scope='module')
def usual(model):
  return playground.usual(model)


def _request(model, asked, folder, **changes):
  return playground.request(model, dataclasses.replace(asked, **changes), folder)


def test_the_controls_say_at_first_what_is_configured(model, usual, tmp_path):
  assert usual.method == 'hybrid'
  wanted = Request(method='hybrid', num=4, steps=1, tau=0.5, frames=4)
  assert playground.request(model, usual, tmp_path) == wanted
  assert playground.labels(model) == ['any', '0', '1', '2', '3']


def test_what_a_method_ignores_is_neither_read_nor_refused(model, usual, tmp_path):
  asked = _request(model, usual, tmp_path, method='gan', tau='much', evaluations='many')
  assert (asked.tau, asked.steps) == (None, 1)
  of = playground.means(model, 'gan')
  assert (of.tau, of.evaluations, of.label) == (False, False, True)
  assert of.text.endswith('Ignored here: tau and evaluations.')
  of = playground.means(model, 'diffusion')
  assert (of.tau, of.evaluations) == (False, True)
  of = playground.means(model, 'diffusion_frames')
  assert of.no_image == 'Diffusion, per frame takes no first image: it draws each frame alone.'
  image = Image.new('RGB', (16, 16))
  assert not _request(model, usual, tmp_path, method='diffusion_frames', image=image).condition


def test_no_more_evaluations_are_spent_than_are_asked_for(model, usual, tmp_path):
  """Known frames cost a backward pass a step; the hybrid's draft one of all."""
  image = Image.new('RGB', (16, 16))
  for changes, steps, spent in (
    (dict(method='hybrid', evaluations=5), 4, 5),
    (dict(method='diffusion', evaluations=5), 5, 5),
    (dict(method='diffusion', evaluations=5, image=image), 2, 4),
    (dict(method='hybrid', evaluations=1), 1, 2),
  ):
    asked = _request(model, usual, tmp_path, **changes)
    known = asked.condition is not None
    assert (asked.steps, model.evaluations(asked.method, steps, known=known)) == (steps, spent)


@pytest.mark.parametrize(
  ('name', 'value', 'says'),
  [
    ('method', 'nothing', "Method: there is no 'nothing' here; choose gan, "),
    ('method', None, 'Method: there is no None here'),
    ('seed', 'letters', 'Seed: letters is not a whole number from 0 to 4294967295.'),
    ('seed', '', 'Seed: nothing is not a whole'),
    ('seed', '4294967296', 'Seed: 4294967296 is not'),
    ('seed', '9' * 5000, 'Seed: 9{37}... is not'),
    ('seed', '-1', 'Seed: -1 is not'),
    ('seed', '1e999', 'Seed: 1e999 is not'),
    ('seed', 1.5, 'Seed: 1.5 is not'),
    ('tau', 1.01, 'Tau: 1.01 is not a number from 0 to 1.'),
    ('tau', float('nan'), 'Tau: nan is not'),
    ('tau', [0.5], r'Tau: \[0.5\] is not'),
    ('evaluations', 0, 'Evaluations: 0 is not a whole number from 1 to 64.'),
    ('label', '4', 'Label: 4 is not a whole number from 0 to 3.'),
    ('label', 'cat', 'Label: cat is not'),
    ('frames', 17, 'Frames: 17 is not a whole number from 1 to 16.'),
    ('num', None, 'Clips: nothing is not a whole number from 1 to 16.'),
    ('image', 'clip.mp4', 'First image: that is not an image.'),
  ],
)
def test_what_means_nothing_is_told_in_a_sentence(model, usual, tmp_path, name, value, says):
  with pytest.raises(ValueError, match=says):
    _request(model, usual, tmp_path, **{name: value})


def test_a_drawing_is_on_white_paper_and_an_empty_one_is_none(model, usual, tmp_path):
  drawing = Image.new('RGBA', (32, 32))
  given = dict(method='diffusion', image=drawing)
  assert _request(model, usual, tmp_path, **given).condition is None
  drawing.paste((200, 0, 0, 255), (0, 0, 32, 16))
  asked = _request(model, usual, tmp_path, **given)
  first = np.asarray(Image.open(asked.condition))
  assert asked.at == (0,) and first.shape == (32, 32, 3)
  assert (first[:16] == (200, 0, 0)).all() and (first[16:] == 255).all()


def test_a_model_that_only_continues_images_asks_for_one(model, usual, tmp_path, monkeypatch):
  monkeypatch.setattr(type(model.cfg.draft), 'given', 1)
  assert playground.means(model, 'hybrid').text.endswith('so it needs one.')
  with pytest.raises(ValueError, match='First image: this method continues one'):
    playground.request(model, usual, tmp_path)


def test_a_generator_without_images_takes_none(model, monkeypatch):
  monkeypatch.setattr(type(model.cfg.draft), 'given', 0)
  assert 'not trained to continue one' in playground.means(model, 'hybrid').no_image
  assert not playground.means(model, 'diffusion').no_image


@pytest.mark.parametrize('method', ['gan', 'diffusion', 'hybrid'])
def test_clips_are_those_of_sample_and_the_draft_is_theirs(model, usual, tmp_path, method):
  """At tau=0 a draft is not refined, so what is shown beside the hybrid is just that."""
  changes = dict(method=method, num=2, seed='7', label='1', evaluations=3)
  asked = _request(model, usual, tmp_path, **changes)
  told = []
  drawn = playground.draw(model, asked, lambda share, text: told.append(share))
  np.testing.assert_array_equal(drawn.clips, sampled.draw(model, asked))
  assert drawn.evaluations == (1 if method == 'gan' else 3) and told == sorted(told) != []
  said = playground.said(model, drawn)
  assert '2 clips, seed 7, 4 frames' in said and 'class 1' in said and ' s, ' in said
  assert (drawn.drafts is not None) == (method == 'hybrid')
  if method == 'hybrid':
    draft = sampled.draw(model, dataclasses.replace(asked, tau=0.0))
    np.testing.assert_array_equal(drawn.drafts, draft)
    assert (drawn.drafts != drawn.clips).any()


@pytest.mark.parametrize('frames', [1, 3, 7])
def test_clips_have_any_length_and_a_draft_costs_one_evaluation(model, usual, tmp_path, frames):
  asked = _request(model, usual, tmp_path, frames=frames, tau=0, num=1)
  drawn = playground.draw(model, asked)
  assert drawn.clips.shape == (1, frames, 16, 16, 3) and drawn.evaluations == 1


def test_an_image_comes_back_as_the_first_frame(model, usual, tmp_path):
  image = Image.new('RGB', (16, 16), (30, 60, 90))
  asked = _request(model, usual, tmp_path, method='diffusion', image=image, evaluations=4)
  drawn = playground.draw(model, asked)
  assert (drawn.clips[:, 0] == (30, 60, 90)).all() and drawn.evaluations == 4
  assert 'continues the first image' in playground.said(model, drawn)


def test_the_download_keeps_every_pixel(tmp_path):
  clips, drafts = np.random.default_rng(0).integers(0, 256, (2, 2, 4, 16, 16, 3), np.uint8)
  drawn = playground.Drawn(Request(method='hybrid', num=2, seed=3), clips, drafts, 1.0, 4)
  (tmp_path / 'place').mkdir()
  shown = playground.write(drawn, tmp_path / 'place', 8)
  assert shown.archive.name == 'hybrid_seed_3.zip'
  zipfile.ZipFile(shown.archive).extractall(tmp_path / 'out')
  for name, wanted in (('clips', clips), ('drafts', drafts)):
    paths = sorted((tmp_path / 'out' / name).iterdir())
    found = np.stack([video_files.read(path, range(4)) for path in paths])
    np.testing.assert_array_equal(found, wanted)
  heights = [np.asarray(Image.open(one)).shape[0] for one in (shown.strip, shown.draft_strip)]
  assert heights == [2 * 64 + 2] * 2
  assert video_files.read(shown.clip, [3]).shape == (1, 128, 258, 3)


def test_a_missing_gradio_is_told_with_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, 'gradio', None)
  with pytest.raises(ImportError, match=r'pip install "hgdt_jax\[demo\]"'):
    demo_page.refuse_without_gradio()
