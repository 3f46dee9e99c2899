"""Folders of clips: what a run shows of a method, and what `sample` writes."""

import functools
import itertools
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable

import numpy as np

from hgdt_jax.atomic import put, replaced
from hgdt_jax.sampling import clips as files

_ASKED = 'asked.json'  # beside clips of which some are still to come
_OWN_NAME = re.compile(rf'clip_\d{{4,}}(\.mp4|\.gif)?|\.clip_.*|{re.escape(_ASKED)}')
EXACT = ('mp4-lossless', 'png')  # formats that keep every pixel
_WRITERS = {
  'mp4': (functools.partial(files.write_mp4, lossless=False), '.mp4'),
  'gif': (files.write_gif, '.gif'),
  'png': (files.write_frames, ''),
  'mp4-lossless': (files.write_mp4, '.mp4'),
}


def write_samples(clips: np.ndarray, directory: str | os.PathLike, fps: float = 8) -> pathlib.Path:
  """Writes `clips/clip_0000.mp4` ..., `grid.mp4`, `grid.gif`, `strip.png`; returns the directory.

  The clips have a folder to themselves, and every pixel, so that it can be scored or trained on as
  it is; the grids are to be looked at. The directory is replaced as a whole: no clip of an
  earlier call is left between the new ones.
  """
  directory = pathlib.Path(directory)
  with replaced(directory) as part:
    write_clips(clips, part / 'clips', fps)
    playing = files.grid(clips)
    files.write_mp4(playing, part / 'grid.mp4', fps, lossless=False)
    files.write_gif(playing, part / 'grid.gif', fps)
    files.write_film_strip(clips, part / 'strip.png')
  return directory


def write_clips(
  clips: Iterable[np.ndarray],
  directory: str | os.PathLike,
  fps: float = 8,
  format: str = 'mp4-lossless',
  first: int = 0,
) -> list[pathlib.Path]:
  """Writes each clip `[T, H, W, C]` as `clip_0000` ... in a format, as it comes.

  mp4-lossless and png, a folder of frames per clip, keep every pixel; mp4 and gif are for players,
  and lose a little. Each file or folder appears complete or not at all. Numbers
  begin with `first`.

  Raises:
    ValueError: unknown format, or a clip that is not uint8 `[T, H, W, 1 or 3]`.
  """
  if format not in _WRITERS:
    raise ValueError(f'format={format!r}: no such clip format; it is one of {", ".join(_WRITERS)}')
  write, suffix = _WRITERS[format]
  directory = pathlib.Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  paths = []
  for index, clip in enumerate(clips, first):
    path = directory / f'clip_{index:04d}{suffix}'
    write(clip, path, fps)
    paths.append(path)
  return paths


def replace_clips(
  clips_from: Callable[[int], Iterable[np.ndarray]],
  directory: str | os.PathLike,
  fps: float = 8,
  format: str = 'mp4-lossless',
  *,
  asked: str,
) -> None:
  """Writes clips as all that `directory` holds: once they stand, those of an earlier call go.

  Until then they are in a folder beside it, of the same name and `.part`. What a call that was
  stopped has left there is kept by one that asks for the same.

  Args:
    clips_from: gives the clips from that number on.
    asked: what tells clips from those of another call, beside rate and format.

  Raises:
    ValueError: as `write_clips`; and as `refuse_foreign`, of either folder.
  """
  refuse_foreign(directory)
  directory = pathlib.Path(directory).resolve()
  part = directory.with_name(f'{directory.name}.part')
  refuse_foreign(part)
  done = _kept(part, f'{format}, {fps} frames a second: {asked}')
  write_clips(clips_from(done), part, fps, format, done)
  (part / _ASKED).unlink()
  put(part, directory)


def _kept(part, asked):
  """How many clips of the same call are there; the folder holds no others then."""
  told = part / _ASKED
  if part.is_dir() and not (told.exists() and told.read_text(encoding='utf-8') == asked):
    shutil.rmtree(part)
  part.mkdir(parents=True, exist_ok=True)
  told.write_text(asked, encoding='utf-8')
  numbers = {int(path.name[5:].split('.')[0]) for path in part.glob('clip_*')}
  return next(number for number in itertools.count() if number not in numbers)


def refuse_foreign(directory: str | os.PathLike) -> None:
  """Refuses to replace a folder that holds anything but clips that `write_clips` wrote.

  Raises:
    ValueError: it does, or is a file.
  """
  directory = pathlib.Path(directory)
  if directory.exists() and not directory.is_dir():
    raise ValueError(f'{directory} is a file; name a folder for the clips')
  names = [path.name for path in directory.iterdir()] if directory.is_dir() else ()
  if other := next((name for name in names if not _OWN_NAME.fullmatch(name)), None):
    raise ValueError(
      f'{directory} is to be replaced as a whole, and holds {other}, which is no clip drawn here; '
      'name another folder'
    )
