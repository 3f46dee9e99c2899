"""A folder of frames, in natural order of their names; or one image, a clip of one frame."""

import itertools
import os
import pathlib
import re

import numpy as np
from PIL import Image, ImageOps

from input_pipeline import clip, resize
from input_pipeline.clip import BadClip, Info

ENDINGS = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')
_FORMATS = ('PNG', 'JPEG', 'WEBP', 'BMP')  # whatever the name: Pillow runs a program for others


def is_image(path: pathlib.Path) -> bool:
  return path.suffix.lower() in ENDINGS


def probe(path):
  files = _files(path)
  if not files:
    raise BadClip('no frames')
  image = _load(files[0])
  return Info(len(files), image.shape[0], image.shape[1], 0.0)


def read(path, info, wanted, size):
  del info
  files = _files(path)
  return [resize.from_array(_load(files[i]), size) for i in wanted if i < len(files)]


def _files(path):
  if path.is_file():
    return [path]
  with os.scandir(path) as entries:
    images = (e.name for e in entries if e.name.lower().endswith(ENDINGS) and e.is_file())
    names = list(itertools.islice(images, clip.MAX_FRAMES + 1))
  clip.check_frames(len(names))
  return [path / name for name in sorted(names, key=_natural)]


def _load(path):
  with Image.open(path, formats=_FORMATS) as image:
    clip.check_pixels(*image.size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith('I'):  # 16 bits of grey, which Pillow would clip
      return resize.to_rgb((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
      return resize.to_rgb(np.asarray(image.convert('RGBA')))
    return np.asarray(image.convert('RGB'))


def _natural(name: str):
  """Sort key under which frame2 comes before frame10."""
  return [(int(p), '') if p.isdecimal() else (-1, p) for p in re.split(r'(\d+)', name)], name
