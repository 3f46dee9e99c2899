"""All methods side by side: drawn from one model with the same seeds, scored, written down."""

import json
import math
import pathlib
from collections.abc import Mapping

import numpy as np

from hgdt_jax import atomic, drawing, laws, processes
from hgdt_jax import methods as ways
from hgdt_jax.metrics import measures, protocol, score, temporal
from hgdt_jax.metrics import table as metric_table
from hgdt_jax.sampling import clips as files
from hgdt_jax.sampling import folders
from hgdt_jax.settings import AUTO
from hgdt_jax.stages import STAGES
from hgdt_jax.trained import Trained

SHOWN = 16  # clips of each method that are written as files
_ON_THE_WAY = 4  # clips of each strip of what a stage has come to
_SETS = (
  'frechet_random_conv3d',
  'recall_random_conv3d',
  'temporal_flickering',
  'motion_ratio',
)
_CURVES = ('frechet_random_conv3d', 'motion_ratio')
_TRUE_FLOW = 'warping_error_true_flow'


def evaluate(
  trained: Trained,
  held_out,
  reference,
  flows,
  workdir: pathlib.Path,
  environment,
  timing: Mapping[str, float | None],
):
  """Draws, scores, and writes `samples/` and `results.json`; returns the rows of the table.

  Every process makes this call with the same arguments. They draw together, share the scoring out
  and return the same scores; process 0 writes.

  Args:
    held_out: `{'video': uint8 [N, T, H, W, C], 'label': [N]}`, clips that were not trained on.
    reference: the same of clips that were, as many: real against real, the best to hope for.
    flows: exact (flow, mask) of each held-out clip where the source knows them, else none.
    environment: what results.json says of the run.
    timing: what the clips' source says of them in time; part of every stamp.
  """
  cfg = trained.cfg
  facts = {'split': 'test', 'seed': cfg.seed, **timing}

  def show(name, video):
    if processes.is_first():
      folders.write_samples(video[:SHOWN], workdir / 'samples' / name, cfg.data.fps)

  show('real', held_out['video'])
  rows = [_row(cfg, 'real', held_out['video'], reference['video'], {}, facts)]
  alone = [method for method in trained.methods if not trained.needs_image(method)]
  for method in alone:
    steps = _table_steps(trained, method)
    video, seconds = _draw(trained, method, held_out, steps, cfg.hybrid.tau)
    show(method, video)
    paired = _refined_scores(trained, method, held_out, flows, facts)
    evaluations = trained.evaluations(method, steps)
    rows.append(_row(cfg, method, held_out['video'], video, paired, facts, evaluations, seconds))
  if cfg.draft.given:
    continuing = [method for method in trained.methods if ways.METHODS[method].continues]
    rows += [_continued(trained, method, held_out, facts, show) for method in continuing]
  curves = _curves(trained, held_out, {row['method']: row for row in rows})
  results = {'results': rows, 'curves': curves, 'environment': environment}
  if processes.is_first():
    atomic.write_json(workdir / 'results.json', results)
  return rows


def on_the_way(trained: Trained, stage: str, held_out, strip: pathlib.Path) -> dict[str, float]:
  """What a stage has come to so far: a few scores of what it trains, by names for its rows.

  The first clips that were drawn for them are laid out in `strip`, a PNG.

  Drawn with the codes and noise of the table in `results.json`, so that the last ones of a stage
  are that table's, where no later stage trains the same. By every process, as `evaluate`. None of
  what cannot be drawn yet, such as a hybrid without a GAN.
  """
  cfg, method = trained.cfg, STAGES[stage].shows
  if method not in trained.methods:
    return {}
  video, _ = _draw(trained, method, held_out, _table_steps(trained, method), cfg.hybrid.tau)
  if processes.is_first():
    files.write_film_strip(video[:_ON_THE_WAY], strip)
  found = _scores(held_out['video'], video, _CURVES)
  values = {name: one.value for name, one in found.items() if math.isfinite(one.value)}
  if 'generator' in STAGES[stage].trains and cfg.hybrid.tau != AUTO:
    (test,) = laws.truncation(trained, held_out, [cfg.hybrid.tau], [method])
    values['two_sample_statistic'] = test['statistic']
  if ways.METHODS[method].refined:
    few = {name: rows[: cfg.evaluation.batch] for name, rows in held_out.items()}
    refined = _refined(trained, method, few)
    values['psnr_refined'] = _scores(few['video'], refined, ('psnr',))['psnr'].value
  return {f'{stage}/held_out/{name}': value for name, value in values.items()}


def read(workdir: pathlib.Path) -> list[dict]:
  """The rows that `evaluate` wrote. FileNotFoundError: the run has not come to its end."""
  path = workdir / 'results.json'
  if not path.exists():
    raise FileNotFoundError(f'{path}: not there yet; it is written when all stages are trained')
  return json.loads(path.read_text())['results']


def table(rows) -> str:
  """The rows for a person."""
  names = list(dict.fromkeys(name for row in rows for name in row['metrics']))
  lines = [('method', 'evaluations', 's/clip', *names)]
  for row in rows:
    seconds = row['seconds_per_clip']
    values = (row['metrics'].get(name) for name in names)
    lines.append(
      (
        row['method'],
        str(row['network_evaluations'] or ''),
        f'{seconds:.3f}' if seconds else '',
        *('' if value is None else f'{value:.4g}' for value in values),
      )
    )
  widths = [max(map(len, column)) for column in zip(*lines)]
  return '\n'.join(
    '  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
  )


def _table_steps(trained, method):
  """Steps that give every method but the GAN the hybrid's number of network evaluations."""
  evaluations = trained.evaluations('hybrid', trained.cfg.hybrid.steps)
  return trained.steps(method, evaluations) if ways.find(method).refined else 0


def _draw(trained, method, held_out, steps, tau, *, continuing=False):
  """All clips, and seconds a clip, as `drawing.in_batches`.

  `continuing`: each begins with the first frame of its held-out clip, as it does anyway where the
  method needs one.
  """
  cfg, label, video = trained.cfg, held_out['label'], held_out['video']
  continuing = continuing or trained.needs_image(method)

  def draw(rows, first):
    known = drawing.Known(video[rows, :1], (0,)) if continuing else None
    options = {'first': first, 'steps': steps, 'tau': tau, 'known': known}
    return trained.draw(method, label[rows], cfg.seed, **options)

  return drawing.in_batches(cfg, len(label), draw)


def _scores(real, fake, names, weights='', **facts):
  """By metric; the processes share the work out."""
  return score.score_clips(real, fake, names, weights or None, shared=True, **facts)


def _row(cfg, method, real, fake, more, facts, evaluations=0, seconds=None):
  names = (*_SETS, *_configured(cfg, paired=False))
  scores = _scores(real, fake, names, cfg.evaluation.weights, **facts)
  scores |= _warping(cfg, real, fake, **facts)
  return protocol.results_row(method, scores | more, evaluations, seconds)


def _continued(trained, method, held_out, facts, show):
  """The row of a method that is given the first frames of the held-out clips."""
  cfg, name, real = trained.cfg, _continued_name(method), held_out['video']
  steps = _table_steps(trained, method)
  video, seconds = _draw(trained, method, held_out, steps, cfg.hybrid.tau, continuing=True)
  show(name, video)
  said = 'the frames after a given first one, against those of the real clip'
  paired = _scores(real[:, 1:], video[:, 1:], ('psnr', 'ssim'), **facts, of=said)
  paired = {f'{metric}_continued': one for metric, one in paired.items()}  # not of what is refined
  evaluations = trained.evaluations(method, steps, known=True)
  return _row(cfg, name, real, video, paired, facts, evaluations, seconds)


def _continued_name(method):
  return f'{method}_first_frame'


def _configured(cfg, paired):
  """The further metrics: those of sets compare samples, paired ones what is refined."""
  measure_of = lambda name: metric_table.find(name).measure
  return [n for n in cfg.evaluation.metrics if measures.is_paired(measure_of(n)) == paired]


def _warping(cfg, real, fake, **facts):
  """Of the first clips only: estimating a flow is slow."""
  few = cfg.evaluation.flow_clips
  return _scores(real[:few], fake[:few], ('warping_error',), **facts)


def _refined_scores(trained, method, held_out, flows, facts):
  """Held-out clips diffused to tau and refined, against themselves: a paired comparison."""
  if not ways.find(method).refined:
    return {}
  cfg, video, refined = trained.cfg, held_out['video'], _refined(trained, method, held_out)
  said = (
    f'held-out clips diffused to tau {cfg.hybrid.tau} and refined in {cfg.hybrid.steps} steps, '
    'without latents of the clean clip'
  )
  facts = facts | {'of': said}
  names = ('psnr', 'ssim', *_configured(cfg, paired=True))
  scores = _scores(video, refined, names, cfg.evaluation.weights, **facts)
  if flows:
    errors = [temporal.warping_error(clip, *flow) for clip, flow in zip(refined, flows)]
    stamp = facts | {'clips': len(errors), 'flow': 'exact, of the source', 'better': 'lower'}
    scores[_TRUE_FLOW] = score.Score(float(np.nanmean(errors)), stamp)
  return scores


def _refined(trained, method, held_out):
  cfg, video, label = trained.cfg, held_out['video'], held_out['label']

  def refine(rows, first):
    options = {'first': first, 'steps': cfg.hybrid.steps, 'tau': cfg.hybrid.tau}
    return trained.refine(method, video[rows], label[rows], cfg.seed, **options)

  return drawing.in_batches(cfg, len(video), refine)[0]


def _curves(trained, held_out, rows):
  """Score against tau, and against network evaluations; a point that is in `rows` is that row."""
  cfg = trained.cfg
  row_of = lambda method: rows.get(method) or rows.get(_continued_name(method))

  def point(method, steps, tau):
    if (steps, tau) == (_table_steps(trained, method), cfg.hybrid.tau):
      seconds, metrics = row_of(method)['seconds_per_clip'], row_of(method)['metrics']
      values = {name: metrics[name] for name in (*_CURVES, 'warping_error')}
    else:
      video, seconds = _draw(trained, method, held_out, steps, tau)
      scores = _scores(held_out['video'], video, _CURVES)
      scores |= _warping(cfg, held_out['video'], video)
      values = protocol.results_row(method, scores)['metrics']
    return {
      'network_evaluations': trained.evaluations(method, steps, known=trained.needs_image(method)),
      'seconds_per_clip': seconds,
      'metrics': values,
    }

  curves = {'tau': [], 'network_evaluations': [], 'truncation': []}
  if 'hybrid' in trained.methods:
    taus = {*cfg.evaluation.taus, cfg.hybrid.tau}
    curves['truncation'] = laws.truncation(trained, held_out, taus, ('gan', 'hybrid'))
    for tau in cfg.evaluation.taus:
      curves['tau'].append({'tau': tau} | point('hybrid', cfg.hybrid.steps, tau))
  for method in ('diffusion', 'hybrid', 'hybrid_fewstep'):
    if not row_of(method):
      continue
    least = 1 + ways.METHODS[method].drafted  # a draft alone is the GAN's row
    for evaluations in cfg.evaluation.evaluations:
      if evaluations >= least:
        found = point(method, trained.steps(method, evaluations), cfg.hybrid.tau)
        curves['network_evaluations'].append({'method': method} | found)
  return curves
