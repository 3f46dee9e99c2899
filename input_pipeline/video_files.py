"""Clips on disk as uint8 RGB: video files, folders of frames, single images, and arrays.

`probe` looks at a clip without decoding all of it, `read` decodes the frames asked for. Whatever is
wrong with a file is a `BadClip` with one line that says so. Nothing is unpickled, no file or
address that a clip names is opened, and sizes are checked before memory is taken.
"""

import contextlib
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import IO

import av
import numpy as np
from PIL import Image

from input_pipeline import animations, arrays, clip, containers, images, stacks, zips
from input_pipeline.clip import BadClip, Info

VIDEOS = (
  *('.mp4', '.mov', '.m4v', '.3gp', '.3g2', '.avi', '.mkv', '.webm', '.gif'),
  *('.mpg', '.mpeg', '.vob', '.ts', '.mts', '.m2ts', '.wmv', '.asf', '.flv'),
)
ARRAYS = ('.npz', '.npy')


def probe(path) -> Info:
  """Returns what a clip holds; the first frame is decoded, so that most bad files show here."""
  path = pathlib.Path(path)
  with _one_line_errors():
    return _reader(path).probe(path)


def kind(path, info: Info) -> str:
  """How a clip is stored, in a few words: 'mp4 h264 yuv420p', 'png frames', 'npz'.

  `info` is what `probe` gave.
  """
  path = pathlib.Path(path)
  if zips.archive_of(path) or path.is_dir():
    names = images.in_order(os.listdir(path)) if path.is_dir() else zips.names(path)
    endings = {pathlib.PurePath(name).suffix.lower()[1:] for name in names}
    return f'{" ".join(sorted(endings))} frames' + ' in a zip' * (not path.is_dir())
  if stacks.is_member(path):
    return 'npy'
  return f'{path.suffix.lower()[1:]} {info.codec}'.rstrip()


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


def parts(path: pathlib.Path) -> Iterator[tuple[str, IO[bytes]]]:
  """(name, opened file) of each of the files that a clip is made of, always in the same order."""
  if zips.archive_of(path):
    yield from zips.parts(path)
  elif path.is_dir():
    yield from ((p.name, p.open('rb')) for p in sorted(path.iterdir()) if p.is_file())
  else:
    file = stacks.file_of(path) if stacks.is_member(path) else path
    yield path.name, file.open('rb')


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
  if inside := _reader_inside(path):
    return inside
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
  if animations.is_one(path):
    return animations
  if images.is_image(path):
    return images
  raise BadClip(f'{suffix or "no"} ending: want one of {" ".join(VIDEOS + ARRAYS)} or a folder')


def _reader_inside(path):
  """The reader of a clip whose path goes on inside a file, if it does."""
  if stacks.is_member(path):
    return stacks
  return zips if zips.archive_of(path) else None
