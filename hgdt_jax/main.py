"""Trains every stage, samples all four ways, scores them, writes the report.

python -m hgdt_jax.main --config=configs/hybrid.py --workdir=DIR [--config.gan.steps=1000 ...]
"""

import pathlib

from absl import flags

from configs import hybrid
from hgdt_jax import cli

_CONFIGS = pathlib.Path(hybrid.__file__).parent
_CONFIG = cli.config_flag(
  'config',
  str(_CONFIGS / 'hybrid.py'),
  f'Recipe, FILE or FILE:PRESET; presets of configs/hybrid.py: {", ".join(hybrid.PRESETS)}. Every '
  'field can be set as --config.a.b=value; all, with their meaning, are in '
  f'{_CONFIGS / "base.py"}.',
)
_WORKDIR = flags.DEFINE_string(
  'workdir', 'runs/hybrid', 'Everything is written here; resumed from.'
)
_INIT_FROM = flags.DEFINE_list(
  'init_from',
  [],
  'What networks begin with, by commas: SOURCE or STAGE=SOURCE[:STAGE], as --config.init_from; '
  'SOURCE is a workdir, a file of weights or the name of shipped ones.',
)
_DISTRIBUTED = flags.DEFINE_bool(
  'distributed', False, 'One of several processes: TPU pods, Slurm, several hosts.'
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', '', 'HOST:PORT of the first process; with --distributed where no cluster says it.'
)
_PROCESSES = flags.DEFINE_integer('processes', None, 'How many; with --coordinator.', lower_bound=1)
_PROCESS = flags.DEFINE_integer(
  'process', None, 'Which, from 0; with --coordinator.', lower_bound=0
)

_LIST = flags.DEFINE_bool(
  'list', False, 'Print all that a configuration can name, and what --config registers, and leave.'
)


def main():
  from hgdt_jax import processes, run, settings  # after the flags: --help takes no time

  if _LIST.value:
    from hgdt_jax import listing

    settings.import_plugins(_CONFIG.value.to_dict())
    print(listing.text())
    return
  if _DISTRIBUTED.value:
    processes.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
  given = _CONFIG.value.to_dict()
  if _INIT_FROM.value:
    given['init_from'] = tuple(_INIT_FROM.value)
  run.main(given, pathlib.Path(_WORKDIR.value).expanduser())


if __name__ == '__main__':
  cli.run(main)
