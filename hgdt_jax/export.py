"""Takes what a run has learnt away as one file: weights, or a sampler with its weights inside.

python -m hgdt_jax.export --workdir=DIR --out=FILE.safetensors [--dtype=float16]
python -m hgdt_jax.export --workdir=DIR --out=FILE.stablehlo --format=stablehlo [--num=16]
"""

import pathlib

from absl import flags

from hgdt_jax import cli, methods

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Of the run; for a sampler, also weights.', required=True
)
_OUT = flags.DEFINE_string('out', None, 'The file, which ends in its format.', required=True)
_FORMAT = flags.DEFINE_enum(
  'format',
  'safetensors',
  ['safetensors', 'stablehlo'],
  'Weights that hgdt_jax loads, or a program that jax alone runs: from seed, labels, steps and tau '
  'to clips.',
)
_STAGES = flags.DEFINE_list(
  'stages', [], 'Whose networks are wanted; of all that a method draws with if empty. Of weights.'
)
_DTYPE = flags.DEFINE_enum(
  'dtype', 'float32', ['float32', 'float16'], 'Of the weights; float16 is half as long.'
)
_DATA = flags.DEFINE_string('data', '', 'What it was trained on, a line that goes with weights.')
_LICENCE = flags.DEFINE_string('licence', '', 'Of the weights, which goes with them.')
_METHOD = flags.DEFINE_string('method', 'hybrid', f'Of a sampler: {", ".join(methods.METHODS)}.')
_NUM = flags.DEFINE_integer('num', 16, 'Of a sampler: clips a call.', lower_bound=1)


def main():
  out = pathlib.Path(_OUT.value).expanduser()
  if out.suffix != f'.{_FORMAT.value}':
    raise ValueError(f'--out={out}: want a file that ends in .{_FORMAT.value}, as --format says')
  what = _write_sampler(out) if _FORMAT.value == 'stablehlo' else _write_weights(out)
  print(f'{what} in {out}, {out.stat().st_size / 1e6:.2f} MB')


def _write_weights(out):
  from hgdt_jax import publish, weights  # after the flags: --help takes no time

  found = publish.of_run(
    pathlib.Path(_WORKDIR.value).expanduser(),
    _STAGES.value,
    data=_DATA.value,
    licence=_LICENCE.value,
  )
  weights.write(found, out, _DTYPE.value)
  return weights.contents(found)


def _write_sampler(out):
  from hgdt_jax import stablehlo, trained

  model = trained.Trained.load(_WORKDIR.value, _METHOD.value)
  stablehlo.write(model, _METHOD.value, _NUM.value, out)
  return f'{_METHOD.value}, {_NUM.value} clips a call, for {", ".join(stablehlo.PLATFORMS)}'


if __name__ == '__main__':
  cli.run(main)
