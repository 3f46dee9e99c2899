"""Images of 16 bits a sample and several a pixel, of which Pillow keeps the upper 8 bits."""

import struct

import av
import numpy as np

from input_pipeline import clip
from input_pipeline.clip import BadClip

_BITS = 258  # tag of TIFF: of each sample
_ORIENTATION = 0x0112  # tag of EXIF
_MAX_FILE = clip.MAX_BYTES
# What turns an image upright, by the orientation that EXIF gives it.
_UPRIGHT = {
  2: lambda image: image[:, ::-1],
  3: lambda image: image[::-1, ::-1],
  4: lambda image: image[::-1],
  5: lambda image: image.swapaxes(0, 1),
  6: lambda image: np.rot90(image, -1),
  7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
  8: np.rot90,
}


def is_one(image) -> bool:
  """Whether an image of Pillow's, open and not loaded, is of this kind."""
  if image.format == 'TIFF':
    bits = image.tag_v2.get(_BITS, ())
    return len(bits) > 1 and set(bits) == {16}
  # a PNG that moves is put together by Pillow, of the upper 8 bits
  is_still = image.format == 'PNG' and not image.is_animated
  return is_still and image.mode[0] != 'I' and str(image.tile[0].args).endswith(';16B')


def pixels(image) -> np.ndarray:
  """Such an image, upright and on black: uint16 RGB [H, W, 3]. Raises BadClip if it is damaged."""
  content = _content(image.fp)
  turned = image.getexif().get(_ORIENTATION, 1)  # which closes the file of a PNG
  if content[2:4] in (b'+\0', b'\0+') and image.format == 'TIFF':
    raise BadClip('BigTIFF of 16 bits a sample, which is not read here; write TIFF or PNG')
  if image.format == 'TIFF' and image.tell():
    content = _from_page(content, image.tell())
  return np.ascontiguousarray(_UPRIGHT.get(turned, np.asarray)(_on_black(_decoded(image, content))))


def _content(file):
  at = file.tell()
  size = file.seek(0, 2)
  if size > _MAX_FILE:
    raise BadClip(f'{size} bytes of 16 bits a sample, more than {_MAX_FILE}; write a file a frame')
  file.seek(0)
  content = file.read()
  file.seek(at)
  return content


def _decoded(image, content):
  decoder = av.CodecContext.create(image.format.lower(), 'r')
  decoder.options = {'max_pixels': str(clip.MAX_PIXELS)}
  decoder.thread_type = 'NONE'
  frames = [*decoder.decode(av.Packet(content)), *decoder.decode(None)]
  if not frames or (frames[0].width, frames[0].height) != image.size:
    raise BadClip('16 bits a sample, and it cannot be decoded')
  return frames[0]


def _on_black(frame):
  if not any(component.is_alpha for component in frame.format.components):
    return _array(frame, 'rgb48le')
  image = _array(frame, 'rgba64le')
  opaque = image[..., 3:].astype(np.uint32)
  return ((image[..., :3] * opaque + 32767) // 65535).astype(np.uint16)


def _array(frame, kind):
  """As `kind`, of numpy: the formats that it knows itself are not converted, so nothing is lost."""
  same = kind[:-2], f'{kind[:-2]}be', kind, 'gbrp16le', 'gbrp16be'
  return (frame if frame.format.name in same else frame.reformat(format=kind)).to_ndarray()


def _from_page(content, page):
  """A TIFF that begins with another of its pages: FFmpeg reads the first."""
  order = '<' if content[:2] == b'II' else '>'
  at = struct.unpack_from(f'{order}I', content, 4)[0]
  for _ in range(page):
    count = struct.unpack_from(f'{order}H', content, at)[0]
    at = struct.unpack_from(f'{order}I', content, at + 2 + 12 * count)[0]
  return content[:4] + struct.pack(f'{order}I', at) + content[8:]
