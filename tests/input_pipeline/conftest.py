"""Helpers that make small clips on disk."""

import pathlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from input_pipeline.folder import Folder
from input_pipeline.splits import SPLITS

_CODECS = {
  '.mp4': 'libx264',
  '.mkv': 'ffv1',
  '.avi': 'ffv1',
  '.webm': 'libvpx-vp9',
  '.gif': 'gif',
  **dict.fromkeys(('.mov', '.m4v', '.3gp', '.3g2', '.ts', '.mts', '.m2ts', '.flv'), 'libx264'),
  **dict.fromkeys(('.mpg', '.mpeg', '.vob'), 'mpeg2video'),
  '.wmv': 'wmv2',
  '.asf': 'wmv2',
}
_OPTIONS = {  # of streams that may end anywhere, no frame is out of order
  **{key: {'bf': '0'} for key in ('.ts', '.mts', '.m2ts')},
  **{key: {'b': '4M', 'bf': '0'} for key in ('.mpg', '.mpeg', '.vob', '.wmv', '.asf')},
}
_FORMATS = {'gif': 'gray', 'ffv1': 'bgr0'}  # else yuv420p


def numbered_video(frames, height=32, width=32):
  """Frame k is a flat grey of 40 + 5 k, dark in the top left corner: its number can be read off."""
  video = np.empty((frames, height, width, 3), np.uint8)
  video[:] = (40 + 5 * np.arange(frames, dtype=np.uint8))[:, None, None, None]
  video[:, : height // 4, : width // 4] = 0
  return video


def number_of(frame):
  """Which frame of `numbered_video` this is, however much its codec lost."""
  h, w = frame.shape[:2]
  return round((float(np.median(frame[h // 2 :, w // 2 :])) - 40) / 5)


def write_video(path, video, codec=None, stamps=None, fps=25, pix_fmt=None, options=None):
  """Writes uint8 RGB frames; `stamps` in 1/1000 s makes the frame rate vary."""
  path = pathlib.Path(path)
  codec = codec or _CODECS[path.suffix.lower()]
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=fps, options=options or _OPTIONS.get(path.suffix, {}))
    stream.height, stream.width = video.shape[1:3]
    stream.pix_fmt = pix_fmt or _FORMATS.get(codec, 'yuv420p')
    if stamps is not None:
      stream.codec_context.time_base = Fraction(1, 1000)
    for k, image in enumerate(video):
      frame = av.VideoFrame.from_ndarray(image, format='rgb24')
      if stamps is not None:
        frame.pts, frame.time_base = stamps[k], stream.codec_context.time_base
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path


class Clips:
  """The helpers above, as one fixture."""

  numbered = staticmethod(numbered_video)
  number_of = staticmethod(number_of)
  write = staticmethod(write_video)


@pytest.fixture(scope='session', autouse=True)
def _cache_of_its_own(tmp_path_factory):
  """What tests look at is not kept in the user's cache."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
    yield


@pytest.fixture(scope='session')
def clips():
  return Clips


@pytest.fixture(scope='session')
def shared_clips():
  """The real clips beside the repository."""
  root = pathlib.Path(__file__).parents[2].parent / 'shared' / 'data'
  if not root.is_dir():
    pytest.skip('no shared/data beside the repository')
  return root


@pytest.fixture
def put(tmp_path, clips):
  """Puts tiny clips at these places under the test's folder."""
  np.save(tmp_path / 'a.npy', clips.numbered(6, 16, 16))
  content = (tmp_path / 'a.npy').read_bytes()
  (tmp_path / 'a.npy').unlink()

  def at(*names):
    for name in names:
      (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / name).write_bytes(content)
    return tmp_path

  return at


@pytest.fixture
def frames(clips):
  """Writes numbered frames as images of these names."""

  def write(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, clips.numbered(len(names), 16, 16)):
      Image.fromarray(frame).save(folder / name)

  return write


@pytest.fixture(scope='session')
def both():
  """The sources of both splits of a folder, of one clip a file."""

  def sources(root, **options):
    return {split: Folder(root, 4, 16, split, windows=1, **options) for split in SPLITS}

  return sources


@pytest.fixture(scope='session')
def names():
  """The names of the files that a source uses."""
  return lambda source: [entry.name for entry, _ in source._files]
