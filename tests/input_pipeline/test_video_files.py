"""Reading of single clips: every format gives the frames asked for."""

import numpy as np
import pytest
from PIL import Image

from input_pipeline import resize, video_files
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
