"""A decoded frame as a player shows it: turned, square pixels, one field, its colours."""

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace

from input_pipeline import resize
from input_pipeline.clip import BadClip

_UNTAGGED = 2  # AVCOL_SPC_UNSPECIFIED
_HDR = {16: 'PQ', 18: 'HLG'}  # AVColorTransferCharacteristic


def check_transfer(transfer: int) -> None:
  """Raises BadClip for colours of a brighter screen, which would look washed out on another."""
  if transfer in _HDR:
    raise BadClip(f'HDR ({_HDR[transfer]}), which is not tone-mapped here; convert it to SDR first')


def shape(frame: av.VideoFrame, aspect: float) -> tuple[int, int]:
  """Height and width of a frame as shown; `aspect` is width by height of a pixel."""
  height, width = frame.height, max(1, round(frame.width * aspect))
  return (width, height) if _turn(frame)[0] else (height, width)


def shown(frame: av.VideoFrame, size: int | None, aspect: float) -> np.ndarray:
  """Returns uint8 RGB [H, W, 3] as `shape` says, or resized to [size, size, 3]."""
  height, width = frame.height, max(1, round(frame.width * aspect))
  transposed, mirrored, flipped = _turn(frame)
  colours = _colours(frame)
  if frame.interlaced_frame:
    frame = _first_field(frame)
  image = resize.from_frame(frame, size, (height, width), colours)
  if transposed:
    image = image.swapaxes(0, 1)
  if mirrored:
    image = image[:, ::-1]
  return image[::-1] if flipped else image


def _turn(frame):
  """Whether to transpose, then mirror left and right, then flip: the nearest to what is asked."""
  matrix = frame.side_data.get(Type.DISPLAYMATRIX)
  if matrix is None:
    return False, False, False
  a, b, _, c, d = map(int, np.frombuffer(bytes(matrix), np.int32)[:5])  # x' = ax + cy, y' = bx + dy
  if abs(b) > abs(a):
    return True, c < 0, b < 0
  return False, a < 0, d < 0


def _colours(frame):
  """The matrix that players take: that of HD for a large frame that does not say."""
  if frame.colorspace == _UNTAGGED and (frame.width >= 1280 or frame.height > 576):
    return Colorspace.ITU709
  return None


def _first_field(frame):
  """Every second row: the rows between were taken later, and what moves would be combed."""
  graph = av.filter.Graph()
  buffer = graph.add_buffer(
    width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
  )
  graph.link_nodes(buffer, graph.add('field', 'top'), graph.add('buffersink')).configure()
  graph.push(frame)
  return graph.pull()
