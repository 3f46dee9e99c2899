"""npy files, and npz files with the key `video`: uint8 or uint16 [T, H, W, C] or [T, H, W]."""

import contextlib
import math
import threading
import zipfile

import numpy as np

from input_pipeline import clip, depth, resize
from input_pipeline.clip import BadClip, Info

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others take memory as they please

# numpy parses headers as Python, which Python 3.11 cannot do in two threads at once
_ONE_PARSER = threading.Lock()


def probe(path):
  with _open(path) as file:
    shape, columns_first, dtype = _header(file)
    bits = 0
    if dtype.itemsize > 1:
      frames = _frames(file, shape, columns_first, dtype, depth.sampled(shape[0]))
      bits = depth.of(frames)
  return Info(shape[0], shape[1], shape[2], 0.0, bits=bits)


def read(path, info, wanted, size):
  with _open(path) as file:
    shape, columns_first, dtype = _header(file)
    wanted = wanted[wanted < shape[0]]
    frames = _frames(file, shape, columns_first, dtype, wanted)
    if dtype.itemsize > 1:
      frames = (depth.in_8_bits(frame, info.bits) for frame in frames)
    return [resize.from_array(resize.to_rgb(frame), size) for frame in frames]


def _frames(file, shape, columns_first, dtype, wanted):
  if columns_first:
    return iter(_of_columns(file, shape, dtype)[wanted])
  return _of_rows(file, shape, dtype, wanted)


def _of_rows(file, shape, dtype, wanted):
  """Those of the frames that are there, one at a time."""
  first, size = file.tell(), math.prod(shape[1:]) * dtype.itemsize
  for i in wanted:
    file.seek(first + int(i) * size)
    content = file.read(size)
    if len(content) < size:
      return
    yield np.frombuffer(content, dtype).reshape(shape[1:])


def _of_columns(file, shape, dtype):
  content = file.read(math.prod(shape) * dtype.itemsize)
  return np.frombuffer(content, dtype).reshape(shape, order='F')


@contextlib.contextmanager
def _open(path):
  """Yields the array's file, open: the member `video` of an npz."""
  if path.suffix.lower() == '.npy':
    with path.open('rb') as file:
      yield file
    return
  with zipfile.ZipFile(path) as archive:
    if 'video.npy' not in archive.namelist():
      raise BadClip('no array named video in it')
    if archive.getinfo('video.npy').compress_type not in _COMPRESSIONS:
      raise BadClip('compressed otherwise than numpy does')
    with archive.open('video.npy') as file:
      yield file


def _header(file):
  """Reads and checks shape, whether columns come first, and type: all before any memory."""
  shape, columns_first, dtype = read_header(file)
  channels = shape[3] if len(shape) == 4 else 1
  if len(shape) not in (3, 4) or channels not in (1, 3, 4) or shape[0] < 1:
    raise BadClip(
      f'array of shape {shape}, want [T, H, W, C] with C of 1, 3 or 4; of many clips in one npy, '
      'say the axes: npy_order=TNHW'
    )
  if dtype not in (np.uint8, np.uint16):
    raise BadClip(f'array of {dtype}, want uint8')
  clip.check_frames(shape[0])
  clip.check_pixels(shape[2], shape[1])
  total = math.prod(map(int, shape)) * dtype.itemsize
  if total > clip.MAX_BYTES:
    raise BadClip(f'array of {total} bytes, more than {clip.MAX_BYTES}')
  return shape, columns_first, dtype


def read_header(file):
  """(shape, whether columns come first, type) that an npy file says, whatever they are."""
  version = np.lib.format.read_magic(file)
  read = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }.get(version)
  if read is None:
    raise BadClip(f'npy format {version[0]}.{version[1]}, want 1.0 or 2.0')
  with _ONE_PARSER:
    return read(file)
