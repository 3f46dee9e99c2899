"""Which of FFmpeg's demuxers may open a file: a playlist in disguise would open other files."""

import pathlib

from input_pipeline import mp4
from input_pipeline.clip import BadClip

_BY_START = {
  b'RIFF': 'avi',
  b'GIF8': 'gif',
  b'\x1aE\xdf\xa3': 'matroska,webm',
  b'FLV\x01': 'flv',
  b'0&\xb2u': 'asf',
  b'\0\0\1\xba': 'mpeg',
  b'\0\0\1\xb3': 'mpegvideo',
}
_START_CODES = (b'\0\0\0\1', b'\0\0\1')
_RAW = {  # by the first unit of a stream: parameters, a delimiter, or words about it
  'H.264': b'\x67\x27\x47\x09\x06',
  'H.265': b'\x40\x42\x46\x4e',
}
_MOV = 'mov,mp4,m4a,3gp,3g2,mj2'
_PACKETS = ((0, 188), (4, 192))  # where a transport stream's first begins, and how long they are


def of(path: pathlib.Path) -> str:
  """Their names, separated by commas, by how the file begins and whatever it is called.

  Raises BadClip for a stream that is in no container, and for a file in which the tables of an MP4,
  which any but those may be, promise too much; see `mp4.check`.
  """
  with path.open('rb') as file:
    start = file.read(1024)
  if known := _BY_START.get(start[:4]):
    return known
  if any(start[first::size][:4] == b'G' * 4 for first, size in _PACKETS):
    return 'mpegts'
  for code in filter(start.startswith, _START_CODES):
    unit = start[len(code) : len(code) + 1]
    if raw := next((name for name, first in _RAW.items() if unit and unit in first), ''):
      raise BadClip(
        f'a raw {raw} stream, in no container: remux it, ffmpeg -framerate 25 -i IN -c copy OUT.mp4'
      )
  mp4.check(path)
  return f'{_MOV},mpegts'
