"""Which frames make a clip: strides, target rates, short files, several windows."""

import numpy as np
import pytest

from input_pipeline import containers
from input_pipeline.clip import BadClip, Info
from input_pipeline.folder import Folder
from input_pipeline.sampling import Sampling, TooShort


def info(frames, stamps=None, tick=0.001):
  return Info(frames, 32, 32, 25.0, None if stamps is None else np.asarray(stamps), tick)


def test_stride():
  sampling = Sampling(4, stride=3)
  assert sampling.starts(info(10)) == 1 and sampling.starts(info(13)) == 4
  assert sampling.indices(info(13), 3).tolist() == [3, 6, 9, 12]


@pytest.mark.parametrize(('short', 'want'), [('loop', [0, 1, 2, 0, 1]), ('pad', [0, 1, 2, 2, 2])])
def test_short_files_by_choice(short, want):
  sampling = Sampling(5, short=short)
  assert sampling.starts(info(3)) == 1 and sampling.clips(info(3)) == 1
  assert sampling.indices(info(3), sampling.start(info(3), 0)).tolist() == want
  assert sampling.starts(info(7)) == 3, 'long files are as ever'


def test_short_files_are_dropped_with_a_reason():
  with pytest.raises(TooShort, match='too short: 3 frames, 9 needed'):
    Sampling(5, stride=2).starts(info(3))
  with pytest.raises(TooShort, match='too short: 3 frames, 5 at 10 a second needed'):
    Sampling(5, fps=10.0).starts(info(3, [0, 100, 200]))


def test_target_rate_of_a_faster_file():
  """50 a second read at 25: every second frame."""
  clip = info(21, 20 * np.arange(21))
  sampling = Sampling(4, fps=25.0)
  assert sampling.indices(clip, 3).tolist() == [3, 5, 7, 9]
  assert sampling.starts(clip) == 15 and sampling.indices(clip, 14).tolist() == [14, 16, 18, 20]


def test_target_rate_of_a_slower_file_repeats_frames():
  assert Sampling(6, fps=25.0).indices(info(9, 100 * np.arange(9)), 2).tolist() == [
    2, 2, 3, 3, 4, 4,
  ]  # fmt: skip


def test_target_rate_follows_a_varying_clock():
  """Each frame is the one whose stamp is nearest, not the one of that number."""
  stamps = [0, 40, 200, 240, 280, 480, 500, 600]
  assert Sampling(5, fps=10.0).indices(info(8, stamps), 0).tolist() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize('rate', [24, 30, 50, 60])
def test_stamps_rounded_to_a_millisecond_repeat_no_frame(rate):
  """As Matroska and WebM keep them; from every start."""
  clip = info(60, [round(1000 * k / rate) for k in range(60)])
  sampling = Sampling(16, fps=float(rate))
  assert sampling.starts(clip) == 45
  for start in range(45):
    assert sampling.indices(clip, start).tolist() == list(range(start, start + 16))


def test_jitter_repeats_no_frame():
  clip = info(40, 33 * np.arange(40) + np.random.default_rng(0).integers(-8, 9, 40))
  frames = Sampling(16, fps=1000 / 33).indices(clip, 0)
  assert np.diff(frames).tolist() == [1] * 15


@pytest.mark.parametrize('sampling', [Sampling(4), Sampling(4, fps=25.0)])
def test_a_gap_longer_than_the_clip_is_a_cut(sampling):
  stamps = np.concatenate([40 * np.arange(6), 9000 + 40 * np.arange(5)])
  clip = info(11, stamps)
  assert sampling.starts(clip) == 5
  starts = [sampling.nth_start(clip, n) for n in range(5)]
  assert starts == [0, 1, 2, 6, 7]
  assert [sampling.indices(clip, s).tolist() for s in starts] == [
    list(range(s, s + 4)) for s in starts
  ]
  assert {sampling.start(clip, k) for k in range(sampling.clips(clip))} <= set(starts)


def test_a_gap_shorter_than_the_clip_is_none():
  clip = info(20, np.concatenate([40 * np.arange(10), 480 + 40 * np.arange(10)]))
  assert Sampling(8).starts(clip) == 13


@pytest.mark.parametrize(('short', 'want'), [('pad', [3, 4, 5, 5, 5]), ('loop', [3, 4, 5, 3, 4])])
@pytest.mark.parametrize('rate', [{}, {'fps': 25.0}])
def test_where_gaps_leave_too_little_its_longest_part_is_taken(short, want, rate):
  clip = info(8, [0, 40, 4000, 9000, 9040, 9080, 20000, 20040])
  sampling = Sampling(5, short=short, **rate)
  assert sampling.indices(clip, sampling.start(clip, 0)).tolist() == want
  with pytest.raises(TooShort, match='8 frames in 4 parts'):
    Sampling(5, **rate).starts(clip)


def test_repeated_stamps_leave_the_clock():
  assert Sampling(5, fps=25.0).indices(info(6, [0, 40, 80, 80, 160, 200]), 0).tolist() == [
    0,
    1,
    3,
    3,
    4,
  ]


def test_target_rate_of_short_files():
  clip = info(3, [0, 100, 200])
  assert Sampling(5, fps=10.0, short='pad').indices(clip, 0).tolist() == [0, 1, 2, 2, 2]
  assert Sampling(5, fps=10.0, short='loop').indices(clip, 0).tolist() == [0, 1, 2, 0, 1]


def test_no_clock_no_target_rate():
  with pytest.raises(BadClip, match='no clock'):
    Sampling(5, fps=10.0).starts(info(50))


@pytest.mark.parametrize('sampling', [Sampling(8), Sampling(4, 2), Sampling(8, windows=5)])
def test_windows_are_spread_from_end_to_end(sampling):
  clip = info(100)
  starts = [sampling.start(clip, k) for k in range(sampling.clips(clip))]
  assert starts[0] == 0 and sampling.indices(clip, starts[-1])[-1] == 99
  assert max(np.diff(starts)) - min(np.diff(starts)) <= 1


@pytest.mark.parametrize(
  ('wrong', 'word'),
  [({'frames': 0}, 'frames'), ({'stride': 0}, 'stride'), ({'fps': -1.0}, 'fps'),
   ({'windows': -1}, 'windows'), ({'short': 'crop'}, 'short'), ({'fps': 5.0, 'stride': 2}, 'fps')],
)  # fmt: skip
def test_wrong_values_are_named(wrong, word):
  with pytest.raises(ValueError, match=word):
    Sampling(**({'frames': 4} | wrong))


def test_no_two_windows_are_the_same():
  sampling = Sampling(4, windows=5)
  assert [sampling.start(info(6), k) for k in range(sampling.clips(info(6)))] == [0, 1, 2]
  assert sampling.clips(info(4)) == 1


def test_a_folder_at_a_target_rate(tmp_path, clips):
  """The same motion from files of 50 and 25 frames a second, and a clip that is too short."""
  clips.write(tmp_path / 'fast.mkv', clips.numbered(40), fps=50)
  clips.write(tmp_path / 'slow.mkv', clips.numbered(40)[::2], fps=25)
  clips.write(tmp_path / 'short.mkv', clips.numbered(6), fps=50)
  source = Folder(tmp_path, 8, 16, 'train', test_share=0, fps=12.5, windows=1)
  assert len(source) == 2 and source.short == 1
  numbers = [[clips.number_of(f) for f in source[i]['video']] for i in range(2)]
  assert np.diff(numbers).tolist() == [[4] * 7] * 2
  assert source.origin(0) == {'file': 'fast.mkv', 'start': 5, 'fps': 12.5}


def test_short_clips_can_be_kept(tmp_path, clips):
  np.save(tmp_path / 'a.npy', clips.numbered(3))
  np.save(tmp_path / 'b.npy', clips.numbered(9))
  source = Folder(tmp_path, 5, 16, 'train', test_share=0, short='loop', windows=1)
  assert [clips.number_of(f) for f in source[0]['video']] == [0, 1, 2, 0, 1]
  assert not source.rejected and source.short == 0


@pytest.mark.parametrize('rate', [{}, {'fps': 25.0}])
def test_a_stray_frame_before_a_gap_changes_nothing_but_the_numbers(rate):
  whole, rule = info(300, 40 * np.arange(300)), Sampling(16, **rate)
  stray = info(301, np.concatenate([[0], 9000 + 40 * np.arange(300)]))
  assert rule.clips(stray) == rule.clips(whole) == 36
  starts = [[rule.start(clip, k) for k in range(36)] for clip in (whole, stray)]
  assert starts[1] == [start + 1 for start in starts[0]]
  assert rule.beginning(whole).tolist() == list(range(16))
  assert rule.beginning(stray).tolist() == list(range(1, 17))


def test_missing_stamps_are_filled_in():
  clock = lambda *stamps: containers._clock(list(stamps), 0, 25.0, 0.001)
  for stamps in ((None, None, 80, 120, None, None), (0, None, None, 120, 160, 200), (None,) * 6):
    filled, exact = clock(*stamps)
    assert filled.tolist() == [0, 40, 80, 120, 160, 200] and not exact
  assert clock(0, 40, 80)[1]
