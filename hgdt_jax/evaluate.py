"""Scores a folder of generated clips against a folder of real ones.

python -m hgdt_jax.evaluate --real=DIR --fake=DIR --metrics=fvd,fid --weights=DIR --out=results.json
"""

import functools
import pathlib
import sys

from absl import flags

from hgdt_jax import cli, interrupts

_REAL = flags.DEFINE_string('real', None, 'Folder of real clips.', required=True)
_FAKE = flags.DEFINE_string('fake', None, 'Folder of generated clips.', required=True)
_METRICS = flags.DEFINE_list(
  'metrics', ['frechet_random_conv3d', 'motion_ratio'], 'Names, separated by commas.'
)
_WEIGHTS = flags.DEFINE_string('weights', '', 'Folder of converted weights of feature networks.')
_OUT = flags.DEFINE_string('out', 'results.json', 'File that the scores are written to.')
_FRAMES = flags.DEFINE_integer('frames', 16, 'Frames of a clip.', lower_bound=1)
_STRIDE = flags.DEFINE_integer('stride', 1, 'From one frame to the next.', lower_bound=1)
_FPS = flags.DEFINE_list(
  'fps',
  [],
  'Frames a second that clips are read at, whatever their files have; two numbers for real and '
  'generated clips (0: as --stride says).',
)
_WINDOW_STRIDE = flags.DEFINE_integer(
  'window_stride', 0, 'From one clip of a file to the next; 0: one a file.', lower_bound=0
)
_SIZE = flags.DEFINE_integer(
  'size', 0, 'Resize the short side to this, crop the centre; 0: leave.', lower_bound=0
)
_MAX_CLIPS = flags.DEFINE_integer(
  'max_clips', 0, 'So many, of files drawn at random by --seed; 0: all.', lower_bound=0
)
_NPY_ORDER = flags.DEFINE_string(
  'npy_order', 'THWC', 'Axes of npy files; of many clips: TNHW (Moving MNIST), NTHW, NTHWC.'
)
_BATCH = flags.DEFINE_integer('batch', 16, 'Clips measured at once.', lower_bound=1)
_BOOTSTRAP = flags.DEFINE_integer(
  'bootstrap', 0, 'Resamplings (halves of the clips) for a 95% interval; 0: none.', lower_bound=0
)
_CURVE = flags.DEFINE_bool('curve', False, 'Score against the number of generated clips.')
_INFINITY = flags.DEFINE_bool(
  'infinity', False, 'Fréchet distances extrapolated to infinitely many clips.'
)
_SEED = flags.DEFINE_integer('seed', 0, 'Of resampling and --max_clips.', lower_bound=0)
_SPLIT = flags.DEFINE_string('split', '', 'Read this split (a folder) of the real clips.')
_CACHE = flags.DEFINE_bool(
  'cache', True, 'Keep what was measured of the real clips in a folder beside --out.'
)
_MAX_FPS = 1000
_OVERWRITE = flags.DEFINE_bool(
  'overwrite', False, "Replace --out though it is no results of evaluate, but a run's."
)
_CACHE_FOLDER = 'real_statistics'


def main():
  # after the flags: --help needs no device
  from hgdt_jax import clip_sides, machine, scoring
  from hgdt_jax.clip_decoder import Cut
  from hgdt_jax.metrics import score

  machine.start()
  out, fake = _path(_OUT), _path(_FAKE)
  scoring.check_out(out, _OVERWRITE.value)
  result, method = scoring.Result(), clip_sides.called(fake)
  seed = _SEED.value if _MAX_CLIPS.value else 0
  try:
    scoring.score_folders(
      _path(_REAL),
      fake,
      _METRICS.value,
      Cut(
        _FRAMES.value,
        _STRIDE.value,
        _WINDOW_STRIDE.value,
        _SIZE.value,
        _MAX_CLIPS.value,
        _NPY_ORDER.value,
        _rates(_FPS.value),
        seed,
      ),
      _path(_WEIGHTS) if _WEIGHTS.value else None,
      score.Uncertainty(_BOOTSTRAP.value, _CURVE.value, _INFINITY.value, _SEED.value),
      out.parent / _CACHE_FOLDER if _CACHE.value else None,
      _BATCH.value,
      _SPLIT.value,
      result,
      functools.partial(print, flush=True),
    )
  except interrupts.Interrupted as stop:
    stop.advice = _kept(result, method, out)
    raise
  _tell(result)
  _write(result, method, out)
  print(f'written to {out}')


def _path(flag):
  return pathlib.Path(flag.value).expanduser()


def _tell(result):
  """Before anything is written: a full disk loses no number."""
  from hgdt_jax import scoring

  for path, reason in result.dropped:
    print(f'left out {path}: {reason}', file=sys.stderr)
  for note in result.notes:
    print(note, file=sys.stderr)
  print(scoring.table(result.scores), flush=True)


def _write(result, method, out, **more):
  from hgdt_jax import scoring
  from hgdt_jax.metrics import protocol

  left_out = [{'path': str(path), 'reason': reason} for path, reason in result.dropped]
  row = protocol.results_row(method, result.scores)
  about = {'clips': result.clips, 'left_out': left_out, 'notes': result.notes}
  scoring.write_results(out, [row], **about, **more)


def _kept(result, method, out):
  """Shows and writes the scores that there are; returns the advice to go on by."""
  again = 'the same command scores anew'
  if _CACHE.value:
    again += ', but for what was measured of all real clips'
  if not result.scores:
    return f'no score was done; {again}'
  _tell(result)
  _write(result, method, out, stopped=True)
  return f'{len(result.scores)} scores are in {out}; {again}'


@flags.validator('npy_order')
def _known_order(order):
  from input_pipeline import stacks

  if order not in stacks.ORDERS:
    raise flags.ValidationError(f'want one of {", ".join(stacks.ORDERS)}')
  return True


def _rates(given):
  """(real, generated) of one number or two."""
  real, *fake = map(float, given or [0])
  return real, *(fake or [real])


@flags.multi_flags_validator(['fps', 'stride'])
def _one_rule(values):
  try:
    rates = _rates(values['fps'])
  except ValueError:
    rates = ()
  if len(rates) != 2 or not all(0 <= rate <= _MAX_FPS for rate in rates):
    raise flags.ValidationError(
      f'--fps={",".join(values["fps"])}: want one number from 0 to {_MAX_FPS}, or two'
    )
  if all(rates) and values['stride'] != 1:
    raise flags.ValidationError('--fps and --stride: want one of them only')
  return True


@flags.validator('metrics')
def _known(names):
  from hgdt_jax.metrics import table

  if not names:
    raise flags.ValidationError('want at least one name; python -m hgdt_jax.main --list has them')
  try:
    return all(table.find(name) for name in names)
  except ValueError as error:
    raise flags.ValidationError(str(error)) from error


if __name__ == '__main__':
  cli.run(main)
