"""Clips to files: mp4, gif, frames, film strips and playing grids.

Clips are uint8 `[N, T, H, W, C]` with C = 3, or C = 1 (shown grey). Single clips are written at
their true size. mp4 is lossless H.264 in RGB (`libx264rgb`, qp 0): any size, odd ones too, and a
clip read back is the clip written, so scores of files are scores of samples. ffmpeg and Chromium
play that profile in its true colours; players that know 4:2:0 only do not, so what is made to be
looked at (`grid.mp4`) is plain 4:2:0, which plays everywhere.
"""

import contextlib
import itertools
import json
import math
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, PngImagePlugin

STRIP_LAYOUT = 'hgdt_strip'  # PNG text: how to cut a film strip into clips again, as JSON
_GUTTER = 2  # pixels between clips and frames
_GUTTER_GREY = 255
# Numbers of H.264 (and of ffmpeg): what is not tagged a player guesses, and Chromium guesses wrong.
_ASKED = 'asked.json'  # beside clips of which some are still to come
_OWN_NAME = re.compile(rf'clip_\d{{4,}}(\.mp4|\.gif)?|\.clip_.*|{re.escape(_ASKED)}')
_RGB_MATRIX, _BT709, _SRGB_TRANSFER = 0, 1, 13


def write_samples(clips: np.ndarray, directory: str | os.PathLike, fps: float = 8) -> pathlib.Path:
  """Writes `clips/clip_0000.mp4` ..., `grid.mp4`, `grid.gif`, `strip.png`; returns the directory.

  The clips have a folder to themselves, so that it can be scored or trained on as it is. The
  directory is replaced as a whole: no clip of an earlier call is left between the new ones.
  """
  directory = pathlib.Path(directory)
  with _replaced(directory) as part:
    write_clips(clips, part / 'clips', fps)
    playing = grid(clips)
    write_mp4(playing, part / 'grid.mp4', fps, lossless=False)
    write_gif(playing, part / 'grid.gif', fps)
    write_film_strip(clips, part / 'strip.png')
  return directory


def write_clips(
  clips: Iterable[np.ndarray],
  directory: str | os.PathLike,
  fps: float = 8,
  format: str = 'mp4',
  first: int = 0,
) -> list[pathlib.Path]:
  """Writes each clip `[T, H, W, C]` as `clip_0000` ... in the format mp4, gif or png, as it comes.

  png is a folder of frames per clip. Each file or folder appears complete or not at all. Numbers
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
  format: str = 'mp4',
  *,
  asked: str,
) -> None:
  """Writes clips as all that `directory` holds: once they stand, those of an earlier call go.

  Until then they are in a folder beside it, of the same name and `.part`. What a call that was
  stopped has left there is kept by one that asks for the same.

  Args:
    clips_from: gives the clips from that number on.
    asked: what tells clips from those of another call.

  Raises:
    ValueError: as `write_clips`; and as `refuse_foreign`, of either folder.
  """
  refuse_foreign(directory)
  directory = pathlib.Path(directory).resolve()
  part = directory.with_name(f'{directory.name}.part')
  refuse_foreign(part)
  done = _kept(part, asked)
  write_clips(clips_from(done), part, fps, format, done)
  (part / _ASKED).unlink()
  _put(part, directory)


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


def write_mp4(
  clip: np.ndarray, path: str | os.PathLike, fps: float = 8, lossless: bool = True
) -> None:
  """Writes `[T, H, W, C]` as H.264: lossless RGB, or else 4:2:0 that every browser plays.

  4:2:0 needs even sizes: the last row or column is repeated where the size is odd.
  """
  frames = _rgb(clip)
  if not lossless:
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode='edge')
  with _replaced(path) as part, av.open(str(part), 'w', format='mp4') as container:
    stream = container.add_stream('libx264rgb' if lossless else 'libx264', rate=_rate(fps))
    stream.height, stream.width = frames.shape[1:3]
    context = stream.codec_context
    context.thread_count = 1  # frames this small are slower with threads
    context.color_primaries = _BT709
    if lossless:
      stream.pix_fmt, stream.options = 'rgb24', {'qp': '0', 'preset': 'veryfast'}
      context.colorspace, context.color_trc = _RGB_MATRIX, _SRGB_TRANSFER
      context.color_range = ColorRange.JPEG
    else:
      stream.pix_fmt, stream.options = 'yuv420p', {'crf': '16', 'preset': 'medium'}
      context.colorspace = context.color_trc = _BT709
      context.color_range = ColorRange.MPEG
    for pixels in frames:
      frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
      if not lossless:
        frame = frame.reformat(
          format='yuv420p', dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_gif(clip: np.ndarray, path: str | os.PathLike, fps: float = 8) -> None:
  """Writes `[T, H, W, C]` as a looping GIF with one palette of 256 colours for the whole clip.

  Through ffmpeg rather than Pillow, which drops a frame that equals the one before it.
  """
  frames = _rgb(clip)
  length, height, width, _ = frames.shape
  stacked = Image.fromarray(frames.reshape(length * height, width, 3)).quantize(
    256, dither=Image.Dither.NONE
  )
  indices = np.asarray(stacked).reshape(length, height, width)
  palette = np.full((256, 4), 255, np.uint8)  # alpha, red, green, blue
  colours = np.asarray(stacked.getpalette(), np.uint8).reshape(-1, 3)
  palette[: len(colours), 1:] = colours
  with _replaced(path) as part, av.open(str(part), 'w', format='gif') as container:
    stream = container.add_stream('gif', rate=_rate(fps))
    stream.height, stream.width, stream.pix_fmt = height, width, 'pal8'
    for pixels in indices:
      frame = av.VideoFrame.from_ndarray((np.ascontiguousarray(pixels), palette), format='pal8')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_frames(clip: np.ndarray, path: str | os.PathLike, fps: float = 8) -> None:
  """Writes `[T, H, W, C]` as a folder of `frame_0000.png` ...; the rate is not kept."""
  del fps
  with _replaced(path) as part:
    part.mkdir()
    for index, pixels in enumerate(_rgb(clip)):
      Image.fromarray(pixels).save(part / f'frame_{index:04d}.png')


def write_film_strip(
  clips: np.ndarray, path: str | os.PathLike, columns_of_frames: int = 8
) -> None:
  """Writes `film_strip(clips)` as PNG, with its layout in the file so that it can be cut again."""
  strip = film_strip(clips, columns_of_frames)
  rows, columns = len(clips), min(columns_of_frames, clips.shape[1])
  layout = PngImagePlugin.PngInfo()
  layout.add_text(STRIP_LAYOUT, json.dumps({'rows': rows, 'columns': columns, 'gutter': _GUTTER}))
  with _replaced(path) as part:
    Image.fromarray(strip).save(part, format='PNG', pnginfo=layout, optimize=True)


def film_strip(clips: np.ndarray, columns_of_frames: int = 8) -> np.ndarray:
  """One still image, uint8 `[H', W', 3]`: a row per clip, time to the right, thin gutters.

  Shows `columns_of_frames` frames (all where a clip has fewer), evenly spaced from the first to
  the last. Clips under 64 pixels are enlarged by a whole factor, pixels repeated.
  """
  clips = _clips(clips)
  length = clips.shape[1]
  times = np.linspace(0, length - 1, min(columns_of_frames, length)).round().astype(int)
  return _tile(_enlarged(clips[:, times], at_least=64))


def grid(clips: np.ndarray) -> np.ndarray:
  """One clip, uint8 `[T, H', W', 3]`, that plays all clips in a near-square grid, row by row.

  Clips under 128 pixels are enlarged by a whole factor, pixels repeated.
  """
  clips = _enlarged(_clips(clips), at_least=128)
  columns = math.ceil(math.sqrt(len(clips)))
  rows = math.ceil(len(clips) / columns)
  blank = np.full((rows * columns - len(clips), *clips.shape[1:]), _GUTTER_GREY, np.uint8)
  cells = np.concatenate([clips, blank]).reshape(rows, columns, *clips.shape[1:])
  return np.stack([_tile(cells[:, :, time]) for time in range(clips.shape[1])])


_WRITERS = {'mp4': (write_mp4, '.mp4'), 'gif': (write_gif, '.gif'), 'png': (write_frames, '')}


def _tile(cells: np.ndarray) -> np.ndarray:
  """[rows, columns, H, W, 3] -> one image with gutters between the cells, none around."""
  rows, columns, height, width, channels = cells.shape
  step_y, step_x = height + _GUTTER, width + _GUTTER
  shape = (rows * step_y - _GUTTER, columns * step_x - _GUTTER, channels)
  image = np.full(shape, _GUTTER_GREY, np.uint8)
  for row in range(rows):
    for column in range(columns):
      y, x = row * step_y, column * step_x
      image[y : y + height, x : x + width] = cells[row, column]
  return image


def _enlarged(clips: np.ndarray, at_least: int) -> np.ndarray:
  factor = max(1, math.ceil(at_least / max(clips.shape[2:4])))
  return clips.repeat(factor, axis=2).repeat(factor, axis=3)


def _clips(clips: np.ndarray) -> np.ndarray:
  """[N, T, H, W, 1 or 3] -> [N, T, H, W, 3], checked."""
  if clips.ndim != 5 or 0 in clips.shape:
    raise ValueError(f'clips have shape {clips.shape}; want [N, T, H, W, C], none of them zero')
  return np.stack([_rgb(clip) for clip in clips])


def _rgb(clip: np.ndarray) -> np.ndarray:
  """[T, H, W, 1 or 3] -> contiguous [T, H, W, 3], checked."""
  clip = np.asarray(clip)
  if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] not in (1, 3) or 0 in clip.shape:
    raise ValueError(
      f'a clip is {clip.dtype} {list(clip.shape)}; want uint8 [T, H, W, C] with C = 1 or 3'
    )
  return np.ascontiguousarray(np.broadcast_to(clip, (*clip.shape[:-1], 3)))


def _rate(fps: float) -> Fraction:
  if not fps > 0:
    raise ValueError(f'fps={fps}: frames per second must be above zero')
  return Fraction(fps).limit_denominator(1001)


@contextlib.contextmanager
def _replaced(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a temporary path beside `path`, which takes its place if nothing was raised."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f'.{path.name}.part')
  _remove(part)
  try:
    yield part
    _put(part, path)
  finally:
    _remove(part)


def _put(part: pathlib.Path, path: pathlib.Path) -> None:
  """`part` in the place of `path`."""
  old = path.with_name(f'.{path.name}.old')
  _remove(old)
  if path.is_dir():  # a folder cannot be renamed over one that is not empty
    path.rename(old)
  try:
    part.replace(path)
  except OSError:
    if old.exists():
      old.rename(path)
    raise
  _remove(old)


def _remove(path: pathlib.Path) -> None:
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)
