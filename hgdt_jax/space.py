"""Where clips lie."""

from typing import NamedTuple


class Space(NamedTuple):
  """Clips `[B, frames, size, size, channels]`, pixels or what an autoencoder makes of them."""

  frames: int
  size: int  # height and width
  channels: int
