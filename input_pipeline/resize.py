"""One way to resize, for every source: short side to `size`, antialiased bilinear, centre crop.

It is swscale's bilinear filter, widened when it shrinks; Pillow's BILINEAR gives the same to within
half a grey level on average. It converts from the decoder's own format at once, so that nothing is
made in full size.
"""

import threading

import av
import numpy as np
from av.video.reformatter import VideoReformatter


def from_frame(
  frame: av.VideoFrame, size: int | None, shape: tuple[int, int], colours: int | None = None
) -> np.ndarray:
  """Returns a decoded frame as uint8 RGB [H, W, 3].

  `shape` is the height and width that it is shown at, before `size`; `colours` is the matrix
  (`av.video.reformatter.Colorspace`) of its YUV where the frame does not say.
  """
  if any(component.is_alpha for component in frame.format.components):
    # before it shrinks: what lies under transparent pixels must not bleed
    whole = _reformatter().reformat(frame, format='rgba', src_colorspace=colours).to_ndarray()
    frame, colours = av.VideoFrame.from_ndarray(_on_black(whole), format='rgb24'), None
  height, width = shape
  if size is not None:
    short = min(height, width)
    height, width = (max(size, round(n * size / short)) for n in (height, width))
  image = _reformatter().reformat(
    frame, width, height, format='rgb24', interpolation='BILINEAR', src_colorspace=colours
  )
  image = image.to_ndarray()
  return image if size is None else _centre(image, size)


def from_array(image: np.ndarray, size: int | None) -> np.ndarray:
  """The same for uint8 RGB [H, W, 3]."""
  if size is None:
    return image
  if min(image.shape[:2]) == size:
    return _centre(image, size)
  frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24')
  return from_frame(frame, size, image.shape[:2])


def to_rgb(frame):
  """[H, W], [H, W, 1], [H, W, 3] or [H, W, 4] (on black) uint8 -> [H, W, 3]."""
  if frame.ndim == 2:
    frame = frame[..., None]
  if frame.shape[-1] == 1:
    return np.repeat(frame, 3, axis=-1)
  if frame.shape[-1] == 4:
    return _on_black(frame)
  return frame


_of_thread = threading.local()


def _reformatter() -> VideoReformatter:
  """One a thread: it keeps its filters for the next frame, which cost more than their use."""
  if not hasattr(_of_thread, 'reformatter'):
    _of_thread.reformatter = VideoReformatter()
  return _of_thread.reformatter


def _on_black(image: np.ndarray) -> np.ndarray:
  """RGBA [H, W, 4] -> RGB [H, W, 3]: what is transparent is black."""
  opaque = image[..., 3:].astype(np.uint16)
  return ((image[..., :3] * opaque + 127) // 255).astype(np.uint8)


def _centre(image, size):
  top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
  return image[top : top + size, left : left + size]
