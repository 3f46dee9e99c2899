"""Clips on disk as uint8 RGB: video files, folders of frames, single images, and arrays.

`probe` looks at a clip without decoding all of it, `read` decodes the frames asked for. Whatever is
wrong with a file is a `BadClip` with one line that says so. Nothing is unpickled, no file or
address that a clip names is opened, and sizes are checked before memory is taken.
"""

import contextlib
import pathlib
import stat

import av
import numpy as np
from PIL import Image

from input_pipeline import arrays, clip, containers, images
from input_pipeline.clip import BadClip, Info

VIDEOS = ('.mp4', '.avi', '.mkv', '.webm', '.gif')
ARRAYS = ('.npz', '.npy')


def is_clip_file(path: pathlib.Path) -> bool:
  return path.suffix.lower() in VIDEOS + ARRAYS


def probe(path) -> Info:
  """Returns what a clip holds; the first frame is decoded, so that most bad files show here."""
  path = pathlib.Path(path)
  with _one_line_errors():
    return _reader(path).probe(path)


def read(path, frames, size=None, info=None) -> np.ndarray:
  """Returns the frames of these indices (any order, repeats allowed): uint8 [len(frames), H, W, 3].

  With `size`, the short side is resized to it with antialiasing and the centre is cropped:
  H = W = size. `info` is what `probe` gave, to save probing again. A clip that ends before the last
  of `frames` is a `BadClip`.
  """
  path = pathlib.Path(path)
  wanted = np.unique(np.asarray(frames, np.int64))
  if not len(wanted) or wanted[0] < 0:
    raise ValueError(f'{path}: frames to read are {list(frames)}, want indices from 0')
  with _one_line_errors():
    reader = _reader(path)
    got = reader.read(path, info or reader.probe(path), wanted, size)
    if len(got) < len(wanted):
      raise BadClip(f'ends at frame {wanted[len(got)]}, where the file promised more')
    if len({frame.shape for frame in got}) > 1:
      raise BadClip('frames differ in size')
    return np.stack(got)[np.searchsorted(wanted, frames)]


@contextlib.contextmanager
def _one_line_errors():
  try:
    yield
  except BadClip:
    raise
  except av.FFmpegError as e:
    raise BadClip(f'cannot be decoded ({e.strerror or type(e).__name__})') from e
  except Image.DecompressionBombError as e:
    raise BadClip(f'frame of more than {clip.MAX_PIXELS} pixels') from e
  except MemoryError as e:
    raise BadClip('does not fit in memory') from e
  except Exception as e:  # zip, deflate, numpy and Pillow raise anything on damaged bytes
    reason = getattr(e, 'strerror', None) or ' '.join(str(e).split())[:150] or type(e).__name__
    raise BadClip(f'cannot be read ({reason})') from e


def _reader(path):
  suffix, kind = path.suffix.lower(), path.stat()
  if stat.S_ISDIR(kind.st_mode):
    return images
  if not stat.S_ISREG(kind.st_mode):  # reading a pipe would wait for ever
    raise BadClip('not a regular file')
  if not kind.st_size:
    raise BadClip('empty file')
  if suffix in VIDEOS:
    return containers
  if suffix in ARRAYS:
    return arrays
  if images.is_image(path):
    return images
  raise BadClip(f'{suffix or "no"} ending: want one of {" ".join(VIDEOS + ARRAYS)} or a folder')
