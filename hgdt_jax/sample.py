"""Draws clips from a trained workdir, or from weights taken away from one.

python -m hgdt_jax.sample --workdir=DIR --out=CLIPS --num=16 --method=hybrid --steps=4 --tau=0.6
python -m hgdt_jax.sample --weights=synthetic --out=CLIPS
"""

import math
import pathlib

from absl import flags

from hgdt_jax import cli, methods
from hgdt_jax.request import Request

_WORKDIR = flags.DEFINE_string('workdir', None, 'Of the run to sample from.')
_WEIGHTS = flags.DEFINE_string(
  'weights', None, 'In its place: a file that `export` wrote, or the name of shipped weights.'
)
flags.mark_flags_as_mutual_exclusive(['workdir', 'weights'], required=True)
_OUT = flags.DEFINE_string('out', None, 'Folder the clips are written to.', required=True)
_NUM = flags.DEFINE_integer('num', 16, 'Clips.', lower_bound=1)
_METHOD = flags.DEFINE_string(
  'method',
  'hybrid',
  f'Way to sample: {", ".join(methods.METHODS)}, or one of the grid or a plugin.',
)
_STEPS = flags.DEFINE_integer('steps', 0, 'Of the denoiser; 0: as configured.', lower_bound=0)
_TAU = flags.DEFINE_float(
  'tau',
  None,
  'Noise level of the draft, 0: the draft itself; as configured if not given.',
  0.0,
  1.0,
)
_SAMPLER = flags.DEFINE_string(
  'sampler', '', 'How noise is walked down, one of hybrid.sampler; as configured if empty.'
)
_GUIDANCE = flags.DEFINE_float(
  'guidance', None, 'Scale of classifier-free guidance towards --label; none if not given.'
)
_INTERVAL = flags.DEFINE_list(
  'guidance_interval', ['0', '1'], 'The noise levels that --guidance acts at, from,to.'
)
_RESCALE = flags.DEFINE_float(
  'guidance_rescale', 0.0, 'How far --guidance keeps the contrast of clips without it.', 0.0, 1.0
)
_THRESHOLD = flags.DEFINE_enum(
  'threshold',
  '',
  ['', 'none', 'static', 'dynamic'],
  'Keeps pixels in range; as configured if empty.',
)
_FRAMES = flags.DEFINE_integer(
  'frames', 0, 'Of a clip; 0: as trained on. More are made in overlapping windows.', lower_bound=0
)
_SEED = flags.DEFINE_integer('seed', 0, 'Of codes and noise.', 0, 2**32 - 1)
_LABEL = flags.DEFINE_integer('label', -1, 'Class of all clips; -1: none given.', lower_bound=-1)
_CONDITION = flags.DEFINE_string(
  'condition', '', 'Image, clip or folder of frames that the clips contain.'
)
flags.DEFINE_alias('image', 'condition')
_AT = flags.DEFINE_list(
  'at', [], 'Where the frames of --condition stand, from 0; from the first on if empty.'
)
_FORMAT = flags.DEFINE_enum(
  'format',
  'mp4',
  ['mp4', 'mp4-lossless', 'gif', 'png'],
  'mp4 and gif are to be looked at and lose a little; to be scored or trained on are mp4-lossless, '
  'which few players play, and png, folders of frames: they keep every pixel.',
)


def main():
  from hgdt_jax import sampled  # after the flags: --help needs no accelerator

  asked = Request(
    method=_METHOD.value,
    num=_NUM.value,
    steps=_STEPS.value,
    tau=_TAU.value,
    sampler=_SAMPLER.value,
    threshold=_THRESHOLD.value,
    guidance=_GUIDANCE.value,
    interval=tuple(float(level) for level in _INTERVAL.value),
    rescale=_RESCALE.value,
    frames=_FRAMES.value,
    seed=_SEED.value,
    label=_LABEL.value,
    condition=_path(_CONDITION) if _CONDITION.value else None,
    at=tuple(int(number) for number in _AT.value),
  )
  source = _WEIGHTS.value or _path(_WORKDIR)
  sampled.write(source, _path(_OUT), asked, _FORMAT.value)


def _path(flag):
  return pathlib.Path(flag.value).expanduser()


@flags.validator('guidance_interval', 'want two noise levels in [0, 1], the lower one first')
def _rising_levels(interval):
  try:
    low, high = map(float, interval)
  except ValueError:
    return False
  return 0 <= low < high <= 1


@flags.validator('at', 'want different whole numbers from 0, separated by commas')
def _whole_numbers(at):
  return all(number.isdecimal() for number in at) and len(set(map(int, at))) == len(at)


for _name in ('tau', 'guidance', 'guidance_rescale'):
  flags.register_validator(
    _name, lambda value: value is None or math.isfinite(value), 'want a finite number'
  )


if __name__ == '__main__':
  cli.run(main)
