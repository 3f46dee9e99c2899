"""What a clip on disk is to the readers: what is known of it, its bounds, what is wrong with it."""

import dataclasses

import numpy as np

MAX_PIXELS = 2**25  # of one frame: 8K video, and 100 MB as RGB
MAX_BYTES = 2**31  # of one array


class BadClip(ValueError):
  """A file that cannot be used as a clip; the message is one line and ends without the path."""


@dataclasses.dataclass(frozen=True, slots=True)
class Info:
  """What is known of a clip: sizes as shown (after any rotation that the file asks for)."""

  frames: int
  height: int
  width: int
  fps: float  # 0 where the clip has no clock
  # time stamp of each frame in the stream's own unit, of `tick` seconds; None where unknown
  stamps: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)
  tick: float = 0.0


def check_pixels(width, height):
  """Raises BadClip for a frame size out of bounds: to be called before memory is taken."""
  if width <= 0 or height <= 0:  # what ffmpeg makes of a size that it finds too large
    raise BadClip(f'frames of {width}x{height}: no size, or one out of bounds')
  if width * height > MAX_PIXELS:
    raise BadClip(f'frames of {width}x{height}, more than {MAX_PIXELS} pixels')
