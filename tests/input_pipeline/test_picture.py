"""Frames as a player shows them: turned, of square pixels, in the right colours, of one field."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from input_pipeline import video_files
from input_pipeline.clip import BadClip

ONE = 1 << 16


def corners(height=32, width=48):
  """Red, green, blue and white corners on grey."""
  image = np.full((height, width, 3), 128, np.uint8)
  q = height // 2
  image[:q, :q], image[:q, -q:] = (255, 0, 0), (0, 255, 0)
  image[-q:, :q], image[-q:, -q:] = (0, 0, 255), (255, 255, 255)
  return image


def read_corners(image):
  names = {(1, 0, 0): 'R', (0, 1, 0): 'G', (0, 0, 1): 'B', (1, 1, 1): 'W'}
  at = [image[y, x] > 128 for y in (3, -4) for x in (3, -4)]
  return ''.join(names[tuple(map(int, pixel))] for pixel in at)


def write(path, images, codec='libx264', pix_fmt='yuv420p', options=None, **facts):
  """Writes a clip as cameras do; `facts` are attributes of its codec, flags are added."""
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=25, options=options or {'qp': '1'})
    stream.height, stream.width = images[0].shape[:2]
    stream.pix_fmt = pix_fmt
    for name, value in facts.items():
      setattr(stream.codec_context, name, value)
    for image in images:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
    container.mux(stream.encode())
  return path


@pytest.mark.parametrize(
  ('matrix', 'want'),
  [((1, 0, 0, 1), 'RGBW'), ((0, 1, -1, 0), 'BRWG'), ((-1, 0, 0, -1), 'WBGR'),
   ((0, -1, 1, 0), 'GWRB'), ((-1, 0, 0, 1), 'GRWB'), ((1, 0, 0, -1), 'BWRG'),
   ((0, 1, 1, 0), 'RBGW'), ((0, -1, -1, 0), 'WGBR')],
)  # fmt: skip
def test_every_turn_and_mirror_of_a_display_matrix(tmp_path, matrix, want):
  path = write(tmp_path / 'a.mp4', [corners()] * 2)
  content = path.read_bytes()
  at = content.index(b'tkhd') + 44
  a, b, c, d = (ONE * value for value in matrix)
  path.write_bytes(
    content[:at] + struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[at + 36 :]
  )
  info, (image, _) = video_files.probe(path), video_files.read(path, [0, 1])
  assert read_corners(image) == want
  assert image.shape[:2] == (info.height, info.width) == ((48, 32) if b else (32, 48))


@pytest.mark.parametrize(('aspect', 'width'), [((64, 45), 68), ((8, 9), 43), ((1, 1), 48)])
def test_pixels_that_are_not_square_are_widened(tmp_path, aspect, width):
  path = write(tmp_path / 'a.mkv', [corners()], sample_aspect_ratio=Fraction(*aspect))
  info, (image,) = video_files.probe(path), video_files.read(path, [0])
  assert image.shape[:2] == (info.height, info.width) == (32, width)
  assert read_corners(image) == 'RGBW'


@pytest.mark.parametrize(('height', 'matrix'), [(720, 'ITU709'), (480, 'ITU601')])
def test_untagged_colours_are_of_hd_in_hd(tmp_path, height, matrix):
  """A colour as the matrix of its size wrote it comes back."""
  colour = (200, 40, 60)
  image = np.full((height, 64, 3), colour, np.uint8)
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('ffv1', rate=25)
    stream.height, stream.width, stream.pix_fmt = height, 64, 'yuv444p'
    frame = av.VideoFrame.from_ndarray(image, format='rgb24')
    frame = frame.reformat(format='yuv444p', dst_colorspace=matrix)
    frame.colorspace = 2
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  (got,) = video_files.read(path, [0], size=16)
  assert np.abs(got[8, 8].astype(int) - colour).max() <= 3


@pytest.mark.parametrize(('transfer', 'name'), [(16, 'PQ'), (18, 'HLG')])
def test_hdr_is_refused_in_a_line(tmp_path, transfer, name):
  path = write(tmp_path / 'a.mp4', [corners()], color_trc=transfer)
  with pytest.raises(BadClip, match=rf'HDR \({name}\), .*convert it to SDR first'):
    video_files.probe(path)


def test_interlaced_frames_are_of_one_field(tmp_path):
  """A bar that moves between the fields is not combed; the frame keeps its size."""
  bar = lambda t: np.where(abs(np.arange(96) - 4 * t - 8) < 8, 255, 0)
  images = []
  for t in range(4):
    image = np.empty((64, 96, 3), np.uint8)
    image[0::2], image[1::2] = (bar(2 * t + k)[None, :, None] for k in (0, 1))
    images.append(image)
  flag = av.codec.context.Flags.interlaced_dct
  options = {'x264-params': 'tff=1', 'qp': '1'}
  path = write(tmp_path / 'a.mp4', images, options=options, flags=flag)
  video = video_files.read(path, range(4))
  assert video.shape == (4, 64, 96, 3)
  assert np.abs(video[:, 1:].astype(int) - video[:, :-1]).max() <= 8
  for t, image in enumerate(video):
    assert np.abs(image[32, :, 0].astype(int) - bar(2 * t)).mean() < 6


def test_the_main_stream_is_read_not_its_preview(tmp_path):
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    streams = []
    for height, width in ((16, 24), (32, 48)):
      stream = container.add_stream('ffv1', rate=25)
      stream.height, stream.width, stream.pix_fmt = height, width, 'bgr0'
      streams.append(stream)
    for stream in streams:
      frame = av.VideoFrame.from_ndarray(corners(stream.height, stream.width), format='rgb24')
      container.mux(stream.encode(frame))
      container.mux(stream.encode())
  info = video_files.probe(path)
  assert (info.frames, info.height, info.width) == (1, 32, 48)


@pytest.mark.parametrize('bits', [8, 10, 12, 16])
@pytest.mark.parametrize('kind', ['npy', 'png'])
def test_the_bits_in_16_are_told_apart_by_range(tmp_path, kind, bits):
  """One clip has one scale: that of its brightest frame, for dark frames too."""
  grey = np.stack([np.full((8, 8), level, np.uint16) for level in (3, 100, 254, 40)])
  deep = grey << (bits - 8)
  path = tmp_path / ('a.npy' if kind == 'npy' else 'a')
  if kind == 'npy':
    np.save(path, deep)
  else:
    path.mkdir()
    for k, image in enumerate(deep):
      Image.fromarray(image).save(path / f'{k}.png')
  assert video_files.read(path, [3, 0, 1])[:, 0, 0].tolist() == [[40] * 3, [3] * 3, [100] * 3]


def test_what_is_transparent_does_not_bleed_when_it_shrinks(tmp_path):
  """As in PNG: black where it is transparent, whatever colour lies there."""
  image = np.zeros((32, 32, 4), np.uint8)
  image[..., 0] = 255
  image[:, :, 3] = 255 * (np.arange(32) % 4 < 2)
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('ffv1', rate=25)
    stream.height, stream.width, stream.pix_fmt = 32, 32, 'bgra'
    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgba')))
    container.mux(stream.encode())
  Image.fromarray(image).save(tmp_path / 'a.png')
  film, picture = (video_files.read(tmp_path / f'a.{e}', [0], size=8) for e in ('mkv', 'png'))
  np.testing.assert_array_equal(film, picture)
  assert film[..., 1:].max() == 0 and 100 < film[..., 0].mean() < 156


def test_alpha_that_cannot_be_read_is_refused_in_a_line(tmp_path):
  """What a decoder of VP9 gives is the colours that lie under transparent pixels."""
  path = tmp_path / 'a.webm'
  with av.open(str(path), 'w') as container:
    options = {'auto-alt-ref': '0', 'deadline': 'realtime', 'cpu-used': '8'}
    stream = container.add_stream('libvpx-vp9', rate=25, options=options)
    stream.height, stream.width, stream.pix_fmt = 32, 32, 'yuva420p'
    frame = av.VideoFrame.from_ndarray(np.full((32, 32, 4), 128, np.uint8), format='rgba')
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  with pytest.raises(BadClip, match='WebM with alpha, which is not read here'):
    video_files.probe(path)


def test_an_mp4_without_an_index_says_so(tmp_path):
  """What a camera leaves whose battery died, and a download that broke off."""
  content = write(tmp_path / 'a.mp4', [corners()] * 4).read_bytes()
  (tmp_path / 'a.mp4').write_bytes(content[: content.index(b'moov') - 4])
  with pytest.raises(BadClip, match='recording or download was not finished'):
    video_files.probe(tmp_path / 'a.mp4')
