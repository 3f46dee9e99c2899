"""Moving pictures in the formats of still ones: WebP, APNG and TIFF of many pages, by Pillow."""

import fractions
import pathlib
import struct

import numpy as np

from input_pipeline import clip, images, resize
from input_pipeline.clip import BadClip, Info

ENDINGS = ('.webp', '.apng', '.png', '.tif', '.tiff')  # that a moving picture may have
_TICK = 1 / 1000  # seconds
_PNG = b'\x89PNG\r\n\x1a\n'
_TIFF = (b'II*\0', b'MM\0*')


def are(folder: pathlib.Path, ending: str, names: list[str]) -> bool:
  """Whether files of this ending move: by the first and the last of them, read no further."""
  if ending not in ENDINGS or not names:
    return False
  return all(is_one(folder / name) for name in {min(names), max(names)})


def is_one(path: pathlib.Path) -> bool:
  """Whether a file is a moving picture, by its first bytes. No is said of what cannot be read."""
  if path.suffix.lower() == '.apng':
    return True
  try:
    with path.open('rb') as file:
      start = file.read(64)
  except OSError:
    return False
  if start[:4] in _TIFF:
    return _pages(path) > 1
  if start[:4] == b'RIFF' and start[8:16] == b'WEBPVP8X':
    return bool(start[20] & 2)
  return start.startswith(_PNG) and start[37:41] == b'acTL'  # after IHDR, where all write it


def _pages(path):
  try:
    with images.opened(path) as image:
      return image.n_frames
  except Exception:
    return 1


def probe(path):
  with images.opened(path) as image:
    clip.check_pixels(*image.size)
    width, height = image.size
    if image.format == 'TIFF':
      clip.check_frames(image.n_frames)
      return images.probed(image.n_frames, lambda k: _page(image, k))
  with path.open('rb') as file:
    waits = list(_waits(file))
  if not waits:
    raise BadClip('no frames')
  stamps = np.concatenate([[0], np.cumsum(waits)]).astype(np.int64)
  fps = 1000 * len(waits) / stamps[-1] if stamps[-1] else 0.0
  known = min(waits) > 0
  return Info(len(waits), height, width, float(fps), stamps[:-1] if known else None, _TICK)


def read(path, info, wanted, size):
  frames = []
  with images.opened(path) as image:
    if int(wanted[-1]) * image.width * image.height > clip.MAX_SKIPPED:
      raise BadClip(f'frame {wanted[-1]} is too far from the first, from which all are decoded')
    still = getattr(image, 'default_image', False)  # of an APNG: shown where nothing moves
    for i in wanted:
      try:
        frame = _page(image, int(i) + still)
      except EOFError:
        break
      frames.append(resize.from_array(images.rgb(frame, info.bits), size))
  return frames


def _page(image, k):
  image.seek(k)
  return images.pixels(image)


def _waits(file):
  """Milliseconds that each frame is shown, from the heads of the file's chunks."""
  if file.read(8) == _PNG:
    sizes, parse, kind, start = '>I4s', _png_wait, b'fcTL', 8
  else:
    sizes, parse, kind, start = '<4sI', _webp_wait, b'ANMF', 12
  file.seek(start)
  count = 0
  while len(head := file.read(8)) == 8:
    fields = struct.unpack(sizes, head)
    name, size = fields if sizes[1] == '4' else fields[::-1]
    if name == kind:
      count += 1
      clip.check_frames(count)
      yield parse(file.read(26).ljust(26, b'\0'))
      size -= 26
    rest = size + (4 if sizes[0] == '>' else size & 1)  # a checksum; to an even place
    file.seek(rest, 1)


def _webp_wait(head):
  return int.from_bytes(head[12:15], 'little')


def _png_wait(head):
  over, under = struct.unpack('>2H', head[20:24])
  return float(fractions.Fraction(1000 * over, under or 100))
