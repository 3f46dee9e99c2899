"""Pictures made of a workdir: film strips cut so that the same seeds meet, PNGs for a README."""

import io
import itertools
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hgdt_jax.report import contents, facts, meanings, plots, scores
from hgdt_jax.sampling import clips as files

_LAYOUT = 'hgdt_strip'  # PNG text written by hgdt_jax.sampling.clips.write_film_strip


def comparison(workdir: str | os.PathLike, clips: int = 2) -> bytes:
  """One PNG for a README: a row per method, the frames of the first clips side by side.

  Raises:
    FileNotFoundError: no method has a strip.png.
  """
  found = strips(dict(contents.read(workdir).samples))
  if not found:
    raise FileNotFoundError(f'{workdir}/samples: no strip.png; sample first')
  rows = [(meanings.row(name).label, plots.colour(name), each) for name, each in found.items()]
  return side_by_side(rows, clips)


def side_by_side(rows: Sequence[tuple[str, str, list[Image.Image]]], clips: int = 2) -> bytes:
  """One PNG: in each row a label, its colour, and the first of its strips as `cut` gives them."""
  shown = min(clips, *(len(each) for *_, each in rows))
  width = max(each[0].width for *_, each in rows)
  height = max(each[0].height for *_, each in rows)
  label, gap, top = 150, 12, 24
  font = ImageFont.load_default(15)
  size = (label + shown * (width + gap), top + len(rows) * (height + 4))
  picture = Image.new('RGB', size, 'white')
  draw = ImageDraw.Draw(picture)
  for column in range(shown):
    at = (label + column * (width + gap), top - 6)
    draw.text(at, f'clip {column + 1}', plots.COLOURS['muted'], font, anchor='ls')
  for row, (name, colour, each) in enumerate(rows):
    y = top + row * (height + 4)
    draw.text((label - 10, y + height // 2), name, colour, font, anchor='rm')
    for column in range(shown):
      at = (label + column * (width + gap), y)
      picture.paste(each[column], at, mask=each[column])
  buffer = io.BytesIO()
  picture.save(buffer, format='PNG', optimize=True)
  return buffer.getvalue()


def write_moving(
  workdir: str | os.PathLike,
  path: str | os.PathLike,
  methods: Sequence[str] = ('real', 'gan', 'diffusion', 'hybrid'),
  clips: int = 3,
  fps: float = 8,
) -> None:
  """Writes one GIF for a README: a column per method, in which the first clips play.

  Raises:
    FileNotFoundError: one of the methods has no strip.png.
  """
  found = strips(dict(contents.read(workdir).samples))
  if missing := [name for name in methods if name not in found]:
    raise FileNotFoundError(f'{workdir}/samples/{missing[0]}: no strip.png; sample first')
  columns = [(meanings.row(name).label, plots.colour(name), found[name]) for name in methods]
  files.write_gif(beside_each_other(columns, clips), path, fps)


def beside_each_other(
  columns: Sequence[tuple[str, str, list[Image.Image]]], clips: int = 3
) -> np.ndarray:
  """`[T, H, W, 3]`: above each column a label in its colour, below it the first of its strips.

  Strips are as `cut` gives them; their frames follow each other in time.
  """
  shown = min(clips, *(len(each) for *_, each in columns))
  played = [[_frames(strip) for strip in each[:shown]] for *_, each in columns]
  width, height = played[0][0][0].size
  gap, top = 6, 24
  font = ImageFont.load_default(15)
  size = (len(columns) * (width + gap) - gap, top + shown * (height + gap) - gap)
  pictures = []
  for time in range(min(len(clip) for column in played for clip in column)):
    picture = Image.new('RGB', size, 'white')
    draw = ImageDraw.Draw(picture)
    for x, (name, colour, _), column in zip(range(0, size[0], width + gap), columns, played):
      draw.text((x + width // 2, top - 8), name, colour, font, anchor='ms')
      for y, clip in zip(range(top, size[1], height + gap), column):
        picture.paste(clip[time], (x, y), mask=clip[time])
    pictures.append(np.asarray(picture))
  return np.stack(pictures)


def training_curves(workdir: str | os.PathLike, names: Sequence[str] = ()) -> bytes:
  """One PNG for a README: the values `names` over their steps; none: the losses of every stage.

  Raises:
    FileNotFoundError: nothing has been logged.
  """
  rows = contents.read(workdir).rows
  drawn = [
    (stage, name)
    for stage in rows
    for name in facts.headline(rows[stage])
    if not names or name in names
  ]
  if not drawn:
    raise FileNotFoundError(f'{workdir}: metrics.jsonl holds no values; train first')
  figure, axes = plots.figure_of(len(drawn))
  for (stage, name), each in zip(drawn, axes):
    plots.draw_loss_curve(each, *facts.points(rows[stage], name))
    plots.set_title(each, name if name.startswith(f'{stage}/') else f'{stage}: {name}')
  return plots.png(figure)


def score_curves(workdir: str | os.PathLike) -> bytes:
  """One PNG for a README: scores against tau, then against network evaluations.

  Raises:
    FileNotFoundError: results.json has no curves.
  """
  found = contents.read(workdir)
  drawn = [(panel, 'tau', False) for panel in scores.tau_panels(found)]
  drawn += [(panel, 'network evaluations', True) for panel in scores.cost_panels(found)]
  if not drawn:
    raise FileNotFoundError(f'{workdir}: results.json holds no curves; score first')
  figure, axes = plots.figure_of(len(drawn))
  for (panel, x_label, log_x), each in zip(drawn, axes):
    plots.draw_score_curve(each, panel.series, panel.levels, log_x)
    plots.set_title(each, f'{panel.metric.label} {panel.metric.arrow}')
    each.set_xlabel(x_label, color=plots.COLOURS['muted'])
  methods = {method for panel, _, _ in drawn for method in (*panel.series, *panel.levels)}
  plots.add_key(figure, {m.name: m.label for m in meanings.ordered_rows(methods)})
  return plots.png(figure)


def cut(strip: pathlib.Path) -> list[Image.Image]:
  """The strip of each clip of a strip.png, gutters transparent; the whole if it has no layout."""
  with Image.open(strip) as image:
    layout = json.loads(image.info.get(_LAYOUT) or '{"rows": 1, "columns": 1, "gutter": 0}')
    image = image.convert('RGBA')
  rows, columns, gutter = layout['rows'], layout['columns'], layout['gutter']
  width = (image.width + gutter) // columns - gutter
  for column in range(1, columns):
    image.paste(
      (0, 0, 0, 0), (column * (width + gutter) - gutter, 0, column * (width + gutter), image.height)
    )
  height = (image.height + gutter) // rows - gutter
  boxes = [(0, r * (height + gutter), image.width, r * (height + gutter) + height)
           for r in range(rows)]  # fmt: skip
  return [image.crop(box) for box in boxes]


def strips(samples: dict[str, pathlib.Path]) -> dict[str, list[Image.Image]]:
  """The strips of each method that has them, in the order of the methods."""
  methods = meanings.ordered_rows(samples)
  paths = {method.name: samples[method.name] / 'strip.png' for method in methods}
  return {name: cut(path) for name, path in paths.items() if path.exists()}


def _frames(strip):
  """What lies between the gutters of a strip, each enlarged to twice its size."""
  opaque = strip.crop((0, 0, strip.width, 1)).getchannel('A').tobytes()
  found = []
  for is_frame, places in itertools.groupby(range(strip.width), lambda x: opaque[x] > 0):
    if is_frame:
      first, *_, last = places
      frame = strip.crop((first, 0, last + 1, strip.height))
      found.append(frame.resize((2 * frame.width, 2 * frame.height), Image.Resampling.NEAREST))
  return found
