"""npy files of many clips, such as Moving MNIST's [T, N, H, W]; each is a path that goes on inside.

`mnist_test_seq.npy/TNHW/17` is clip 17 of the array, whose axes are in that order.
"""

import math
import pathlib

import numpy as np

from input_pipeline import arrays, clip, depth, resize
from input_pipeline.clip import BadClip, Info

ONE = 'THWC'  # the array is one clip
ORDERS = (ONE, 'TNHW', 'NTHW', 'NTHWC')


def members(path: pathlib.Path, order: str) -> range:
  """The numbers of the clips in an array; of one that is none, one, to be found bad."""
  try:
    return range(_clips(path, order).shape[order.index('N')])
  except (OSError, ValueError):
    return range(1)


def is_member(path: pathlib.Path) -> bool:
  file = file_of(path)
  return file.suffix.lower() == '.npy' and path.parent.name in ORDERS and not file.is_dir()


def file_of(path: pathlib.Path) -> pathlib.Path:
  """The file that a member is in."""
  return path.parent.parent


def probe(path):
  frames = _clip(path)
  shape = frames.shape
  clip.check_frames(shape[0])
  clip.check_pixels(shape[2], shape[1])
  deep = frames.dtype.itemsize > 1
  bits = depth.of(frames[i] for i in depth.sampled(len(frames))) if deep else 0
  return Info(shape[0], shape[1], shape[2], 0.0, bits=bits)


def read(path, info, wanted, size):
  frames = _clip(path)
  images = (np.array(frames[i]) for i in wanted if i < len(frames))
  if frames.dtype.itemsize > 1:
    images = (depth.in_8_bits(image, info.bits) for image in images)
  return [resize.from_array(resize.to_rgb(image), size) for image in images]


def _clip(path):
  """uint8 or uint16 [T, H, W] or [T, H, W, C], which takes no memory yet."""
  order, number = path.parent.name, int(path.name)
  clips = _clips(file_of(path), order)
  return clips[number] if order.startswith('N') else clips[:, number]


def _clips(path, order):
  with path.open('rb') as file:
    shape, columns_first, dtype = arrays.read_header(file)
    start = file.tell()
  channels = shape[-1] if order.endswith('C') else 1
  if len(shape) != len(order) or channels not in (1, 3, 4) or min(shape) < 1:
    raise BadClip(f'array of shape {shape}, want the axes {order}')
  if dtype not in (np.uint8, np.uint16):
    raise BadClip(f'array of {dtype}, want uint8')
  if start + math.prod(map(int, shape)) * dtype.itemsize > path.stat().st_size:
    raise BadClip(f'{path.stat().st_size} bytes, which is less than an array of {shape}')
  return np.memmap(path, dtype, 'r', start, shape, 'F' if columns_first else 'C')
