"""Clips written and read back."""

import json

import av
import numpy as np
import pytest
from PIL import Image

from hgdt_jax.sampling import clips as clips_lib
from hgdt_jax.sampling import folders


def moving_discs(number, frames, height, width):
  """A smooth coloured disc per clip that crosses the picture, uint8 `[N, T, H, W, 3]`."""
  y, x = np.mgrid[:height, :width]
  out = np.empty((number, frames, height, width, 3), np.uint8)
  for n in range(number):
    for t in range(frames):
      centre = width * (0.2 + 0.6 * t / max(frames - 1, 1))
      distance = np.hypot(y - height / 2, x - centre)
      disc = np.clip(width / 4 - distance, 0, 1)[..., None]
      out[n, t] = 30 + disc * np.array([200, 40 * n, 150 - 20 * n])
  return out


def read(path):
  with av.open(str(path)) as container:
    return np.stack([frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)])


def pixel_format(path):
  with av.open(str(path)) as container:
    return container.streams.video[0].codec_context.pix_fmt


def psnr(a, b):
  error = np.mean((a.astype(float) - b.astype(float)) ** 2)
  return 10 * np.log10(255**2 / max(error, 1e-12))


@pytest.mark.parametrize('size', [(32, 32), (33, 31)])
def test_mp4_keeps_every_pixel_even_of_noise_and_at_odd_sizes(tmp_path, size):
  noise = np.random.default_rng(0).integers(0, 256, (2, 5, *size, 3), dtype=np.uint8)
  paths = folders.write_clips(noise, tmp_path)
  assert [path.name for path in paths] == ['clip_0000.mp4', 'clip_0001.mp4']
  for clip, path in zip(noise, paths):
    np.testing.assert_array_equal(read(path), clip)


def test_lossless_mp4_is_tagged_as_rgb(tmp_path):
  """Untagged, Chromium shows wrong colours (measured), though ffmpeg reads the right ones."""
  clips_lib.write_mp4(moving_discs(1, 4, 32, 32)[0], tmp_path / 'a.mp4')
  with av.open(str(tmp_path / 'a.mp4')) as container:
    context = container.streams.video[0].codec_context
    tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
  assert tags == (1, 13, 0, 2)  # BT.709 primaries, sRGB transfer, no matrix, full range


def test_mp4_keeps_the_rate(tmp_path):
  clips_lib.write_mp4(moving_discs(1, 4, 32, 32)[0], tmp_path / 'a.mp4', fps=12.5)
  with av.open(str(tmp_path / 'a.mp4')) as container:
    assert float(container.streams.video[0].average_rate) == 12.5


def test_mp4_for_browsers_is_420_even_and_close(tmp_path):
  clip = moving_discs(1, 6, 65, 63)[0]
  clips_lib.write_mp4(clip, tmp_path / 'a.mp4', lossless=False)
  assert pixel_format(tmp_path / 'a.mp4') == 'yuv420p'
  back = read(tmp_path / 'a.mp4')
  assert back.shape == (6, 66, 64, 3)
  assert psnr(back[:, :65, :63], clip) > 30


def test_mp4_for_browsers_is_of_high_profile_tagged_and_begins_with_its_index(tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (1, 5, 33, 31, 3), dtype=np.uint8)
  (path,) = folders.write_clips(noise, tmp_path, 12.5, format='mp4')
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    context = stream.codec_context
    tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
    assert (stream.profile, float(stream.average_rate)) == ('High', 12.5)
  assert tags == (1, 1, 1, 1)  # BT.709 in all, limited range
  content = path.read_bytes()
  assert content.index(b'moov') < content.index(b'mdat')


def test_mp4_for_browsers_keeps_flat_colours(tmp_path):
  """A wrong matrix or range moves saturated colours by tens of levels."""
  colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
  clip = np.broadcast_to(np.repeat(colours, 16, axis=0)[None, None], (3, 32, 64, 3))
  clips_lib.write_mp4(clip, tmp_path / 'a.mp4', lossless=False)
  centres = read(tmp_path / 'a.mp4')[1, 16, 8::16]
  assert np.abs(centres.astype(int) - colours).max() <= 6


def test_gif_keeps_every_frame_even_of_a_frozen_clip(tmp_path):
  frozen = np.repeat(moving_discs(1, 1, 24, 24), 7, axis=1)
  (path,) = folders.write_clips(frozen, tmp_path, format='gif')
  back = read(path)
  assert back.shape == (7, 24, 24, 3)
  assert psnr(back, frozen[0]) > 35


def test_gif_loops_for_ever(tmp_path):
  clips_lib.write_gif(moving_discs(1, 3, 24, 24)[0], tmp_path / 'a.gif', fps=8)
  with Image.open(tmp_path / 'a.gif') as image:
    assert image.info['loop'] == 0
    assert image.info['duration'] in (120, 130)  # GIF counts hundredths of a second


@pytest.mark.parametrize(
  ('fps', 'frames', 'ends'),
  [
    (8, 8, 100),
    (8, 16, 200),
    (24, 24, 100),
    (30000 / 1001, 30, 100),
    (60, 30, 60),  # 50 a second: no browser shows more
    (0.5, 3, 600),
  ],
)
def test_gif_keeps_the_mean_rate(tmp_path, fps, frames, ends):
  """In hundredths of a second, of which a frame has a whole number."""
  clips_lib.write_gif(moving_discs(1, frames, 24, 24)[0], tmp_path / 'a.gif', fps)
  with Image.open(tmp_path / 'a.gif') as image:
    delays = []
    for i in range(image.n_frames):
      image.seek(i)
      delays.append(image.info['duration'] // 10)
  assert len(delays) == frames and sum(delays) == ends
  assert max(delays) - min(delays) <= 1 and min(delays) >= 2


@pytest.mark.parametrize('fps', [0, -8, 1e-9, np.nan, np.inf])
@pytest.mark.parametrize('format', ['mp4', 'mp4-lossless', 'gif'])
def test_a_rate_that_no_file_can_have_is_refused(tmp_path, fps, format):
  with pytest.raises(ValueError, match=f'fps={fps}: want frames per second from'):
    folders.write_clips(moving_discs(1, 2, 24, 24), tmp_path, fps, format)
  assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_what_a_stopped_call_left_is_not_mixed_with_another_format_or_rate(tmp_path):
  clips = moving_discs(3, 2, 24, 24)

  def stopped(done):
    yield clips[0]
    raise KeyboardInterrupt

  for fps, format in ((8, 'mp4'), (8, 'mp4-lossless'), (12, 'mp4-lossless'), (8, 'png')):
    with pytest.raises(KeyboardInterrupt):
      folders.replace_clips(stopped, tmp_path / 'out', 8, 'mp4', asked='same')
    asked_from = []
    folders.replace_clips(
      lambda done, seen=asked_from: seen.append(done) or clips[done:],
      tmp_path / 'out',
      fps,
      format,
      asked='same',
    )
    assert asked_from == [1 if (fps, format) == (8, 'mp4') else 0]
    assert len(list((tmp_path / 'out').iterdir())) == 3


def test_png_is_a_folder_of_exact_frames_and_can_be_written_again(tmp_path):
  clips = moving_discs(2, 4, 20, 22)
  folders.write_clips(clips[:, :, ::-1], tmp_path, format='png')
  written = folders.write_clips(clips[:, :3], tmp_path, format='png')
  for clip, folder in zip(clips[:, :3], written):
    frames = sorted(folder.iterdir())
    assert [f.name for f in frames] == ['frame_0000.png', 'frame_0001.png', 'frame_0002.png']
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(f)) for f in frames]), clip)
  assert len(list(tmp_path.iterdir())) == 2  # nothing temporary is left


def test_grey_clips_are_written_grey(tmp_path):
  grey = moving_discs(1, 3, 16, 16)[..., :1]
  (path,) = folders.write_clips(grey, tmp_path)
  np.testing.assert_array_equal(read(path), np.repeat(grey[0], 3, axis=-1))


def test_film_strip_shows_first_to_last_frame_in_rows():
  clips = np.empty((2, 9, 32, 32, 3), np.uint8)
  clips[:] = (np.arange(2)[:, None] * 100 + np.arange(9) * 10)[..., None, None, None]
  strip = clips_lib.film_strip(clips, 5)
  assert strip.shape == (2 * 64 + 2, 5 * 64 + 4 * 2, 3)
  centres = strip[32 :: 64 + 2, 32 :: 64 + 2, 0]
  np.testing.assert_array_equal(centres, [[0, 20, 40, 60, 80], [100, 120, 140, 160, 180]])
  assert (strip[64:66] == 255).all() and (strip[:, 64:66] == 255).all()


def test_film_strip_of_a_short_clip_shows_each_frame_once():
  assert clips_lib.film_strip(moving_discs(1, 3, 64, 64), 8).shape == (64, 3 * 64 + 2 * 2, 3)


def test_grid_places_clips_row_by_row_and_plays():
  clips = np.empty((5, 3, 64, 64, 3), np.uint8)
  clips[:] = (np.arange(5)[:, None] * 10 + np.arange(3))[..., None, None, None]
  playing = clips_lib.grid(clips)
  assert playing.shape == (3, 2 * 128 + 2, 3 * 128 + 2 * 2, 3)
  centres = playing[:, 64 :: 128 + 2, 64 :: 128 + 2, 0]
  np.testing.assert_array_equal(centres[0], [[0, 10, 20], [30, 40, 255]])
  np.testing.assert_array_equal(centres[2], [[2, 12, 22], [32, 42, 255]])


def test_write_samples_replaces_the_directory(tmp_path):
  clips = moving_discs(3, 4, 16, 16)
  folders.write_samples(clips, tmp_path / 'hybrid')
  directory = folders.write_samples(clips[:2], tmp_path / 'hybrid', fps=4)
  names = sorted(str(p.relative_to(directory)) for p in directory.rglob('*') if p.is_file())
  assert names == [
    'clips/clip_0000.mp4', 'clips/clip_0001.mp4', 'grid.gif', 'grid.mp4', 'strip.png'
  ]  # fmt: skip
  assert pixel_format(directory / 'grid.mp4') == 'yuv420p'
  with Image.open(directory / 'strip.png') as strip:
    layout = json.loads(strip.text[clips_lib.STRIP_LAYOUT])
    np.testing.assert_array_equal(np.asarray(strip), clips_lib.film_strip(clips[:2]))
  assert layout == {'rows': 2, 'columns': 4, 'gutter': 2}
  assert [p.name for p in tmp_path.iterdir()] == ['hybrid']


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
  clips = moving_discs(1, 3, 16, 16)
  (path,) = folders.write_clips(clips, tmp_path)
  before = path.read_bytes()

  def fails(*args, **kwargs):
    raise OSError('disk full')

  monkeypatch.setattr(clips_lib.av.VideoFrame, 'from_ndarray', fails, raising=False)
  with pytest.raises(OSError, match='disk full'):
    folders.write_clips(clips, tmp_path)
  assert path.read_bytes() == before
  assert [p.name for p in tmp_path.iterdir()] == ['clip_0000.mp4']


@pytest.mark.parametrize(
  ('clips', 'format', 'message'),
  [
    (np.zeros((1, 2, 8, 8, 3), np.uint8), 'webp', 'webp.*mp4, gif, png'),
    (np.zeros((1, 2, 8, 8, 3), np.float32), 'mp4', 'float32.*want uint8'),
    (np.zeros((1, 2, 8, 8, 4), np.uint8), 'mp4', 'C = 1 or 3'),
  ],
)
def test_errors_name_what_was_wrong(tmp_path, clips, format, message):
  with pytest.raises(ValueError, match=message):
    folders.write_clips(clips, tmp_path, format=format)
