"""Takes the weights of a run away, as one file that any device reads.

python -m hgdt_jax.export --workdir=DIR --out=FILE.safetensors [--dtype=float16]
"""

import pathlib

from absl import flags

from hgdt_jax import cli

_WORKDIR = flags.DEFINE_string('workdir', None, 'Of the run.', required=True)
_OUT = flags.DEFINE_string('out', None, 'The file, .safetensors.', required=True)
_STAGES = flags.DEFINE_list(
  'stages', [], 'Whose networks are wanted; of all that a method draws with if empty.'
)
_DTYPE = flags.DEFINE_enum(
  'dtype', 'float32', ['float32', 'float16'], 'Of the weights; float16 is half as long.'
)
_DATA = flags.DEFINE_string(
  'data', '', 'What it was trained on, a line that goes with the weights.'
)
_LICENCE = flags.DEFINE_string('licence', '', 'Of the weights, which goes with them.')


def main():
  from hgdt_jax import publish, weights  # after the flags: --help takes no time

  out = pathlib.Path(_OUT.value).expanduser()
  found = publish.of_run(
    pathlib.Path(_WORKDIR.value).expanduser(),
    _STAGES.value,
    data=_DATA.value,
    licence=_LICENCE.value,
  )
  weights.write(found, out, _DTYPE.value)
  print(f'{weights.contents(found)} in {out}, {out.stat().st_size / 1e6:.2f} MB')


@flags.validator('out', 'want a file that ends in .safetensors')
def _is_named(out):
  return out is None or out.endswith('.safetensors')


if __name__ == '__main__':
  cli.run(main)
