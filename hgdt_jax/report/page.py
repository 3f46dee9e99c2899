"""`report/index.html`: one page with everything in it, made from what a workdir holds."""

import base64
import itertools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from hgdt_jax import atomic
from hgdt_jax.report import contents as contents_lib
from hgdt_jax.report import facts, meanings, plots, scores, sheets, style
from hgdt_jax.report.contents import Contents

MOST_BYTES = 15_000_000  # of the page, so that it can be sent
_GRID_BYTES = MOST_BYTES // 3  # of the grids of clips; what is left is for the clips of each seed
_SEEDS_SHOWN = 16
_TAG_BYTES = 4000  # around a clip, at most
_RATE = 8.0  # frames a second where the config does not say

_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.PackageLoader('hgdt_jax.report', '.'),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)
_ENVIRONMENT.filters['colour'] = lambda method: f'var(--{plots.role(method)})'


def build(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes `report/index.html` from config.json, metrics.jsonl, results.json and samples/.

  Parts that are missing are left out, so a run stopped early has a page too.

  Raises:
    FileNotFoundError: there is no such directory.
    ValueError: a JSON file in it cannot be read.
  """
  contents = contents_lib.read(workdir)
  path = contents.workdir / 'report' / 'index.html'
  path.parent.mkdir(exist_ok=True)
  atomic.write(path, render(contents))
  return path


def render(contents: Contents) -> str:
  """The page as text; every part of it that comes from the workdir is escaped.

  It has at most `MOST_BYTES`: clips that do not fit are left out, which it says.
  """
  parts = _parts(contents)
  template = _ENVIRONMENT.get_template('page.html')
  without = template.render(**parts, films=[], films_left_out='')
  return template.render(**parts, **_films(contents, MOST_BYTES - len(without.encode())))


def _parts(contents: Contents) -> dict[str, Any]:
  """What the page shows besides the clips of each seed."""
  samples, left_out = _samples(contents)
  return dict(
    name=contents.workdir.resolve().name,
    css=style.css(),
    verdict=facts.verdict(contents),
    warnings=facts.warnings(contents),
    facts=facts.facts(contents),
    samples=samples,
    samples_left_out=left_out,
    rate=scores.number(contents.setting('data.fps')) or _RATE,
    columns=sheets.COLUMNS,
    results=_results(contents),
    least_motion=meanings.LEAST_MOTION,
    tau=_curves(scores.tau_panels(contents), 'tau'),
    truncation=_truncation(contents),
    cost=_cost(contents),
    training=_training(contents),
    documents=_documents(contents),
  )


def _samples(contents: Contents) -> tuple[list[tuple[meanings.Row, bool, str]], str]:
  """(method, whether its grid of clips is a video, the grid) of each that has one, and a note.

  Once they have taken `_GRID_BYTES`, the others are only named, in the note.
  """
  found, left_out, room = [], [], _GRID_BYTES
  for method in meanings.ordered_rows(contents.samples):
    grids = [contents.samples[method.name] / f'grid.{kind}' for kind in ('mp4', 'gif')]
    grid = next((path for path in grids if path.exists()), None)
    if grid is None:
      continue
    is_video = grid.suffix == '.mp4'
    source = _data_uri(grid.read_bytes(), 'video/mp4' if is_video else 'image/gif')
    if len(source) <= room:
      room -= len(source)
      found.append((method, is_video, source))
    else:
      left_out.append(f'samples/{method.name}/{grid.name}')
  return found, f'Too large for this page: {", ".join(left_out)}.' if left_out else ''


def _films(contents: Contents, room: float) -> dict[str, Any]:
  """The clips of the first seeds, as many as fit into `room` bytes, and a note on the others."""
  films = []
  for number, found in itertools.islice(sheets.by_seed(contents.samples), _SEEDS_SHOWN):
    drawn = [(sheet, _data_uri(sheet.png, 'image/png')) for sheet in found]
    room -= sum(len(source) + _TAG_BYTES for _, source in drawn)
    if room < 0:
      break
    films.append((number, drawn))
  note, total = '', len(sheets.numbers(contents.samples))
  if len(films) < total:
    note = f'{len(films)} of {total} seeds are on this page; all are in samples/METHOD/clips.'
  return {'films': films, 'films_left_out': note}


def _results(contents: Contents) -> dict[str, Any]:
  """The table of scores and how they were taken; empty where there are none."""
  results = scores.in_order(contents.results)
  if not results:
    return {}
  metrics = scores.metrics_of(results)
  protocols = {metric.name: facts.protocols(results, metric.name) for metric in metrics}
  best = {metric.name: scores.best(results, metric) for metric in metrics}
  return {
    'metrics': metrics,
    'tooltips': {m.name: _tooltip(m, {text for _, text in protocols[m.name]}) for m in metrics},
    'rows': _rows(results, metrics, best),
    'protocols': [(metric, *each) for metric in metrics for each in protocols[metric.name]],
  }


def _tooltip(metric: meanings.Metric, protocols: set[str]) -> str:
  return '\n'.join([metric.meaning, *sorted(protocols)]).strip() or metric.name


def _rows(
  results: Sequence[Mapping[str, Any]],
  metrics: Sequence[meanings.Metric],
  best: Mapping[str, Sequence[int]],
) -> list[tuple[meanings.Row, list[tuple[str, bool]]]]:
  """(method, cells) of each result; a cell is its text and whether it is the best of its column."""
  rows = []
  for index, result in enumerate(results):
    found = scores.values(result)
    cells = [
      (_figure(scores.number(result.get('network_evaluations')), '{:,.0f}'), False),
      (_figure(scores.number(result.get('seconds_per_clip')), '{:.3g}'), False),
    ]
    cells += [(_figure(found.get(m.name)), index in best.get(m.name, ())) for m in metrics]
    rows.append((meanings.row(str(result.get('method'))), cells))
  return rows


def _figure(value: float | None, form: str = '{:.4g}') -> str:
  if value is None:
    return '–'
  return f'{value:,.0f}' if abs(value) >= 10_000 else form.format(value)


def _truncation(contents: Contents) -> dict[str, Any]:
  """The two-sample test of drafts at tau, before and after the joint stage."""
  points = contents.curves.get('truncation') or []
  if not points:
    return {}
  return {
    'taus': [f'{float(tau):g}' for tau in dict.fromkeys(point['tau'] for point in points)],
    'rows': [
      (meanings.Row(method, label, ''), [_test(p) for p in points if p['method'] == method])
      for method, label in (('gan', 'drafts before joint training'), ('hybrid', 'drafts after'))
    ],
  }


def _test(point: Mapping[str, Any]) -> str:
  """A test in figures; in results of before there was an upper bound, without it."""
  at_most = f' ≤ {point["upper"]:.4f}' if 'upper' in point else ''
  return f'{point["statistic"]:.4f}{at_most} (p {point["p_value"]:.3f})'


def _cost(contents: Contents) -> dict[str, Any]:
  """The curves against network evaluations, and the same in figures."""
  points = contents.curves.get('network_evaluations') or []
  metrics = scores.metrics_of(points)
  curves = _curves(scores.cost_panels(contents), 'network evaluations', log_x=True)
  return curves | {'metrics': metrics, 'rows': _rows(points, metrics, best={})}


def _curves(panels: Sequence[scores.Panel], x_label: str, log_x: bool = False) -> dict[str, Any]:
  """Scores against a knob, and the methods whose lines are solid and dashed."""
  drawn = []
  for panel in panels:
    title = f'{panel.metric.label} {panel.metric.arrow}'.strip()
    figure = plots.score_curve(title, x_label, panel.series, panel.levels, log_x)
    drawn.append(plots.svg(figure, f'{panel.metric.label} against {x_label}'))
  return {
    'plots': drawn,
    'solid': meanings.ordered_rows({name for panel in panels for name in panel.series}),
    'dashed': meanings.ordered_rows({name for panel in panels for name in panel.levels}),
  }


def _training(contents: Contents) -> list[tuple[str, list[str], list[str]]]:
  """(title, plots to see first, the others) of each stage."""
  stages = []
  for stage, rows in contents.rows.items():
    done, wanted = contents.steps(stage)
    of = f' of {wanted:,}' if isinstance(wanted, int) else ''
    first = facts.headline(rows)
    rest = [name for name in facts.logged(rows) if name not in first]
    drawn = ([_loss_curve(rows, stage, name) for name in names] for names in (first, rest))
    stages.append((f'{stage}: {done:,}{of} steps', *drawn))
  return stages


def _loss_curve(rows: Sequence[Mapping[str, Any]], stage: str, name: str) -> str:
  figure = plots.loss_curve(name.removeprefix(f'{stage}/'), *facts.points(rows, name))
  return plots.svg(figure, f'{name} over steps')


def _documents(contents: Contents) -> list[tuple[str, str]]:
  """(title, JSON) of what the run was given and where it ran."""
  return [
    (title, json.dumps(document, indent=2, ensure_ascii=False, default=str))
    for title, document in (('Config', contents.config), ('Environment', contents.environment))
    if document
  ]


def _data_uri(data: bytes, kind: str) -> str:
  return f'data:{kind};base64,{base64.b64encode(data).decode()}'
