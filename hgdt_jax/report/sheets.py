"""Clips as still pictures that a script plays: all frames of a clip in one PNG."""

import dataclasses
import io
import math
import pathlib
import re
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image

from hgdt_jax.report import meanings
from input_pipeline import video_files

COLUMNS = 16  # frames in a row of a sheet; a longer clip has more rows
_NAME = re.compile(r'clip_(\d+)(\.\w+)?')  # as hgdt_jax.sampling.folders writes them


@dataclasses.dataclass(frozen=True)
class Sheet:
  """A clip of a method.

  Attributes:
    png: its frames as they were drawn, in rows of `COLUMNS`.
    frames: how many there are.
    height, width: of a frame, in pixels.
    gutter: transparent pixels between frames.
  """

  method: meanings.Row
  png: bytes
  frames: int
  height: int
  width: int
  gutter: int


def of_clip(method: meanings.Row, clip: np.ndarray) -> Sheet:
  """The sheet of a clip, uint8 `[T, H, W, 3]`."""
  frames, height, width, _ = clip.shape
  rows, columns = math.ceil(frames / COLUMNS), min(frames, COLUMNS)
  gutter = max(1, width // 32)  # still to be seen where a strip is shrunk
  size = (rows * (height + gutter) - gutter, columns * (width + gutter) - gutter, 4)
  image = np.zeros(size, np.uint8)
  for time, pixels in enumerate(clip):
    y, x = time // COLUMNS * (height + gutter), time % COLUMNS * (width + gutter)
    image[y : y + height, x : x + width, :3] = pixels
    image[y : y + height, x : x + width, 3] = 255
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, format='PNG', optimize=True)
  return Sheet(method, buffer.getvalue(), frames, height, width, gutter)


def numbers(samples: Mapping[str, pathlib.Path]) -> list[int]:
  """The numbers of the clips that any method has; the same number is the same seed."""
  return sorted({number for folder in samples.values() for number in _clips(folder)})


def by_seed(samples: Mapping[str, pathlib.Path]) -> Iterator[tuple[int, list[Sheet]]]:
  """(number, sheets) of the clips of each seed, methods in their order.

  A clip that is missing or cannot be read is left out, and a number of which nothing is left.
  """
  clips = {row: _clips(samples[row.name]) for row in meanings.ordered_rows(samples)}
  for number in numbers(samples):
    read = ((row, _read(paths[number])) for row, paths in clips.items() if number in paths)
    if found := [of_clip(row, clip) for row, clip in read if clip is not None]:
      yield number, found


def _clips(folder):
  """The clips of a method by their numbers."""
  named = ((_NAME.fullmatch(path.name), path) for path in sorted(folder.glob('clips/clip_*')))
  return {int(match[1]): path for match, path in named if match}


def _read(path):
  """All frames of a clip, or None."""
  try:
    info = video_files.probe(path)
    return video_files.read(path, range(info.frames), info=info)
  except video_files.BadClip:
    return None
