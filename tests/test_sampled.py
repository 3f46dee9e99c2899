"""What the verb `sample` writes: all of it, in place of an earlier call's, and on from a stop."""

import math

import pytest

from hgdt_jax import sampled, trained
from hgdt_jax.request import Request
from hgdt_jax.sampling import folders


@pytest.mark.parametrize('clip_format', ['mp4', 'png'])
def test_a_call_that_was_stopped_goes_on(finished, tmp_path, monkeypatch, clip_format):
  def sample(out, num=11, seed=3):
    sampled.write(finished, tmp_path / out, Request('gan', num, seed=seed), clip_format)

  write, suffix = folders._WRITERS[clip_format]
  written, drawn, draw = [], [], trained.Trained.draw

  def stopped(clip, path, fps):
    if len(written) == 10:
      raise KeyboardInterrupt
    write(clip, path, fps)
    written.append(path.name)

  def watched(self, *args, first, **options):
    drawn.append(first)
    return draw(self, *args, first=first, **options)

  sample('whole')
  with monkeypatch.context() as patch:
    patch.setitem(folders._WRITERS, clip_format, (stopped, suffix))
    with pytest.raises(KeyboardInterrupt):
      sample('out')
  assert not (tmp_path / 'out').exists()
  kept = tmp_path / 'out.part' / f'clip_0009{suffix}'
  before = kept.stat().st_mtime_ns
  monkeypatch.setattr(trained.Trained, 'draw', watched)
  sample('out')
  assert drawn == [10] and not (tmp_path / 'out.part').exists()
  assert (tmp_path / 'out' / kept.name).stat().st_mtime_ns == before
  contents = [
    {
      p.relative_to(tmp_path / out): p.read_bytes()
      for p in (tmp_path / out).rglob('*.*')
      if p.is_file()
    }
    for out in ('whole', 'out')
  ]
  assert contents[0] == contents[1]
  # What another call has left is not mixed in.
  with monkeypatch.context() as patch:
    written.clear()
    patch.setitem(folders._WRITERS, clip_format, (stopped, suffix))
    with pytest.raises(KeyboardInterrupt):
      sample('out', seed=4)
  drawn.clear()
  sample('out')
  assert drawn == [0, 8]


def test_samples_replace_those_of_an_earlier_call_and_nothing_else(finished, tmp_path):
  def sample(num, clip_format='mp4'):
    sampled.write(finished, tmp_path / 'out', Request('gan', num), clip_format)

  sample(num=5)
  sample(num=2)
  assert sorted(p.name for p in tmp_path.rglob('*')) == ['clip_0000.mp4', 'clip_0001.mp4', 'out']
  sample(num=2, clip_format='png')
  assert {p.suffix for p in (tmp_path / 'out').iterdir()} == {''}
  (tmp_path / 'out' / 'thesis.tex').write_text('')
  with pytest.raises(ValueError, match=r'out is to be replaced as a whole, and holds thesis\.tex'):
    sample(num=2)
  assert (tmp_path / 'out' / 'thesis.tex').exists()


@pytest.mark.parametrize(
  ('asked', 'says'),
  [
    ({'num': 0}, 'num=0: want a number of at least 1'),
    ({'steps': -1}, 'steps=-1: want a number of at least 0'),
    ({'tau': 1.5}, r'tau=1\.5: want a number from 0 to 1'),
    ({'tau': math.nan}, 'tau=nan'),
    ({'guidance': math.nan}, 'guidance=nan: want a number that is finite'),
    ({'rescale': -0.1}, r'rescale=-0\.1'),
    ({'frames': -3}, 'frames=-3'),
    ({'seed': -1}, 'seed=-1'),
    ({'seed': 2**32}, 'seed=4294967296: want a number from 0 to 4294967295'),
    ({'label': -2}, 'label=-2'),
    ({'interval': (0.6, 0.2)}, r'interval=\(0\.6, 0\.2\): want two noise levels'),
    ({'at': (0, 0)}, r'at=\(0, 0\): want different whole numbers'),
    ({'at': (-1,)}, r'at=\(-1,\)'),
  ],
)
def test_what_cannot_be_asked_for_is_refused_in_python_too(asked, says):
  with pytest.raises(ValueError, match=says):
    Request(**asked)


def test_the_least_and_the_most_can_be_asked_for():
  asked = Request(num=1, tau=0.0, seed=2**32 - 1, rescale=1, guidance=-1.5, at=(3, 0))
  assert (asked.tau, asked.seed, asked.at) == (0.0, 2**32 - 1, (3, 0))


def test_given_frames_may_be_named_by_a_text(finished, tmp_path):
  with pytest.raises(FileNotFoundError, match=r'none\.png: no such file'):
    asked = Request('diffusion', 1, condition=str(tmp_path / 'none.png'))
    sampled.draw(trained.Trained.load(finished), asked)


def test_places_of_no_frames_are_refused(finished):
  with pytest.raises(ValueError, match='--at=0,3: of which frames'):
    sampled.draw(trained.Trained.load(finished), Request('diffusion', 1, at=(0, 3)))
