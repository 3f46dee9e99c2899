"""Compiles every stage's step for a slice of TPUs, which need not be there: does it fit?

python -m hgdt_jax.compile --topology=v5e:2x4 --config=configs/hybrid.py:tpu [--config.a.b=value]
"""

import pathlib

from absl import flags

from configs import hybrid
from hgdt_jax import cli

_CONFIG = cli.config_flag(
  'config',
  f'{pathlib.Path(hybrid.__file__)}:tpu',
  'Recipe, FILE or FILE:PRESET, with fields set as for main. Data is not opened: say '
  '--config.data.classes where there are some.',
)
_TOPOLOGY = flags.DEFINE_string(
  'topology', 'v5e:1x1', 'The slice: KIND:AxB of v5e and v6e, KIND:AxBxC of v4 and v5p, in chips.'
)
_STAGES = flags.DEFINE_list('stages', [], 'Which of the recipe; all of them if empty.')


def main():
  from hgdt_jax import rehearsal, settings, topologies  # after the flags: --help takes no time

  cfg = settings.build(settings.Config, _CONFIG.value.to_dict())
  devices = topologies.devices(_TOPOLOGY.value)
  chip = rehearsal.CHIPS[devices[0].device_kind]
  found = rehearsal.rows(cfg, _STAGES.value, devices)
  slice_ = f'{_TOPOLOGY.value}, {len(devices)} x {devices[0].device_kind}'
  frames, size, _ = cfg.clip
  print(f'{slice_}: {cfg.data.batch} clips of {frames}x{size}x{size} a step, {cfg.dtype}\n')
  print(rehearsal.head(), flush=True)
  fitting, too_large = [], []
  for row in found:
    print(rehearsal.line(row, chip), flush=True)
    if rehearsal.fits(row, chip):
      fitting.append(row.stage)
    else:
      too_large.append(f'{row.stage} ({row.excess})' if row.excess else row.stage)
  print()
  if too_large:
    raise ValueError(
      f'does not fit {slice_}: {", ".join(too_large)}; lower config.data.batch, raise '
      'config.mesh.fsdp, or set config.denoiser.remat'
    )
  print(f'{", ".join(fitting)}: fits {slice_}')


if __name__ == '__main__':
  cli.run(main)
