"""Scores a folder of generated clips against a folder of real ones.

python -m hgdt_jax.evaluate --real=DIR --fake=DIR --metrics=fvd,fid --weights=DIR --out=results.json
"""

import functools
import pathlib
import sys

from absl import flags

from hgdt_jax import cli

_REAL = flags.DEFINE_string('real', None, 'Folder of real clips.', required=True)
_FAKE = flags.DEFINE_string('fake', None, 'Folder of generated clips.', required=True)
_METRICS = flags.DEFINE_list(
  'metrics', ['frechet_random_conv3d', 'motion_ratio'], 'Names, separated by commas.'
)
_WEIGHTS = flags.DEFINE_string('weights', '', 'Folder of converted weights of feature networks.')
_OUT = flags.DEFINE_string('out', 'results.json', 'File that the scores are written to.')
_FRAMES = flags.DEFINE_integer('frames', 16, 'Frames of a clip.', lower_bound=1)
_STRIDE = flags.DEFINE_integer('stride', 1, 'From one frame to the next.', lower_bound=1)
_WINDOW_STRIDE = flags.DEFINE_integer(
  'window_stride', 0, 'From one clip of a file to the next; 0: one a file.', lower_bound=0
)
_SIZE = flags.DEFINE_integer(
  'size', 0, 'Resize the short side to this, crop the centre; 0: leave.', lower_bound=0
)
_MAX_CLIPS = flags.DEFINE_integer('max_clips', 0, 'The first so many; 0: all.', lower_bound=0)
_NPY_ORDER = flags.DEFINE_string(
  'npy_order', 'THWC', 'Axes of npy files; of many clips: TNHW (Moving MNIST), NTHW, NTHWC.'
)
_BATCH = flags.DEFINE_integer('batch', 16, 'Clips measured at once.', lower_bound=1)
_BOOTSTRAP = flags.DEFINE_integer(
  'bootstrap', 0, 'Resamplings for a 95% interval; 0: none.', lower_bound=0
)
_CURVE = flags.DEFINE_bool('curve', False, 'Score against the number of generated clips.')
_INFINITY = flags.DEFINE_bool('infinity', False, 'Extrapolate to infinitely many clips.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the resampling.')
_SPLIT = flags.DEFINE_string('split', '', 'Split of the real clips, for the stamp.')
_CACHE = flags.DEFINE_bool(
  'cache', True, 'Keep what was measured of the real clips in a folder beside --out.'
)
_CACHE_FOLDER = 'real_statistics'


def main():
  # after the flags: --help needs no device
  from hgdt_jax import scoring
  from hgdt_jax.clip_decoder import Cut
  from hgdt_jax.metrics import protocol, score

  out, fake = pathlib.Path(_OUT.value).expanduser(), pathlib.Path(_FAKE.value).expanduser()
  result = scoring.score_folders(
    pathlib.Path(_REAL.value).expanduser(),
    fake,
    _METRICS.value,
    Cut(
      _FRAMES.value,
      _STRIDE.value,
      _WINDOW_STRIDE.value,
      _SIZE.value,
      _MAX_CLIPS.value,
      _NPY_ORDER.value,
    ),
    pathlib.Path(_WEIGHTS.value).expanduser() if _WEIGHTS.value else None,
    score.Uncertainty(_BOOTSTRAP.value, _CURVE.value, _INFINITY.value, _SEED.value),
    out.parent / _CACHE_FOLDER if _CACHE.value else None,
    _BATCH.value,
    say=functools.partial(print, flush=True),
    **({'split': _SPLIT.value} if _SPLIT.value else {}),
  )
  scoring.write_results(out, [protocol.results_row(fake.name, result.scores)], result.clips)
  for path, reason in result.dropped:
    print(f'left out {path}: {reason}', file=sys.stderr)
  print(scoring.table(result.scores))
  print(f'written to {out}')


@flags.validator('npy_order')
def _known_order(order):
  from input_pipeline import stacks

  if order not in stacks.ORDERS:
    raise flags.ValidationError(f'want one of {", ".join(stacks.ORDERS)}')
  return True


@flags.validator('metrics')
def _known(names):
  from hgdt_jax.metrics import table

  try:
    return all(table.find(name) for name in names) and bool(names)
  except ValueError as error:
    raise flags.ValidationError(str(error)) from error


if __name__ == '__main__':
  cli.run(main)
