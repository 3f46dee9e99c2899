"""Clips to files: mp4, gif, frames, film strips and playing grids.

Clips are uint8 `[N, T, H, W, C]` with C = 3, or C = 1 (shown grey). Single clips are written at
their true size. An mp4 is one of two: what is to be looked at is H.264 as every browser and player
knows it, 4:2:0 and a little lossy; what is to be scored is lossless H.264 in RGB (`libx264rgb`, qp
0) at any size, odd ones too, which ffmpeg reads back to the pixel and few players play.
"""

import json
import math
import os
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, PngImagePlugin

from hgdt_jax.atomic import replaced

STRIP_LAYOUT = 'hgdt_strip'  # PNG text: how to cut a film strip into clips again, as JSON
_GUTTER = 2  # pixels between clips and frames
_GUTTER_GREY = 255
# Numbers of H.264 (and of ffmpeg): what is not tagged a player guesses, and Chromium guesses wrong.
_RGB_MATRIX, _BT709, _SRGB_TRANSFER = 0, 1, 13
_GIF_TICKS = 100  # a second
_GIF_FASTEST = 50  # frames a second: browsers play a delay of a single tick as ten


def write_mp4(
  clip: np.ndarray, path: str | os.PathLike, fps: float = 8, lossless: bool = True
) -> None:
  """Writes `[T, H, W, C]` as H.264: lossless RGB, or else High profile 4:2:0 that browsers play.

  4:2:0 needs even sizes: the last row or column is repeated where the size is odd. The index stands
  at the front of the file, so that it plays while it loads.
  """
  frames = _rgb(clip)
  if not lossless:
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode='edge')
  index = {'movflags': '+faststart'}
  with replaced(path) as part, av.open(str(part), 'w', format='mp4', options=index) as container:
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
      stream.pix_fmt = 'yuv420p'
      stream.options = {'crf': '16', 'preset': 'medium', 'profile': 'high'}
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

  Delays are whole hundredths of a second: they differ by one where that keeps the mean rate. Above
  50 frames a second, which no browser shows, it is 50. Through ffmpeg rather than Pillow, which
  drops a frame that equals the one before it.
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
  *starts, end = _gif_times(length, fps)
  last = {'final_delay': str(end - starts[-1])}  # else the muxer repeats the delay before it
  with replaced(path) as part, av.open(str(part), 'w', format='gif', options=last) as container:
    stream = container.add_stream('gif', rate=_rate(fps))
    stream.height, stream.width, stream.pix_fmt = height, width, 'pal8'
    stream.codec_context.time_base = Fraction(1, _GIF_TICKS)
    for pixels, start in zip(indices, starts):
      frame = av.VideoFrame.from_ndarray((np.ascontiguousarray(pixels), palette), format='pal8')
      frame.pts, frame.time_base = start, Fraction(1, _GIF_TICKS)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _gif_times(length, fps):
  """In ticks, when each frame begins, and the end."""
  ticks = _GIF_TICKS / min(_rate(fps), _GIF_FASTEST)
  return [math.floor(i * ticks + Fraction(1, 2)) for i in range(length + 1)]


def write_frames(clip: np.ndarray, path: str | os.PathLike, fps: float = 8) -> None:
  """Writes `[T, H, W, C]` as a folder of `frame_0000.png` ...; the rate is not kept."""
  del fps
  with replaced(path) as part:
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
  with replaced(path) as part:
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
  if not 0.001 <= fps <= 1000:  # NaN too
    raise ValueError(f'fps={fps}: want frames per second from 0.001 to 1000')
  return Fraction(fps).limit_denominator(1001)
