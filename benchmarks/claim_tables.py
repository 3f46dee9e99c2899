"""docs/claim.md, from the statistics of `claim.py` and the notes of whoever ran it."""

import json
import pathlib
import re
import subprocess

import claim_plan as plan
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CLIPS = 2  # of a strip
DOCS = pathlib.Path(__file__).resolve().parents[1] / 'docs'
COLUMNS = {  # metric: (heading, digits)
  'fvd': ('FVD ↓', 1),
  'fvd_whole': ('FVD, all clips ↓', 1),
  'kvd': ('KVD ↓', 2),
  'sliced_wasserstein': ('sliced W ↓', 3),
  'recall': ('recall ↑', 2),
  'coverage': ('coverage ↑', 2),
  'frechet_random_conv3d': ('Fréchet, random ↓', 3),
  'motion_ratio': ('motion → 1', 2),
  'drift_shape': ('shape ↓', 4),
  'drift_scale': ('scale ↓', 4),
  'drift_colour': ('colour ↓', 4),
  'flicker_background': ('flicker ↓', 2),
  'motion_object': ('path', 2),
  'jitter_object': ('jitter', 2),
  'acd_colour': ('ACD colour', 4),
  'acd_lpips': ('ACD LPIPS', 4),
}
ROWS = {  # of the main table
  'real_again': 'another real set',
  'rival.first_frame_repeated': 'first frames of the real set, repeated',
  'gan_equal.gan.0': 'GAN, equal cost',
  'frames_equal.diffusion_frames.2': 'diffusion per frame, equal cost',
  'frames_equal.diffusion_frames.4': 'diffusion per frame, equal cost',
  'frames_equal.diffusion_frames.50': 'diffusion per frame, equal cost',
  'diffusion_equal.diffusion.2': 'diffusion, equal cost',
  'diffusion_equal.diffusion.4': 'diffusion, equal cost',
  'diffusion_equal.diffusion.50': 'diffusion, equal cost',
  f'{plan.PAPER}.1': "hybrid, the paper's own",
  f'{plan.PAPER}.3': "hybrid, the paper's own",
  f'{plan.FULL}.1': 'hybrid, full',
  f'{plan.FULL}.3': 'hybrid, full',
}
GRIDS = {
  'paper': "The paper's setting: one set of weights, each part on and off",
  'hybrid': 'The full system: one set of weights, each part on and off',
}
TRIED = {  # other runs
  'paper_no_aligner': 'paper, no aligner trained, its seconds given to diffusion',
  'paper_joint': 'paper, then joint for the GAN alone',
  'paper_noised': 'paper, the bridge reads the noisy clip: exact',
  'hybrid_no_aligner': 'full, no aligner trained, its seconds given to diffusion',
  'hybrid_no_joint': 'full, no joint, its seconds given to the aligner',
  'hybrid_long_gan': 'long GAN: no aligner and no joint, their seconds given to the GAN',
  'hybrid_rests': 'full, joint for the GAN alone',
  'hybrid_no_latents': 'full, no bridge, no latents',
  'hybrid_noised': 'full, the bridge reads the noisy clip: exact',
  'at_once': 'aligner and temporal layers at once, from the start',
  'attention_last': 'frames, then the aligner, then the temporal layers (in joint)',
}
# A sentence of the paper, the metric that speaks for it, and the rows that it compares: it holds
# where the first has less.
_DRIFTS = {
  'drift_shape': 'shape',
  'drift_scale': 'scale',
  'drift_colour': 'colour',
  'flicker_background': 'background',
  # Of whole frames of real clips, of which no probe knows the truth.
  'acd_colour': 'colour of whole frames',
  'acd_lpips': 'look of whole frames',
}
_ALIGNED = {  # where, and the rows with and without the aligner
  "(paper's, from a draft, with latents)": 'paper.draft_frames{}_gan.3',
  "(paper's, from a draft)": 'paper.draft_frames{}.3',
  "(paper's, from noise)": 'paper.noise_frames{}.4',
  '(full, from a draft, with latents)': 'hybrid.draft_video{}_gan.3',
  '(full, from a draft)': 'hybrid.draft_video{}.3',
  '(full, from noise)': 'hybrid.noise_video{}.4',
}
_NAMES = {plan.FULL: 'full', plan.PAPER: "the paper's own", plan.LONG_GAN: 'long GAN'}
SENTENCES = (
  ('faster than diffusion', 'seconds', f'{plan.FULL}.3', 'diffusion_equal.diffusion.50'),
  ('faster, the paper alone', 'seconds', f'{plan.PAPER}.3', 'frames_equal.diffusion_frames.50'),
  *(
    (
      f'{_NAMES[system]} at {steps + 1}: lower {metric.upper()} than {what}',
      metric,
      f'{system}.{steps}',
      other,
    )
    for system, steps in ((plan.FULL, 3), (plan.FULL, 1), (plan.PAPER, 3), (plan.LONG_GAN, 3))
    for metric in ('fvd', 'kvd')
    for what, other in (
      ('the GAN', 'gan_equal.gan.0'),
      ('diffusion at 4', 'diffusion_equal.diffusion.4'),
      ('diffusion at 50', 'diffusion_equal.diffusion.50'),
      ('diffusion per frame at 4', 'frames_equal.diffusion_frames.4'),
      ('diffusion per frame at 50', 'frames_equal.diffusion_frames.50'),
    )
  ),
  *(
    (
      f'{_NAMES[first]} at 4: lower {metric.upper()} than {_NAMES[second]}',
      metric,
      f'{first}.3',
      f'{second}.3',
    )
    for first, second in ((plan.FULL, plan.PAPER), (plan.LONG_GAN, plan.FULL))
    for metric in ('fvd', 'kvd')
  ),
  *(
    (f'{what}: steadier than {whom}', metric, f'{plan.FULL}.3', other)
    for metric, what in _DRIFTS.items()
    for whom, other in (
      ('the GAN', 'gan_equal.gan.0'),
      ('diffusion at 50', 'diffusion_equal.diffusion.50'),
      ('diffusion per frame at 50', 'frames_equal.diffusion_frames.50'),
    )
  ),
  *(
    (f'the aligner steadies {what} {where}', metric, row.format('_aligned'), row.format(''))
    for metric, what in _DRIFTS.items()
    for where, row in _ALIGNED.items()
  ),
  *(
    (f'the aligner lowers {metric.upper()} {where}', metric, row.format('_aligned'), row.format(''))
    for metric in ('fvd', 'kvd')
    for where, row in _ALIGNED.items()
  ),
)


def write(out: pathlib.Path, sets, seeds, runs=()) -> None:
  """The sections of these sets anew, those of others as they stand; strips beside the page.

  `runs`: what the command was told to run, where that was not all.
  """
  page = DOCS / 'claim.md'
  sections = sections_of(page.read_text()) if page.exists() else {}
  for name in sets:
    found = json.loads((out / name / 'stats.json').read_text())
    strips(out / name / f'seed{seeds[0]}' / 'cells', DOCS / f'claim_{name}.png', shown())
    text = [
      _MADE.format(commit=_commit(), command=_command(name, seeds, runs)),
      *_set(out, name, found),
    ]
    text += [f'\n![The same codes by every method](claim_{name}.png)']
    sections[name] = '\n'.join(text)
  page.write_text(page_of(sections))


def page_of(sections: dict[str, str]) -> str:
  """The page, its sections in the order of `plan.SETS`."""
  written = [f'## {name}\n\n{sections[name].strip()}\n' for name in plan.SETS if name in sections]
  return '\n'.join([_HEAD, *written])


def sections_of(page: str) -> dict[str, str]:
  """What a page says under each of its headings of the second level."""
  parts = re.split(r'^## (.+)$', page, flags=re.MULTILINE)[1:]
  return dict(zip(parts[::2], parts[1::2], strict=True))


def strips(cells: pathlib.Path, path: pathlib.Path, rows) -> None:
  """A row of each method, `rows` `{row: label}`: the first clips of the same codes, in film strips.

  Every second frame, at twice the size; of real rows other clips than of drawn ones.
  """
  shown = {}
  for row, label in rows.items():
    if (cells / f'{row}.npz').exists():
      with np.load(cells / f'{row}.npz') as file:
        shown[label] = np.concatenate(list(file['shown'][:CLIPS, ::2]), axis=0)
  side, gap, margin = 2 * next(iter(shown.values())).shape[1], 6, 290
  width = margin + CLIPS * gap + side * len(next(iter(shown.values())))
  page = Image.new('RGB', (width, (side + gap) * len(shown)), 'white')
  draw = ImageDraw.Draw(page)
  for i, (label, frames) in enumerate(shown.items()):
    top = i * (side + gap)
    draw.text(
      (margin - 8, top + side // 2), label, 'black', ImageFont.load_default(13), anchor='rm'
    )
    for j, frame in enumerate(frames):
      left = margin + j * side + gap * (j // (len(frames) // CLIPS))
      page.paste(Image.fromarray(frame).resize((side, side), Image.Resampling.NEAREST), (left, top))
  page.save(path, optimize=True)


_HEAD = """# The claim, put to the test

Written by `benchmarks/claim.py`; the notes on each run are typed by hand, nothing else is.
`benchmarks/claim_plan.py` says what each run trains, [concepts.md](concepts.md)
how it reads the paper.
Values are means over the seeds; in brackets, where they are given, the seeds' 95% intervals (a
bootstrap over clips; paired by code where two rows are compared). FVD and KVD are in I3D's
features. The columns shape, scale and colour are drifts from frame to frame as a probe reads them,
flicker is of the still background in grey levels, path and jitter are of the object's centre, in
pixels a frame; ACD is the mean distance of all pairs of a clip's frames, of their mean colours or
by LPIPS: what they are on real clips, the row of another real set says.
"""
_MADE = 'Written at commit {commit} by `{command}`.\n'


def shown():
  """Rows of the strips: `{row: label}`."""
  last = lambda row: row.rpartition('.')[2]
  steps = lambda row: f' ({last(row)} steps)' if row.count('.') == 2 and last(row) != '0' else ''
  rows = {'real': 'real'} | {row: label + steps(row) for row, label in ROWS.items()}
  for run in (*GRIDS, *plan.RUNS):
    for cell in plan.cells(run):
      rows.setdefault(cell.name, f'{run}: {cell.method}')
  return rows


def _command(name, seeds, runs):
  alone = f' --runs={",".join(runs)}' if runs else ''
  return f'python benchmarks/claim.py --sets={name} --seeds={",".join(seeds)}{alone}'


def _commit():
  done = subprocess.run(
    ['git', 'rev-parse', '--short', 'HEAD'], cwd=DOCS, capture_output=True, text=True, check=False
  )
  return done.stdout.strip() or 'unknown'


def _set(out, name, found):
  seeds = sorted(found)
  shown = [
    m for m in COLUMNS if any(m in r['scores'] for s in seeds for r in found[s]['rows'].values())
  ]
  text = []
  notes = out / name / 'notes.md'  # what whoever ran it has to say of that
  text += [notes.read_text()] if notes.exists() else []
  least = ' · '.join(str(found[s]['least']) for s in seeds)
  text += [
    f'FVD, sliced Wasserstein, recall, coverage and the random Fréchet distance are of the first '
    f'{least} clips of every row (a seed each), for they depend on how many there are; KVD does '
    'not, and is of all clips of the row.\n',
    _trained(out, name, {row.split('.')[0] for s in seeds for row in found[s]['rows']}),
  ]
  seconds = _seconds(out, name, seeds)
  text += ['\n### Baselines of equal cost\n', _table(found, ROWS, shown, seconds)]
  text += ['\n### The sentences\n', _sentences(found, seconds, shown)]
  for run, title in GRIDS.items():
    rows = {c.name: c.method for c in plan.cells(run) if c.method != 'gan'}
    if run == 'hybrid':
      rows |= {f'rival.draft_blurred_{s}': f'draft, blurred by {s} pixels' for s in plan.BLURS}
    text += [f'\n### {title}\n', _table(found, rows, shown, {})]
  for run, title in TRIED.items():
    rows = {c.name: c.method for c in plan.cells(run)}
    if any(row in found[s]['rows'] for s in seeds for row in rows):
      text += [f'\n### {title}\n', _table(found, rows, shown, {})]
  rows = {
    f'long.{row}.{window}': f'{label}, {window} 16 frames'
    for row, label in {'real': 'real', **{c.name: f'`{c.name}`' for c in plan.LONG}}.items()
    for window in ('first', 'last')
  }
  if any(row in found[s]['rows'] for s in seeds for row in rows):
    said = f'Clips of {plan.LONG_FRAMES} frames, each window against the same of real clips.\n\n'
    text += ['\n### Long clips\n', said + _table(found, rows, shown, {})]
  text += [
    '\n### The law of what the refiner starts from, and of the pair\n',
    _laws(out, name, seeds),
  ]
  text += ['\n### One part at a time: the first row less the second\n', _pairs(found, shown)]
  return text + _smallest(found)


def _table(found, rows, metrics, seconds):
  timed = any(row in seconds for row in rows)
  head = ['', 'seeds', 'clips', 'evaluations', *(['s/clip'] if timed else [])]
  lines = [head + [COLUMNS[m][0] for m in metrics]]
  for row, label in rows.items():
    of = [found[s]['rows'][row] for s in sorted(found) if row in found[s]['rows']]
    if not of:
      continue
    line = [
      label,
      str(len(of)),
      str(min(r['clips'] for r in of)),
      str(of[0].get('evaluations', '')),
    ]
    line += [f'{seconds[row]:.4f}' if row in seconds else ''] if timed else []
    lines.append(line + [_value([r['scores'].get(m) for r in of], m) for m in metrics])
  return markdown(lines)


def _value(scores, metric):
  digits = COLUMNS[metric][1]
  scores = [s for s in scores if s]
  if not scores:
    return ''
  mean = f'{np.mean([s[0] for s in scores]):.{digits}f}'
  if metric not in ('fvd', 'kvd') or len(scores[0]) == 1:
    return mean
  each = ' · '.join(f'{low:.{digits}f}–{high:.{digits}f}' for _, low, high in scores)
  return f'{mean} ({each})'


def _sentences(found, seconds, shown):
  lines = [['the paper says, or would', 'by', 'difference, each seed', 'so it is']]
  for said, metric, first, second in SENTENCES:
    if metric == 'seconds':
      if first in seconds and second in seconds:
        ratio = seconds[second] / seconds[first]
        verdict = 'confirmed' if ratio > 1.05 else 'refuted' if ratio < 0.95 else 'undecided'
        lines.append([said, 'seconds a clip', f'{ratio:.1f} times as fast', verdict])
      continue
    if metric not in shown:
      continue
    each = [found[s]['pairs'].get(f'{first} - {second}', {}).get(metric) for s in sorted(found)]
    if each := [one for one in each if one]:
      digits = COLUMNS[metric][1]
      differ = ' · '.join(
        f'{v:+.{digits}f} ({a:+.{digits}f} to {b:+.{digits}f})' for v, a, b in each
      )
      verdict = verdict_of(each)
      if len(each) < len(found):
        verdict += f', {len(each)} of {len(found)} seeds'
      lines.append([said, f'`{first}` less `{second}`, {metric}', differ, verdict])
  return markdown(lines)


def verdict_of(each) -> str:
  """Of differences (value, low, high), one a seed, that should be below 0."""
  if all(high < 0 for _, _, high in each):
    return 'confirmed'
  return 'refuted' if all(low > 0 for _, low, _ in each) else 'undecided'


def _pairs(found, shown):
  metrics = [m for m in ('kvd', 'fvd', *_DRIFTS) if m in shown]
  lines = [['first', 'second', *(COLUMNS[m][0] for m in metrics)]]
  for key in sorted({key for s in found for key in found[s]['pairs']}):
    first, second = key.split(' - ')
    line = [f'`{first}`', f'`{second}`']
    for metric in metrics:
      each = [found[s]['pairs'].get(key, {}).get(metric) for s in sorted(found)]
      digits = COLUMNS[metric][1]
      mark = lambda low, high: '**' if low > 0 or high < 0 else ''
      shown = [f'{mark(a, b)}{v:+.{digits}f}{mark(a, b)}' for v, a, b in filter(None, each)]
      line.append(' · '.join(shown))
    lines.append(line)
  return 'Bold: the interval of that seed does not hold 0.\n\n' + markdown(lines)


def _laws(out, name, seeds):
  lines = [['run', 'test of', 'MMD² (95% bound), each seed', 'p']]
  paths = {p.stem for s in seeds for p in (out / name / f'seed{s}' / 'cells').glob('*.laws')}
  for run in sorted(paths):
    found = [out / name / f'seed{s}' / 'cells' / f'{run}.laws' for s in seeds]
    found = [json.loads(path.read_text()) for path in found if path.exists()]
    for what in found[0]:
      values = ' · '.join(f'{f[what]["statistic"]:.4f} ({f[what]["upper"]:.4f})' for f in found)
      lines.append(
        [f'`{run}`', what, values, ' · '.join(f'{f[what]["p_value"]:.3f}' for f in found)]
      )
  return markdown(lines)


def _smallest(found):
  values = found[sorted(found)[0]]['smallest'].get('smallest')
  if not values:  # too few clips
    return []
  lines = [['clips', 'FVD', 'KVD']]
  for count in sorted({int(key.split()[1]) for key in values}):
    lines.append([str(count), *(f'{values[f"{m} {count}"]:.3g}' for m in ('fvd', 'kvd'))])
  said = (
    'Of two methods as far from the real clips as the paper at 4 evaluations, each with so many '
  )
  said += 'clips (two-sided 5%, power 80%, not paired):\n\n'
  return ['\n### The smallest difference that could be told apart\n', said + markdown(lines)]


def _seconds(out, name, seeds):
  found = {}
  for path in (out / name / f'seed{seeds[0]}' / 'cells').glob('*.seconds'):
    found |= json.loads(path.read_text())['seconds_per_clip']
  return found


def _trained(out, name, drawn):
  """What each run cost, in seconds of steps alone."""
  kept = {p.stem: json.loads(p.read_text()) for p in (out / 'cost' / name).glob('*.json')}
  cost = {key: one['seconds'] for key, one in kept.items()}
  device = ', '.join(sorted({one['device'] for one in kept.values()}))
  lines = [['run', 'stages: steps × ms', 'seconds in all']]
  for run in [run for run in plan.RUNS if run in drawn]:
    keys = {stage: plan.cost_key(name, run, stage) for stage in plan.RUNS[run].stages}
    like = plan.RUNS[run].fills[1:]
    needed = [
      *keys.values(),
      *(plan.cost_key(name, r, s) for r in like for s in plan.RUNS[r].stages),
    ]
    if not all(key in cost for key in needed):
      continue
    steps = plan.steps(name, run, cost)
    parts = [f'{stage} {count} × {1e3 * cost[keys[stage]]:.1f}' for stage, count in steps.items()]
    total = sum(count * cost[keys[stage]] for stage, count in steps.items())
    lines.append([f'`{run}`', ', '.join(parts), f'{total:.0f}'])
  return (
    f'Trained on {device}; seconds are of compiled steps, timed one after the other.\n\n'
    + markdown(lines)
  )


def markdown(lines) -> str:
  """A table; the first line is its head."""
  rows = [f'| {" | ".join(line)} |' for line in lines]
  return '\n'.join([rows[0], '|' + '---|' * len(lines[0]), *rows[1:]])
