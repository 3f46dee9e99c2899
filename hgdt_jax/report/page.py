"""`report/index.html`: one page with everything in it, made from what a workdir holds."""

import base64
import html
import io
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from hgdt_jax.report import contents as contents_lib
from hgdt_jax.report import facts, meanings, pictures, plots, scores, style
from hgdt_jax.report.contents import Contents

_CLIPS_SHOWN = 4  # film strips to a method

esc = html.escape


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
  part = path.with_name('.index.html.part')
  part.write_text(render(contents), encoding='utf-8')
  part.replace(path)
  return path


def render(contents: Contents) -> str:
  """The page as text; every part of it that comes from the workdir is escaped."""
  name = contents.workdir.resolve().name
  sections = (_clips, _films, _table, _tau, _truncation, _cost, _training, _details)
  body = '\n'.join([_header(contents, name), *(part for s in sections if (part := s(contents)))])
  return (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    "media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
    f'<title>{esc(name)}: hgdt_jax report</title>\n<style>{style.css()}</style>\n</head>\n'
    f'<body><main>\n{body}\n</main>\n<script>{style.SCRIPT}</script></body>\n</html>\n'
  )


def _header(contents: Contents, name: str) -> str:
  lines = [
    f'<header><p class="over">hgdt_jax run</p><h1>{esc(name)}</h1>',
    f'<p class="lead">{esc(facts.verdict(contents))}</p>',
  ]
  lines += [f'<p class="warning">{esc(text)}</p>' for text in facts.warnings(contents)]
  cells = ''.join(
    f'<div><dt>{esc(label)}</dt><dd>{esc(value)}</dd></div>'
    for label, value in facts.facts(contents)
  )
  if cells:
    lines.append(f'<dl class="facts">{cells}</dl>')
  return '\n'.join([*lines, '</header>'])


def _clips(contents: Contents) -> str:
  cards = []
  for method in meanings.ordered_rows(contents.samples):
    if media := _playing(contents.samples[method.name], method.label):
      cards.append(
        f'<div class="clip">{media}<b>{_dot(method.name)}{esc(method.label)}</b>'
        f'<p>{esc(method.meaning)}</p></div>'
      )
  if not cards:
    return ''
  return _section(
    'Samples',
    'The same place in each grid is the same seed (real clips have none).',
    f'<div class="clips">{"".join(cards)}</div>',
    beside='<button id="pause" hidden>Pause</button>',
  )


def _playing(folder: pathlib.Path, label: str) -> str:
  if (mp4 := folder / 'grid.mp4').exists():
    source = _data_uri(mp4.read_bytes(), 'video/mp4')
    return (
      f'<video src="{source}" aria-label="{esc(label)}" autoplay loop muted playsinline></video>'
    )
  if (gif := folder / 'grid.gif').exists():
    return f'<img src="{_data_uri(gif.read_bytes(), "image/gif")}" alt="{esc(label)}">'
  return ''


def _films(contents: Contents) -> str:
  strips = pictures.strips(contents.samples)
  if not strips:
    return ''
  figures = []
  for index in range(min(_CLIPS_SHOWN, max(len(each) for each in strips.values()))):
    films = []
    for name, each in strips.items():
      if index < len(each):
        label = meanings.row(name).label
        films.append(
          f'<div class="film"><b>{esc(label)}</b>'
          f'<img src="{_image(each[index])}" alt="{esc(label)}, clip {index + 1}"></div>'
        )
    figures.append(f'<figure><figcaption>clip {index + 1}</figcaption>{"".join(films)}</figure>')
  return _section(
    'Film strips',
    'Time runs to the right. One block is one seed, drawn by every method.',
    f'<div class="films">{"".join(figures)}</div>',
  )


def _table(contents: Contents) -> str:
  results = scores.in_order(contents.results)
  if not results:
    return ''
  metrics = scores.metrics_of(results)
  head = ''.join(
    f'<th scope="col" title="{esc(_tooltip(results, metric))}">{esc(metric.label)}&nbsp;'
    f'{metric.arrow.replace(" ", "&nbsp;")}</th>'
    for metric in metrics
  )
  winners = {metric.name: scores.best(results, metric) for metric in metrics}
  rows = []
  for index, result in enumerate(results):
    method = meanings.row(str(result.get('method')))
    found = scores.values(result)
    cells = [_cell(scores.number(result.get('network_evaluations')), '{:,.0f}')]
    cells += [_cell(scores.number(result.get('seconds_per_clip')), '{:.3g}')]
    cells += [_cell(found.get(m.name), best=index in winners[m.name]) for m in metrics]
    kind = ' class="reference"' if method.name == 'real' else ''
    rows.append(
      f'<tr{kind}><th scope="row">{_dot(method.name)}{esc(method.label)}</th>{"".join(cells)}</tr>'
    )
  note = '↑ higher is better, ↓ lower is better, → 1 nearest to 1 is best; the best is marked.'
  if any(metric.consistency for metric in metrics):
    note += (
      ' A frozen video is perfectly consistent: read consistency beside the motion ratio. Samples '
      f'that move less than {meanings.LEAST_MOTION:g} times as much as real clips are not marked '
      'best in it.'
    )
  return _section(
    'Scores',
    '',
    '<div class="scroll"><table><thead><tr><th scope="col">Method</th><th scope="col">network '
    f'evaluations</th><th scope="col">seconds per clip</th>{head}</tr></thead>'
    f'<tbody>{"".join(rows)}</tbody></table></div><p class="note" style="margin-top:10px">'
    f'{esc(note)}</p>{_meanings(metrics)}{_protocols(results, metrics)}',
  )


def _cell(value: float | None, form: str = '{:.4g}', best: bool = False) -> str:
  if value is None:
    return '<td>–</td>'
  text = f'{value:,.0f}' if abs(value) >= 10_000 else form.format(value)
  return f'<td class="best"><span>{text}</span></td>' if best else f'<td>{text}</td>'


def _tooltip(results: Sequence[Mapping[str, Any]], metric: meanings.Metric) -> str:
  protocols = {text for _, text in facts.protocols(results, metric.name)}
  return '\n'.join([metric.meaning, *sorted(protocols)]).strip() or metric.name


def _meanings(metrics: Sequence[meanings.Metric]) -> str:
  pairs = ''.join(f'<dt>{esc(m.label)}</dt><dd>{esc(m.meaning)}</dd>' for m in metrics if m.meaning)
  return f'<dl class="meanings">{pairs}</dl>' if pairs else ''


def _protocols(results: Sequence[Mapping[str, Any]], metrics: Sequence[meanings.Metric]) -> str:
  rows = []
  for metric in metrics:
    for methods, text in facts.protocols(results, metric.name):
      rows.append(
        f'<tr><td>{esc(metric.label)}</td><td>{esc(methods)}</td><td>{esc(text)}</td></tr>'
      )
  if not rows:
    return ''
  return (
    '<details><summary>Protocol: what it takes to repeat these numbers</summary>'
    f'<table class="protocol"><tbody>{"".join(rows)}</tbody></table></details>'
  )


def _tau(contents: Contents) -> str:
  panels = scores.tau_panels(contents)
  if not panels:
    return ''
  drawn = [
    plots.svg(
      plots.score_curve(_title(p.metric), 'tau', p.series, p.levels),
      f'{p.metric.label} against tau',
    )
    for p in panels
  ]
  solid = [method for p in panels for method in p.series]
  dashed = [method for p in panels for method in p.levels]
  return _section(
    'Score against tau',
    'How far down the GAN draft is noised before it is refined: 0 is the plain GAN, 1 is plain '
    'diffusion.',
    _key(solid, dashed) + _plots(drawn),
  )


def _truncation(contents: Contents) -> str:
  """The two-sample test of drafts at tau, before and after the joint stage."""
  points = contents.curves.get('truncation') or []
  if not points:
    return ''
  head = ''.join(f'<th scope="col">{float(tau):g}</th>' for tau in _in_order(points, 'tau'))
  rows = []
  for method, name in (('gan', 'before joint training'), ('hybrid', 'after')):
    cells = ''.join(
      f'<td>{point["statistic"]:.4f}{_at_most(point)} (p {point["p_value"]:.3f})</td>'
      for point in points
      if point['method'] == method
    )
    rows.append(f'<tr><th scope="row">{_dot(method)}drafts {esc(name)}</th>{cells}</tr>')
  return _section(
    'Is the draft right down to tau?',
    'Drafts and held-out clips, both noised to tau, in a kernel two-sample test: the statistic, 0 '
    'where both follow one law, what it is of endless clips at most, with 95% confidence, and '
    'its p-value. Where it is not 0, refining cannot be exact; few clips leave the bound high.',
    '<div class="scroll"><table><thead><tr><th scope="col">tau</th>'
    f'{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>',
  )


def _at_most(point: Mapping[str, Any]) -> str:
  """The upper bound of a test; '' in results of before there was one."""
  return f' ≤ {point["upper"]:.4f}' if 'upper' in point else ''


def _in_order(points: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
  return list(dict.fromkeys(point[name] for point in points))


def _cost(contents: Contents) -> str:
  panels = scores.cost_panels(contents)
  if not panels:
    return ''
  drawn = [
    plots.svg(
      plots.score_curve(_title(p.metric), 'network evaluations', p.series, p.levels, log_x=True),
      f'{p.metric.label} against network evaluations',
    )
    for p in panels
  ]
  return _section(
    'Score against network evaluations',
    'What a clip costs, and what it gets for that.',
    _key([method for p in panels for method in p.series]) + _plots(drawn) + _cost_table(contents),
  )


def _cost_table(contents: Contents) -> str:
  """The same in figures."""
  points = contents.curves['network_evaluations']
  metrics = meanings.ordered_metrics({name for point in points for name in scores.values(point)})
  rows = []
  for point in points:
    method = meanings.row(str(point.get('method')))
    cells = [_cell(scores.number(point.get('network_evaluations')), '{:,.0f}')]
    cells += [_cell(scores.number(point.get('seconds_per_clip')), '{:.3g}')]
    cells += [_cell(scores.values(point).get(metric.name)) for metric in metrics]
    rows.append(
      f'<tr><th scope="row">{_dot(method.name)}{esc(method.label)}</th>{"".join(cells)}</tr>'
    )
  names = ['Method', 'network evaluations', 'seconds per clip', *(m.label for m in metrics)]
  head = ''.join(f'<th scope="col">{esc(name)}</th>' for name in names)
  return (
    '<details><summary>In figures</summary><div class="scroll"><table>'
    f'<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></details>'
  )


def _training(contents: Contents) -> str:
  blocks = []
  for stage, rows in contents.rows.items():
    done, wanted = contents.steps(stage)
    of = f' of {wanted:,}' if isinstance(wanted, int) else ''
    first = facts.headline(rows)
    rest = [name for name in facts.logged(rows) if name not in first]
    block = f'<h3>{esc(stage)}: {done:,}{of} steps</h3>{_curves(rows, stage, first)}'
    if rest:
      block += f'<details><summary>{len(rest)} more</summary>{_curves(rows, stage, rest)}</details>'
    blocks.append(block)
  if not blocks:
    return ''
  return _section('Training', 'Smoothed, with what was measured behind it.', ''.join(blocks))


def _curves(rows: Sequence[Mapping[str, Any]], stage: str, names: Sequence[str]) -> str:
  drawn = []
  for name in names:
    figure = plots.loss_curve(name.removeprefix(f'{stage}/'), *facts.points(rows, name))
    drawn.append(plots.svg(figure, f'{name} over steps'))
  return _plots(drawn)


def _details(contents: Contents) -> str:
  parts = []
  for title, document in (('Config', contents.config), ('Environment', contents.environment)):
    if document:
      text = json.dumps(document, indent=2, ensure_ascii=False, default=str)
      parts.append(f'<details><summary>{title}</summary><pre>{esc(text)}</pre></details>')
  return _section('As it was run', '', ''.join(parts)) if parts else ''


def _section(title: str, note: str, body: str, beside: str = '') -> str:
  head = f'<div class="head"><h2>{esc(title)}</h2>{beside}</div>'
  about = f'<p class="note">{esc(note)}</p>' if note else ''
  return f'<section>{head}{about}{body}</section>'


def _plots(drawn: Sequence[str]) -> str:
  return f'<div class="plots">{"".join(f"<div>{each}</div>" for each in drawn)}</div>'


def _key(solid: Sequence[str], dashed: Sequence[str] = ()) -> str:
  items = []
  for names, kind in ((solid, ''), (dashed, ' class="dashed"')):
    for method in meanings.ordered_rows(names):
      items.append(
        f'<span><i{kind} style="border-color:{_colour(method.name)}"></i>{esc(method.label)}</span>'
      )
  return f'<div class="key">{"".join(items)}</div>'


def _title(metric: meanings.Metric) -> str:
  return f'{metric.label} {metric.arrow}'.strip()


def _dot(method: str) -> str:
  return f'<span class="dot" style="background:{_colour(method)}"></span>'


def _colour(method: str) -> str:
  return f'var(--{plots.role(method)})'


def _image(image) -> str:
  buffer = io.BytesIO()
  image.save(buffer, format='PNG', optimize=True)
  return _data_uri(buffer.getvalue(), 'image/png')


def _data_uri(data: bytes, kind: str) -> str:
  return f'data:{kind};base64,{base64.b64encode(data).decode()}'
