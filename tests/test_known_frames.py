"""The frames that `sample --condition` takes of a file: at the rate of the training clips."""

import dataclasses
import types

import av
import numpy as np
import pytest

from configs import hybrid
from hgdt_jax import clip_sources, sampled, settings
from input_pipeline import make_source, prepare

LEVELS = (10 * np.arange(24)).astype(np.uint8)


@pytest.fixture
def film(tmp_path):
  """24 frames of 24 a second; frame k is a grey of 10 k."""
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('ffv1', rate=24)
    stream.height, stream.width, stream.pix_fmt = 16, 16, 'gray'
    for level in LEVELS:
      image = np.full((16, 16), level, np.uint8)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='gray')))
    container.mux(stream.encode())
  return path


def known(path, at=(), frames=4, stride=1, target_fps=0.0):
  data = types.SimpleNamespace(size=16, stride=stride, target_fps=target_fps)
  found = sampled._known(path, at, frames, data)
  assert len(found.pixels) == len(found.frames)
  return found.frames, (found.pixels[:, 8, 8, 0] / 10).round().astype(int).tolist()


def test_a_clip_too_long_gives_its_first_frames(film):
  assert known(film) == ((0, 1, 2, 3), [0, 1, 2, 3])


def test_frames_are_taken_at_the_stride_or_the_rate_of_the_model(film):
  assert known(film, stride=4) == ((0, 1, 2, 3), [0, 4, 8, 12])
  assert known(film, target_fps=8.0) == ((0, 1, 2, 3), [0, 3, 6, 9])
  assert known(film, at=(1, 3), stride=4) == ((1, 3), [0, 4])


@pytest.mark.parametrize(
  ('prepared_at', 'taken'), [(['--stride=4'], [0, 4, 8, 12]), (['--fps=8'], [0, 3, 6, 9])]
)
def test_frames_are_taken_at_the_rate_of_a_prepared_set(film, tmp_path, prepared_at, taken):
  """Whatever the configuration says: the clips were cut when the set was made."""
  (tmp_path / 'films').mkdir()
  film.rename(tmp_path / 'films' / 'a.mkv')
  out = tmp_path / 'set'
  where = [f'--path={tmp_path}/films', f'--out={out}', '--splits=train', '--test_share=0']
  how = ['--source=folder', '--size=16', '--frames=4', '--workers=0', *prepared_at]
  assert prepare.main([*where, *how]) == 0
  source = make_source('arrayrecord', path=str(out), frames=4, size=16, split='train')
  cfg = settings.build(settings.Config, hybrid.get_config('small').to_dict())
  data = clip_sources.with_timing(cfg, source).data
  of_set = known(tmp_path / 'films' / 'a.mkv', stride=data.stride, target_fps=data.target_fps)
  assert of_set == ((0, 1, 2, 3), taken)
  whole = dataclasses.replace(cfg, data=data)
  assert settings.build(settings.Config, settings.as_dict(whole)) == whole  # as config.json has it
  source.timing = {'stride': None, 'fps': None}  # of an earlier version
  assert clip_sources.with_timing(cfg, source) is cfg


def test_a_clip_too_short_gives_what_it_has(film):
  assert known(film, frames=16, stride=8) == ((0, 1, 2), [0, 8, 16])
  with pytest.raises(ValueError, match=r'gives 3 frames at stride 8, .* --at has 4'):
    known(film, at=(0, 1, 2, 3), stride=8)


def test_without_a_clock_frames_are_those_of_the_model(tmp_path):
  path = tmp_path / 'a.npy'
  np.save(path, np.broadcast_to(LEVELS[:, None, None, None], (24, 16, 16, 3)))
  assert known(path, target_fps=8.0) == ((0, 1, 2, 3), [0, 1, 2, 3])
