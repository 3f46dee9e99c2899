"""What a clip on disk is to the readers: what is known of it, its bounds, what is wrong with it."""

import dataclasses

import numpy as np

# What a file may ask for. Lengths are those of real clips and more; memory is that of the frames
# asked for and of one array or frame beside them, time that of reading the file through once.
MAX_PIXELS = 2**25  # of one frame: 8K video, and 100 MB as RGB
MAX_BYTES = 2**31  # of one array, as it lies in the file
MAX_FRAMES = 2**22  # of one clip: 38 hours at 30 a second, whose time stamps are 34 MB
MAX_SKIPPED = 2**34  # pixels decoded on the way to the frames asked for: about a minute
MAX_DEPTH = 100  # folders within folders; Python walks down to 900 or so


class BadClip(ValueError):
  """A file that cannot be used as a clip; the message is one line and ends without the path."""


@dataclasses.dataclass(frozen=True, slots=True)
class Info:
  """What is known of a clip: sizes as shown (after any turn and pixel aspect that it asks for)."""

  frames: int
  height: int
  width: int
  fps: float  # 0 where the clip has no clock
  # time stamp of each frame in the stream's own unit, of `tick` seconds; None where unknown
  stamps: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)
  tick: float = 0.0
  # whether no stamp was missing or repeated, so that a frame can be sought by its own
  exact: bool = dataclasses.field(default=False, repr=False, compare=False)
  # used, of samples of 16 bits; 0 where they are of 8
  bits: int = dataclasses.field(default=0, repr=False, compare=False)
  # and layout of pixels, as FFmpeg names them; '' of what is not a video file
  codec: str = dataclasses.field(default='', repr=False, compare=False)


def check_frames(frames):
  """Raises BadClip for more frames than a clip may have."""
  if frames > MAX_FRAMES:
    raise BadClip(f'more than {MAX_FRAMES} frames; cut it into shorter clips')


def check_pixels(width, height):
  """Raises BadClip for a frame size out of bounds: to be called before memory is taken."""
  if width <= 0 or height <= 0:  # what ffmpeg makes of a size that it finds too large
    raise BadClip(f'frames of {width}x{height}: no size, or one out of bounds')
  if width * height > MAX_PIXELS:
    raise BadClip(f'frames of {width}x{height}, more than {MAX_PIXELS} pixels')
