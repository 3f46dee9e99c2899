"""Reading of single clips: every format gives the frames asked for."""

import dataclasses

import av
import numpy as np
import pytest
from PIL import Image

from input_pipeline import containers, resize, video_files
from input_pipeline.clip import BadClip

NAMES = [f'a{ending}' for ending in (*video_files.VIDEOS, *video_files.ARRAYS)] + ['frames']


@pytest.fixture(scope='module', params=NAMES)
def clip(request, tmp_path_factory, clips):
  """A clip of 40 numbered frames, 48 wide and 32 high, in each format."""
  path = tmp_path_factory.mktemp('formats') / request.param
  video = clips.numbered(40, 32, 48)
  if path.suffix == '.npz':
    np.savez_compressed(path, video=video)
  elif path.suffix == '.npy':
    np.save(path, video)
  elif not path.suffix:
    path.mkdir()
    for k, image in enumerate(video):  # 0.png, 1.png, .. 10.png: natural order
      Image.fromarray(image).save(path / f'{k}.{("png", "jpg", "webp", "bmp")[k % 4]}')
  else:
    clips.write(path, video)
  return path


def test_probe_knows_the_clip(clip):
  info = video_files.probe(clip)
  assert (info.frames, info.height, info.width) == (40, 32, 48)
  if clip.suffix in video_files.VIDEOS:
    assert info.fps == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize('frames', [range(40), range(20, 36), [30], [5, 3, 3, 39], range(0, 40, 3)])
def test_read_gives_exactly_the_frames_asked_for(clip, clips, frames):
  video = video_files.read(clip, frames)
  assert video.shape == (len(frames), 32, 48, 3) and video.dtype == np.uint8
  assert [clips.number_of(frame) for frame in video] == list(frames)


def test_reading_ahead_is_reading_all(clip):
  """A seek lands on the same bytes as decoding from the start."""
  info = video_files.probe(clip)
  whole = video_files.read(clip, range(40), size=16, info=info)
  assert whole.shape == (40, 16, 16, 3)
  np.testing.assert_array_equal(video_files.read(clip, range(25, 33), 16, info), whole[25:33])


def test_beyond_the_end_is_an_error(clip):
  with pytest.raises(BadClip, match='ends at frame 40'):
    video_files.read(clip, range(38, 42))


def test_real_recordings_seek_to_the_same_bytes(shared_clips):
  path = shared_clips / 'asl' / 'thanks.mkv'
  info = video_files.probe(path)
  whole = video_files.read(path, range(info.frames), 32, info)
  np.testing.assert_array_equal(video_files.read(path, range(30, 46), 32, info), whole[30:46])


@pytest.mark.parametrize(('height', 'width'), [(48, 64), (64, 48), (33, 57)])
def test_resize_is_antialiased_bilinear_of_the_short_side_and_the_centre(height, width):
  y, x = np.mgrid[:height, :width]
  image = (127 + 120 * np.sin((x * x + y * y) / 60)).astype(np.uint8)[..., None].repeat(3, -1)
  got = resize.from_array(image, 16)
  scale = 16 / min(height, width)
  size = (max(16, round(width * scale)), max(16, round(height * scale)))
  want = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
  top, left = (want.shape[0] - 16) // 2, (want.shape[1] - 16) // 2
  assert got.shape == (16, 16, 3)
  assert np.abs(got - want[top : top + 16, left : left + 16].astype(int)).mean() < 1.5


def test_a_recording_that_begins_between_key_frames_has_the_frames_that_are_decoded(
  tmp_path, clips
):
  """Frames without the one that they lean on are not counted, so none of the others moves."""
  whole = clips.write(
    tmp_path / 'a.ts', clips.numbered(40, 64, 64), options={'g': '10', 'bf': '2'}
  ).read_bytes()
  path = tmp_path / 'b.ts'
  path.write_bytes(whole[8 * 188 :])
  info = video_files.probe(path)
  first = 40 - info.frames
  assert 0 < first <= 10 and info.exact
  for k in (0, 3, info.frames - 1):  # read on the way, and sought
    assert clips.number_of(video_files.read(path, [k], 16, info)[0]) == first + k


@pytest.mark.parametrize('wanted', [[5, 6], [30, 31]])  # read on the way, and sought
def test_a_frame_that_the_decoder_drops_moves_no_other(tmp_path, clips, monkeypatch, wanted):
  path = clips.write(tmp_path / 'a.mkv', clips.numbered(40))
  info = video_files.probe(path)
  frames = containers._frames
  lost = int(info.stamps[wanted[0]])
  monkeypatch.setattr(
    containers, '_frames', lambda *file: (f for f in frames(*file) if f.pts != lost)
  )
  with pytest.raises(BadClip, match=f'frame {wanted[0]} is damaged: nothing was decoded of it'):
    video_files.read(path, wanted, 16, info)
  assert clips.number_of(video_files.read(path, wanted[1:], 16, info)[0]) == wanted[1]


def test_a_frame_of_no_known_stamp_is_an_error(tmp_path, clips):
  """As of a file that was written anew since it was looked at."""
  path = clips.write(tmp_path / 'a.mkv', clips.numbered(20))
  info = video_files.probe(path)
  other = dataclasses.replace(info, stamps=info.stamps + 7)
  with pytest.raises(BadClip, match='a frame at stamp 0, which no packet of the file has'):
    video_files.read(path, [3], 16, other)


@pytest.mark.parametrize('flags', ['frag_keyframe+empty_moov+default_base_moof', 'dash'])
def test_a_fragmented_mp4_that_was_cut_off_gives_the_frames_before_the_cut(tmp_path, clips, flags):
  """Wherever it was cut: in pictures, in the table of a fragment, or between the two."""
  path = tmp_path / 'a.mp4'
  with av.open(str(path), 'w', container_options={'movflags': flags}) as container:
    stream = container.add_stream('libx264', rate=25, options={'bf': '2', 'g': '10'})
    stream.height, stream.width, stream.pix_fmt = 32, 32, 'yuv420p'
    for image in clips.numbered(40):
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
    container.mux(stream.encode())
  content = path.read_bytes()
  second = content.index(b'moof', content.index(b'moof') + 4)
  counts = []
  for cut in range(second + 8, len(content), 11):
    path.write_bytes(content[:cut])
    info = video_files.probe(path)
    video = video_files.read(path, range(info.frames), None, info)
    assert [clips.number_of(frame) for frame in video] == list(range(info.frames))
    counts.append(info.frames)
  assert counts == sorted(counts) and 8 <= counts[0] <= 10 and counts[-1] == 40


@pytest.mark.parametrize(
  ('codec', 'kind', 'name'), [('libx264', 'h264', 'H.264'), ('libx265', 'hevc', 'H.265')]
)
def test_a_stream_in_no_container_is_told(tmp_path, clips, codec, kind, name):
  path, options = tmp_path / 'a.mp4', {'x265-params': 'log-level=none'} if kind == 'hevc' else {}
  with av.open(str(path), 'w', format=kind) as container:
    stream = container.add_stream(codec, rate=25, options=options)
    stream.height, stream.width, stream.pix_fmt = 64, 64, 'yuv420p'
    for image in clips.numbered(3, 64, 64):
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
    container.mux(stream.encode())
  with pytest.raises(BadClip, match=f'a raw {name} stream, in no container: remux it, ffmpeg '):
    video_files.probe(path)
