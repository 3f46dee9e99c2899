"""Folders of clips: what is cut, dropped and paired."""

import collections
import dataclasses
import warnings

import av
import numpy as np
import pytest
from PIL import Image

from hgdt_jax import clip_decoder, scoring
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.clip_folders import Folders
from hgdt_jax.metrics import measures, score
from input_pipeline import video_files

NAMES = ['frechet_random_conv3d', 'motion_ratio']
CUT = Cut(frames=8)


def write_video(path, video, rate=8):
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('ffv1', rate=rate, width=video.shape[2], height=video.shape[1])
    stream.pix_fmt = 'bgr0'
    for frame in video:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
    container.mux(stream.encode())


def test_windows():
  starts = lambda length, **cut: (
    Cut(**cut).windows(video_files.Info(length, 32, 32, 0.0))[:, 0].tolist()
  )
  assert starts(16) == [0] and starts(63) == [0]
  assert starts(63, window_stride=16) == [0, 16, 32] and starts(64, window_stride=16)[-1] == 48
  assert starts(31, stride=2) == [0]
  for length, stride in ((15, 1), (30, 2)):
    with pytest.raises(
      video_files.BadClip, match=f'too short: {length} frames, {length + 1} needed'
    ):
      starts(length, stride=stride)


def test_windows_at_a_rate_are_counted_in_its_instants_and_span_no_gap():
  """50 a second read at 25, with a second's gap between frames 19 and 20."""
  stamps = np.concatenate([20 * np.arange(20), 1400 + 20 * np.arange(12)])
  info = video_files.Info(32, 32, 32, 50.0, stamps, 0.001)
  cut = Cut(frames=4, window_stride=4, fps=(25.0, 0.0))
  assert cut.windows(info).tolist() == [[0, 2, 4, 6], [8, 10, 12, 14], [20, 22, 24, 26]]
  plain = Cut(frames=8, window_stride=8).windows(info, 1)
  assert plain[:, 0].tolist() == [0, 8, 20] and plain[-1].tolist() == list(range(20, 28))


def test_both_sides_can_be_read_at_one_rate(tmp_path, make_clips):
  """The same motion from files of 16 and 8 frames a second: equal clips, and a word if unasked."""
  for name in ('real', 'fake'):
    (tmp_path / name).mkdir()
  for i, video in enumerate(make_clips(2, 8, size=32)):
    write_video(tmp_path / 'fake' / f'{i}.mkv', video)
    write_video(tmp_path / 'real' / f'{i}.mkv', np.repeat(video, 2, axis=0), rate=16)
  sides = tmp_path / 'real', tmp_path / 'fake'
  with pytest.warns(UserWarning, match='real clips have 16 frames a second, generated ones 8:'):
    scoring.score_folders(*sides, ['psnr'], CUT)
  for fps in ((8.0, 8.0), (8.0, 0.0)):
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      scores = scoring.score_folders(*sides, ['psnr'], Cut(frames=8, fps=fps)).scores
    assert scores['psnr'].value == np.inf and scores['psnr'].stamp['fps'] == 8.0
    assert '8.0 fps' in scoring.table(scores)


@pytest.mark.parametrize('clockless', ['real', 'fake'])
def test_a_side_whose_rate_is_not_known_is_told(tmp_path, make_clips, clockless):
  """Without a word, 25 frames a second would be compared with frames of any speed."""
  for name in ('real', 'fake'):
    (tmp_path / name).mkdir()
    for i, video in enumerate(make_clips(2, 8)):
      if name == clockless:
        np.save(tmp_path / name / f'{i}.npy', video)
      else:
        write_video(tmp_path / name / f'{i}.mkv', video)
  sides = tmp_path / 'real', tmp_path / 'fake'
  of = {'real': 'real', 'fake': 'generated'}
  other = of['fake' if clockless == 'real' else 'real']
  told = f'{of[clockless]} clips have no clock, so their rate is not known; {other} ones have 8 fra'
  with pytest.warns(UserWarning, match=told):
    Folders(*sides, CUT, 4)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    for side in sides:
      Folders(side, side, CUT, 4)


def test_how_a_file_is_stored_is_known_from_the_first_look(tmp_path, make_clips):
  """A file need not be opened again for it: it is told of files that are gone."""
  write_video(tmp_path / 'a.mkv', make_clips(1, 8)[0])
  found = Folders(tmp_path, tmp_path, CUT, 4)
  (tmp_path / 'a.mkv').unlink()
  assert found.real.facts['stored_as'] == 'mkv ffv1 bgr0'


def test_a_rate_needs_a_clock(folders):
  with pytest.raises(ValueError, match='no clock in it, so it cannot be read at a target fps'):
    scoring.score_folders(*folders, NAMES, Cut(frames=4, fps=(8.0, 8.0)))


def test_windows_of_a_file_share_a_group(folders):
  cut = Cut(frames=4, window_stride=4)
  stamp = scoring.score_folders(*folders, ['motion_ratio'], cut).scores['motion_ratio'].stamp
  assert stamp['clips_real'] == 12
  most, said = Cut(frames=4, window_stride=4, max_clips=5), []
  result = scoring.score_folders(*folders, ['motion_ratio'], most, say=said.append)
  stamp = result.scores['motion_ratio'].stamp
  assert stamp['clips_real'] == stamp['clips_fake'] == 5
  assert all('; 5 of all, drawn by --seed, are scored' in told for told in said[1:]) and said[2:]


def test_any_kind_and_size_of_clip(folders, make_clips):
  real, _ = folders
  write_video(real / 'film.mkv', make_clips(1, 5, size=48)[0])
  (real / 'frames').mkdir()
  for t, frame in enumerate(make_clips(1, 6, size=40)[0]):
    Image.fromarray(frame).save(real / 'frames' / f'{t}.png')
  result = scoring.score_folders(*folders, NAMES, CUT)
  stamp = result.scores['motion_ratio'].stamp
  assert stamp['clips_real'] == 6
  assert stamp['resolution_real'] == '32x32, 40x40, 48x48' and stamp['resolution_fake'] == '32x32'
  sized = scoring.score_folders(*folders, NAMES, Cut(frames=8, size=24))
  stamp = sized.scores['motion_ratio'].stamp
  assert stamp['resolution'] == '24x24' and 'antialias' in stamp['resize_of_files']


def test_bad_files_are_dropped_with_a_reason(folders, make_clips):
  real, fake = folders
  (real / '00.mp4').write_bytes(b'')
  np.savez(real / '9.npz', video=make_clips(1, 0, frames=5)[0])
  # the first frame is fine, the sixth is not: found only when it is read
  (fake / '2.npz').unlink()
  (fake / '2').mkdir()
  for t, frame in enumerate(make_clips(1, 0)[0]):
    Image.fromarray(frame).save(fake / '2' / f'{t}.png')
  (fake / '2' / '5.png').write_bytes(b'no picture')
  result = scoring.score_folders(real, fake, NAMES, CUT)
  reasons = {path.name: reason for path, reason in result.dropped}
  assert set(reasons) == {'00.mp4', '9.npz', '2'}
  assert 'cannot be read' in reasons['2']
  assert reasons['00.mp4'] == 'empty file'
  assert reasons['9.npz'] == 'too short: 5 frames, 8 needed'
  assert result.scores['motion_ratio'].stamp['clips_real'] == 4
  assert result.scores['motion_ratio'].stamp['clips_fake'] == 3


@pytest.fixture
def counted(monkeypatch):
  """Counts calls of the decoder and clips that are measured, by name."""
  counts = collections.Counter()
  read, make = video_files.read, measures.make

  def counting_read(path, *args):
    counts['read'] += 1
    return read(path, *args)

  def counting_make(name, load):
    measure = make(name, load)

    def rows(*clips):
      counts[name] += len(clips[0])
      return measure.rows(*clips)

    return dataclasses.replace(measure, rows=rows)

  monkeypatch.setattr(video_files, 'read', counting_read)
  monkeypatch.setattr(measures, 'make', counting_make)
  return counts


@pytest.fixture
def damaged(tmp_path, make_clips):
  """Two folders of 12 files of 12 frames; in each, the last frames of some are missing."""
  lost = {'real': (0, 2, 5, 11), 'fake': (1, 4, 5, 6)}
  for name, seed in (('real', 1), ('fake', 2)):
    (tmp_path / name).mkdir()
    for i, clip in enumerate(make_clips(12, seed, frames=12)):
      path = tmp_path / name / f'{i:02d}.npy'
      np.save(path, clip)
      if i in lost[name]:
        path.write_bytes(path.read_bytes()[: -2 * clip[0].size - 1])
  return tmp_path, lost


def without(root, left_out, whole=0):
  """A copy of the folders in which the files of these numbers end after `whole` frames, if any."""
  for name, numbers in left_out.items():
    (root / 'whole' / name).mkdir(parents=True)
    for path in (root / name).iterdir():
      if int(path.stem) not in numbers:
        (root / 'whole' / name / path.name).write_bytes(path.read_bytes())
      elif whole:
        clip = video_files.read(path, range(whole))
        np.save(root / 'whole' / name / path.name, clip)
  return root / 'whole' / 'real', root / 'whole' / 'fake'


@pytest.mark.parametrize('held', [2**30, 0])  # 0: as files whose clips do not fit in memory
@pytest.mark.parametrize(
  'cut',
  [
    Cut(frames=12),
    Cut(frames=4, window_stride=4),
    Cut(frames=4, window_stride=4, max_clips=8),
  ],
)
def test_damaged_files_cost_one_reading(damaged, counted, cut, held, monkeypatch):
  """The clips before the damage are used: the scores are those of files that end before it."""
  monkeypatch.setattr(clip_decoder, '_HELD', held)
  root, lost = damaged
  names = ['frechet_random_conv3d', 'recall_random_conv3d', 'motion_ratio']
  how = score.Uncertainty(bootstrap=3)
  got = scoring.score_folders(root / 'real', root / 'fake', names, cut, uncertainty=how, batch=3)
  seen = dict(counted)
  counted.clear()
  ended = without(root, lost, 9 if cut.frames < 9 else 0)
  want = scoring.score_folders(*ended, names, cut, uncertainty=how, batch=3)
  assert got.scores.keys() == want.scores.keys()
  for name, one in want.scores.items():
    assert got.scores[name].value == pytest.approx(one.value, rel=1e-5), name
    interval = one.stamp.pop('interval', None)
    assert got.scores[name].stamp.pop('interval', None) == pytest.approx(interval, rel=1e-4)
    assert got.scores[name].stamp == one.stamp
  if not cut.max_clips:
    left_out = {(path.parent.name, int(path.stem)) for path, _ in got.dropped}
    assert left_out == {(name, i) for name, numbers in lost.items() for i in numbers}
    said = 'ends at frame 9, where the file promised more'
    if cut.frames < 9:
      said = f'from its clip 3 on, those before that are used: {said}'
    assert {reason for _, reason in got.dropped} == {said}
  measured = {name: count for name, count in seen.items() if name != 'read'}
  assert measured == {name: count for name, count in counted.items() if name != 'read'}
  windows_of_one = len(cut.windows(video_files.Info(12, 32, 32, 0.0)))
  assert seen['read'] <= counted['read'] + 8 * windows_of_one


def test_pairs_are_cut_off_where_either_file_is_damaged(damaged, counted):
  """What is found damaged is not read again, whichever walk found it."""
  root, lost = damaged
  either = {*lost['real'], *lost['fake']}
  whole = without(root, {'real': either, 'fake': either}, 9)
  cut = Cut(frames=6, window_stride=6)
  want = scoring.score_folders(*whole, ['psnr'], cut).scores['psnr']
  counted.clear()
  got = scoring.score_folders(root / 'real', root / 'fake', ['psnr'], cut).scores['psnr']
  assert (got.value, got.stamp) == (pytest.approx(want.value, rel=1e-9), want.stamp)
  assert counted['psnr'] == 2 * 12 - len(either)
  assert counted['read'] <= 2 * 2 * 12
  counted.clear()
  names = ['psnr', 'motion_ratio']
  both = scoring.score_folders(root / 'real', root / 'fake', names, cut).scores
  assert both['psnr'].value == got.value and both['motion_ratio'].stamp['clips_real'] == 20
  assert counted['read'] <= 2 * (2 * 12 + 2 * 12 - len(either))


def test_real_clips_that_are_all_damaged_are_an_error(damaged):
  root, _ = damaged
  for path in (root / 'real').iterdir():
    path.write_bytes(path.read_bytes()[:-9])
  for name in ('motion_ratio', 'psnr'):
    with pytest.raises(ValueError, match=r'none of 12 clips can be used; .*00.npy: ends at fr'):
      scoring.score_folders(root / 'real', root / 'fake', [name], Cut(frames=12))
  with pytest.raises(ValueError, match='recall_random_conv3d needs at least 4 clips'):
    scoring.score_folders(
      root / 'fake', root / 'fake', ['recall_random_conv3d'], Cut(frames=12, max_clips=3)
    )


def test_damaged_real_files_and_the_cache(damaged, counted):
  """What is kept is of the files that were used: it is found again when the others are removed."""
  root, lost = damaged
  cut = Cut(frames=12)
  run = lambda real: scoring.score_folders(
    real, root / 'fake', ['frechet_random_conv3d'], cut, cache=root / 'cache'
  )
  first = run(root / 'real')
  again = run(root / 'real')
  assert first == again and len(first.dropped) == 8
  counted.clear()
  whole = run(without(root, lost)[0])
  assert whole.scores['frechet_random_conv3d'] == first.scores['frechet_random_conv3d']
  assert counted['read'] == 12, 'those of the generated clips only'


def test_pairs_stay_pairs_when_a_file_is_dropped(folders, make_clips):
  """The second generated file is too short: the third must still meet the third."""
  real, fake = folders
  for path in sorted(real.iterdir()):
    (fake / path.name).write_bytes(path.read_bytes())
  np.savez(fake / '1.npz', video=make_clips(1, 0, frames=3)[0])
  result = scoring.score_folders(real, fake, ['psnr', 'ssim'], CUT)
  assert result.scores['psnr'].value == float('inf')
  assert result.scores['psnr'].stamp['clips_real'] == 3
  (fake / '1.npz').unlink()
  with pytest.raises(ValueError, match='psnr compares clip with clip: it needs as many real as'):
    scoring.score_folders(real, fake, ['psnr'], CUT)
