"""A folder of frames, in natural order of their names; or one image, a clip of one frame."""

import collections
import functools
import itertools
import os
import pathlib
import re
import time

import numpy as np
from PIL import Image, ImageOps

from input_pipeline import clip, deep_colour, depth, resize
from input_pipeline.clip import BadClip, Info

ENDINGS = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff', '.ppm', '.pgm', '.pnm')
# Whatever the name: Pillow runs a program for others.
_FORMATS = ('PNG', 'JPEG', 'WEBP', 'BMP', 'TIFF', 'PPM')
_BESIDE = re.compile(r'[_\-. ](mask|seg|segmentation|alpha|matte|depth|thumb)$', re.IGNORECASE)
_KEPT = 64  # listings of folders of frames
_SETTLED = 2 * 10**9  # nanoseconds after which a folder that changes again has another time


def is_image(path: pathlib.Path) -> bool:
  return path.suffix.lower() in ENDINGS


def frames_of(names) -> tuple[list[str], list[str]]:
  """Parts the images of a folder into its frames and what lies beside them.

  That is what is named after a frame, 001_mask.png after 001.jpg, and where names differ by their
  ending alone, all but those of the commonest one (or the first of `ENDINGS`, with jpg before it).
  """
  stems = {name: pathlib.PurePath(name).stem for name in names}
  endings = {name: pathlib.PurePath(name).suffix.lower() for name in names}
  known = set(stems.values())
  if len(known) < len(stems):
    counts = collections.Counter(endings.values())
    order = ('.jpg', '.jpeg', *ENDINGS)
    rank = lambda name: (-counts[endings[name]], order.index(endings[name]))
    best = {}
    for name in sorted(names, key=rank):
      best.setdefault(stems[name], name)
  else:
    best = dict(zip(stems.values(), stems))
  is_frame = lambda name: best[stems[name]] == name and not _is_beside(stems[name], known)
  frames = [name for name in names if is_frame(name)]
  chosen = set(frames)
  return frames, [name for name in names if name not in chosen]


def _is_beside(stem, known):
  found = _BESIDE.search(stem)
  return bool(found) and stem[: found.start()] in known


def in_order(names) -> list[str]:
  """The frames among the names of a folder's files, as they are played."""
  return sorted(frames_of([n for n in names if _ends_as_image(n)])[0], key=_natural)


def _ends_as_image(name):
  return name.lower().endswith(ENDINGS) and not name.startswith('.')


def probe(path):
  names = _names(path)
  if not names:
    raise BadClip('no frames')
  return probed(len(names), lambda k: _load(path / names[k]))


def read(path, info, wanted, size):
  names = _names(path)
  wanted = wanted[wanted < len(names)]
  return [resize.from_array(rgb(_load(path / names[i]), info.bits), size) for i in wanted]


def _load(path):
  with opened(path) as image:
    return pixels(image)


def probed(count, load) -> Info:
  """What is known of `count` frames, of which `load(k)` gives the k-th as `pixels` does."""
  image, bits = load(0), 0
  if _is_deep(image):
    some = map(load, depth.sampled(count))
    bits = depth.of(image for image in some if _is_deep(image))
  return Info(count, image.shape[0], image.shape[1], 0.0, bits=bits)


def rgb(image, bits: int) -> np.ndarray:
  """What `pixels` gave as uint8 RGB [H, W, 3]; of 16 bits a sample, `bits` are used (0: all)."""
  return resize.to_rgb(depth.in_8_bits(image, bits or 16)) if _is_deep(image) else image


def _is_deep(image):
  return image.dtype != np.uint8


def _names(path):
  """Those of the frames in a folder; of an image, the one that adds nothing to its path."""
  if path.is_file():
    return ['']
  changed = path.stat().st_mtime_ns
  names = _kept if time.time_ns() - changed > _SETTLED else _listed
  return names(path, changed)


def _listed(path, changed):
  """Names of the frames in a folder that was changed at that time."""
  del changed
  with os.scandir(path) as entries:
    images = (e.name for e in entries if _ends_as_image(e.name) and e.is_file())
    names = list(itertools.islice(images, clip.MAX_FRAMES + 1))
  clip.check_frames(len(names))
  return in_order(names)


_kept = functools.lru_cache(maxsize=_KEPT)(_listed)  # to list 20,000 frames for each is slow


def opened(file):
  """An image, open, of a path or a file. Its size is checked before memory is taken."""
  image = Image.open(file, formats=_FORMATS)
  try:
    clip.check_pixels(*image.size)
  except BadClip:
    image.close()
    raise
  return image


def pixels(image) -> np.ndarray:
  """An open image, upright: uint8 RGB [H, W, 3]; of more bits, integers [H, W] or [H, W, 3]."""
  if deep_colour.is_one(image):
    return deep_colour.pixels(image)
  image = ImageOps.exif_transpose(image)
  if image.mode == 'F':
    raise BadClip('pixels are floating-point numbers, of no known range; want 8 or 16 bits')
  if image.mode.startswith('I'):  # 16 bits of grey, which Pillow would clip
    return np.asarray(image)
  if image.has_transparency_data:
    return resize.to_rgb(np.asarray(image.convert('RGBA')))
  return np.asarray(image.convert('RGB'))


def _natural(name: str):
  """Sort key under which frame2 comes before frame10."""
  return [(int(p), '') if p.isdecimal() else (-1, p) for p in re.split(r'(\d+)', name)], name
