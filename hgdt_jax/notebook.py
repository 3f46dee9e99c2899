"""Clips, flows and a run that trains, shown in a notebook."""

import base64
import contextlib
import io
import pathlib
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hgdt_jax import writer
from hgdt_jax.report import pictures
from hgdt_jax.sampling import clips as files

_EVERY = 15.0  # seconds between two looks at a run: a look costs a fraction of one
_TOP = 22  # pixels above a picture for its label


def show(clips: np.ndarray | Mapping[str, np.ndarray], fps: float = 8.0) -> None:
  """Plays clips uint8 `[N, T, H, W, C]`, and lays their frames out below.

  Of a mapping, each under its name.

  Raises:
    ImportError: there is no IPython, so no notebook.
  """
  from IPython import display

  named = clips if isinstance(clips, Mapping) else {'': clips}
  grids = {name: files.grid(some) for name, some in named.items()}
  moments = range(min(len(grid) for grid in grids.values()))
  played = [_beside({name: grid[time] for name, grid in grids.items()}) for time in moments]
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'clips.gif'
    files.write_gif(np.stack(played), path, fps)
    display.display(display.Image(path.read_bytes(), format='gif'))
  display.display(display.Image(_png(_strips(named)), format='png'))


def show_over(name: str, pictures_of: Mapping[float, Mapping[str, np.ndarray]]) -> None:
  """A slider over the values of a knob, which picks what is laid out: `{value: {label: clips}}`.

  Raises: as `show`.
  """
  from IPython import display

  strips = {f'{value:g}': _png(_strips(named)) for value, named in pictures_of.items()}
  source = lambda png: f'data:image/png;base64,{base64.b64encode(png).decode()}'
  images = ''.join(
    f'<img src="{source(png)}" alt="{name} = {value}" style="display:{"none" if i else "block"}">'
    for i, (value, png) in enumerate(strips.items())
  )
  # No script but this line: it picks one of the pictures that stand behind it.
  pick = (
    "const at = +this.value, box = this.closest('div');"
    "box.querySelectorAll('img').forEach((one, i) => "
    "{ one.style.display = i === at ? 'block' : 'none'; if (i === at) "
    "box.querySelector('output').value = one.alt; });"
  )
  first = next(iter(strips))
  html = (
    f'<div><label>{name} <input type="range" min="0" max="{len(strips) - 1}" value="0" '
    f'oninput="{pick}"></label> <output>{name} = {first}</output>{images}</div>'
  )
  display.display({'text/html': html, 'text/plain': f'a slider over {name}'}, raw=True)


def show_flow(clips: np.ndarray, flow: np.ndarray, every: int = 4) -> None:
  """Arrows over the frames of clips, from each place to where it was in the frame before.

  Args:
    clips: uint8 `[N, T, H, W, C]`.
    flow: `[N, T-1, H, W, 2]` in pixels, (x, y).
    every: pixels from arrow to arrow.

  Raises: as `show`.
  """
  from IPython import display
  from matplotlib.figure import Figure

  rows, columns, size = len(clips), flow.shape[1], clips.shape[2]
  figure = Figure(figsize=(1.6 * columns, 1.6 * rows), layout='tight')
  axes = figure.subplots(rows, columns, squeeze=False)
  at = np.arange(every // 2, size, every)
  for row, clip in enumerate(clips):
    for column in range(columns):
      one, arrows = axes[row, column], flow[row, column][np.ix_(at, at)]
      one.imshow(clip[column + 1].squeeze(), cmap='gray', interpolation='nearest')
      options = dict(angles='xy', scale_units='xy', scale=1, color='#ffd23f', width=0.012)
      one.quiver(at, at, arrows[..., 0], arrows[..., 1], **options)
      one.set_axis_off()
  buffer = io.BytesIO()
  figure.savefig(buffer, format='png', dpi=90)
  display.display(display.Image(buffer.getvalue(), format='png'))


@contextlib.contextmanager
def following(workdir: pathlib.Path) -> Iterator[None]:
  """In a notebook, curves of a run and what it drew last, kept up to date; elsewhere nothing."""
  if not writer.in_notebook():
    yield
    return
  from IPython import display

  nothing = {'text/plain': 'curves and clips appear here'}
  handles = [display.display(nothing, raw=True, display_id=True) for _ in range(2)]
  ended, shown = threading.Event(), [b'', b'']

  def look():
    for i, png in enumerate((_curves(workdir), _newest_strip(workdir))):
      if png and png != shown[i]:
        shown[i] = png
        handles[i].update(display.Image(png, format='png'))

  def follow():
    while not ended.wait(_EVERY):
      look()

  thread = threading.Thread(target=follow, daemon=True)
  thread.start()
  try:
    with warnings.catch_warnings():
      warnings.showwarning = _say_warning
      yield
  finally:
    ended.set()
    thread.join()
    look()


def _say_warning(message, category, filename, lineno, file=None, line=None):
  """In a line, as the verbs do: where the code stands that gives it helps nobody."""
  del category, filename, lineno, file, line
  print(f'warning: {message}', file=sys.stderr, flush=True)


def _curves(workdir):
  try:
    return pictures.training_curves(workdir)
  except FileNotFoundError:  # nothing is logged yet
    return b''


def _newest_strip(workdir):
  """What a stage drew last, with the name of its file above it."""
  found = sorted(workdir.glob('progress/*.png'))
  if not found:
    return b''
  _, stage, step = found[-1].stem.split('_')
  with Image.open(found[-1]) as strip:
    return _png(_beside({f'{stage}, step {int(step)}': np.asarray(strip.convert('RGB'))}))


def _strips(named):
  """The film strips of some clips each, below each other."""
  strips = {name: files.film_strip(clips) for name, clips in named.items()}
  blocks = [_beside({name: strip}) for name, strip in strips.items()]
  width = max(block.shape[1] for block in blocks)
  pad = lambda block: np.pad(
    block, ((0, 0), (0, width - block.shape[1]), (0, 0)), constant_values=255
  )
  return np.concatenate([pad(block) for block in blocks])


def _beside(named):
  """Pictures uint8 `[H, W, 3]` in a row, a label above each; of one without a name, itself."""
  if list(named) == ['']:
    return named['']
  height = _TOP + max(picture.shape[0] for picture in named.values())
  width = sum(picture.shape[1] + 8 for picture in named.values()) - 8
  canvas = Image.new('RGB', (width, height), 'white')
  draw, x = ImageDraw.Draw(canvas), 0
  for name, picture in named.items():
    draw.text((x + 2, _TOP - 6), name, '#1f2328', ImageFont.load_default(14), anchor='ls')
    canvas.paste(Image.fromarray(picture), (x, _TOP))
    x += picture.shape[1] + 8
  return np.asarray(canvas)


def _png(picture):
  buffer = io.BytesIO()
  Image.fromarray(picture).save(buffer, format='PNG', optimize=True)
  return buffer.getvalue()
