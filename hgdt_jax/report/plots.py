"""Small plots as SVG whose colours follow the page, or as PNG for a README."""

import contextlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hgdt_jax.methods import METHODS

# Role -> colour of the light scheme. In an SVG each becomes `var(--role)`, so a colour stands for
# one role only.
COLOURS = {
  'ink': '#1f2328',
  'muted': '#68707a',
  'line': '#d5d9de',
  'raw': '#b9c6dc',
  'smooth': '#2f62c9',
  'real': '#858d97',
  **{name: method.colours[0] for name, method in METHODS.items()},
  'bad': '#c62f2f',
}
_OTHER = 'muted'  # the colour of a method that has none of its own
_MARKERS = {'real': '_'} | {name: method.marker for name, method in METHODS.items()}
_FEW_POINTS = 24  # up to so many are shown as they are
_MOST_POINTS = 400  # beyond this raw values are drawn as a band: lighter page, same picture


def loss_curve(name: str, steps: np.ndarray, values: np.ndarray) -> Figure:
  """One metric over the steps of its stage: smoothed, with what was measured behind it."""
  figure, axes = _panel(name)
  draw_loss_curve(axes, steps, values)
  axes.set_xlabel('step', color=COLOURS['muted'])
  return figure


def score_curve(
  title: str,
  x_label: str,
  series: Mapping[str, Sequence[tuple[float, float]]],
  levels: Mapping[str, float],
  log_x: bool = False,
) -> Figure:
  """A metric against a knob: a line of (x, y) per method, dashed levels for methods without it."""
  figure, axes = _panel(title)
  draw_score_curve(axes, series, levels, log_x)
  axes.set_xlabel(x_label, color=COLOURS['muted'])
  return figure


def draw_loss_curve(axes: Axes, steps: np.ndarray, values: np.ndarray) -> None:
  """As `loss_curve`, on axes that are there."""
  finite = np.isfinite(values)
  if not finite.all():
    first = steps[np.argmin(finite)]
    axes.text(
      0.98, 0.96, f'not finite from step {first}' if not finite[-1] else f'not finite at {first}',
      transform=axes.transAxes, ha='right', va='top', color=COLOURS['bad'],
    )  # fmt: skip
  steps, values = steps[finite], values[finite]
  if not len(values):
    return
  if len(values) > _MOST_POINTS:
    steps, lowest, means, highest = _buckets(steps, values)
    axes.fill_between(steps, lowest, highest, color=COLOURS['raw'], alpha=0.6, linewidth=0)
  else:
    means = values
    axes.plot(steps, values, color=COLOURS['raw'], linewidth=1)
  few = len(values) <= _FEW_POINTS
  smooth = values if few else _smoothed(means)
  log = values.min() > 0 and smooth.max() > 10 * smooth.min()
  if log and not few:
    smooth = np.exp(_smoothed(np.log(means)))
  marker = '.' if few else None
  axes.plot(steps, smooth, color=COLOURS['smooth'], linewidth=1.8, marker=marker)
  inner = np.concatenate([np.quantile(values, [0.01, 0.99]), smooth])  # a spike must not flatten
  low, high = inner.min(), inner.max()
  if log:
    axes.set_yscale('log')
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f'{y:g}'))
    axes.set_ylim(low / 1.2, high * 1.2)
  else:
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
  axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
  axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: _short(step)))


def draw_score_curve(
  axes: Axes,
  series: Mapping[str, Sequence[tuple[float, float]]],
  levels: Mapping[str, float],
  log_x: bool = False,
) -> None:
  """As `score_curve`, on axes that are there."""
  for method, level in levels.items():
    axes.axhline(level, color=colour(method), linewidth=1.2, linestyle=(0, (4, 3)))
  for method, points in series.items():
    x, y = zip(*sorted(points))
    axes.plot(
      x, y, color=colour(method), linewidth=1.8, marker=_MARKERS.get(method, '.'), markersize=5
    )
  xs = sorted({x for points in series.values() for x, _ in points})
  if log_x and xs and xs[0] > 0:
    axes.set_xscale('log', base=2)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(_thinned(xs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
  axes.margins(y=0.12)


def role(method: str) -> str:
  """The name of a method's colour."""
  return method if method in _MARKERS else _OTHER


def colour(method: str) -> str:
  """The colour of a method, light scheme."""
  return COLOURS[role(method)]


def svg(figure: Figure, description: str) -> str:
  """The figure as an `<svg>` to be put into a page; colours and font are the page's."""
  buffer = io.StringIO()
  with _style():
    figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None})
  text = buffer.getvalue()
  text = text[text.index('<svg') :]
  text = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>', '', text, flags=re.DOTALL)
  text = re.sub(r'font-family: ?[^;"]*', 'font-family: inherit', text)
  text = re.sub(r'font: ?([\d.]+px) [^;\"]*', r'font-size: \1; font-family: inherit', text)
  for name, value in COLOURS.items():
    text = text.replace(value, f'var(--{name})')
  opening, rest = text.split('>', 1)
  opening = re.sub(r' (width|height)="[^"]*"', '', opening)
  return f'{opening} role="img" aria-label="{_attribute(description)}">{rest}'


def png(figure: Figure, dpi: int = 160) -> bytes:
  """The figure as a PNG on white."""
  buffer = io.BytesIO()
  with _style():
    figure.savefig(buffer, format='png', dpi=dpi, facecolor='white')
  return buffer.getvalue()


def figure_of(panels: int, columns: int = 3) -> tuple[Figure, list[Axes]]:
  """A figure of this many panels, for a README picture, and their axes."""
  columns = min(columns, panels)
  rows = math.ceil(panels / columns)
  with _style():
    figure = Figure(figsize=(3.6 * columns, 2.3 * rows), layout='constrained')
    axes = [figure.add_subplot(rows, columns, 1 + i) for i in range(panels)]
    for each in axes:
      _tidy(each)
  return figure, axes


def add_key(figure: Figure, labels: Mapping[str, str]) -> None:
  """Names the methods below the plots."""
  lines = [
    Line2D([], [], color=colour(method), marker=_MARKERS.get(method, '.'), label=label)
    for method, label in labels.items()
  ]
  figure.legend(handles=lines, loc='outside lower center', ncols=len(lines), frameon=False)


def _panel(title: str) -> tuple[Figure, Axes]:
  with _style():
    figure = Figure(figsize=(3.6, 2.25))  # margins by hand: panels line up, and draw twice as fast
    axes = figure.add_axes((0.14, 0.2, 0.84, 0.68))
    _tidy(axes)
    set_title(axes, title)
  return figure, axes


def set_title(axes: Axes, title: str) -> None:
  """A title that is never read as mathematics: a name may hold a dollar sign."""
  axes.set_title(
    title, loc='left', fontsize=9.5, color=COLOURS['ink'], fontweight='bold', parse_math=False
  )


def _tidy(axes: Axes) -> None:
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.spines['bottom'].set_color(COLOURS['line'])
  axes.grid(axis='y', color=COLOURS['line'], linewidth=0.7)
  axes.set_axisbelow(True)
  axes.tick_params(which='both', length=0, labelcolor=COLOURS['muted'])


@contextlib.contextmanager
def _style() -> Iterator[None]:
  with matplotlib.rc_context(
    {'svg.fonttype': 'none', 'svg.hashsalt': 'hgdt', 'font.size': 8.5, 'axes.unicode_minus': True}
  ):
    yield


def _smoothed(values: np.ndarray) -> np.ndarray:
  """Weighted mean of the neighbours on both sides, so a curve is not shown late; sums to one."""
  width = max(1.0, len(values) / 40)
  reach = min(math.ceil(3 * width), (len(values) - 1) // 2)
  kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
  weight = np.convolve(np.ones_like(values), kernel, mode='same')
  return np.convolve(values, kernel, mode='same') / weight


def _buckets(steps: np.ndarray, values: np.ndarray):
  """Middle step, lowest, mean and highest value of each of `_MOST_POINTS` buckets."""
  edges = np.linspace(0, len(values), _MOST_POINTS + 1).astype(int)
  first, size = edges[:-1], np.diff(edges)
  low, high = (f.reduceat(values, first) for f in (np.minimum, np.maximum))
  return steps[first + size // 2], low, np.add.reduceat(values, first) / size, high


def _thinned(xs: Sequence[float]) -> list[float]:
  """Ticks at least a factor 1.4 apart."""
  kept: list[float] = []
  for x in xs:
    if not kept or x >= 1.4 * kept[-1]:
      kept.append(x)
  return kept


def _short(number: float) -> str:
  for size, letter in ((1e6, 'M'), (1e3, 'k')):
    if abs(number) >= size:
      return f'{number / size:.3g}{letter}'
  return f'{number:.3g}'


def _attribute(text: str) -> str:
  return text.replace('&', '&amp;').replace('<', '&lt;').replace('"', '&quot;')
