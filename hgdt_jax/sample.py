"""Draws clips from a trained workdir.

python -m hgdt_jax.sample --workdir=DIR --out=CLIPS --num=16 --method=hybrid --steps=4 --tau=0.6
"""

import pathlib

from absl import flags

from hgdt_jax import cli

_WORKDIR = flags.DEFINE_string('workdir', None, 'Of the run to sample from.', required=True)
_OUT = flags.DEFINE_string('out', None, 'Folder the clips are written to.', required=True)
_NUM = flags.DEFINE_integer('num', 16, 'Clips.', lower_bound=1)
_METHOD = flags.DEFINE_enum(
  'method', 'hybrid', ['gan', 'diffusion_frames', 'diffusion', 'hybrid'], 'Way to sample.'
)
_STEPS = flags.DEFINE_integer('steps', 0, 'Of the denoiser; 0: as trained for.', lower_bound=0)
_TAU = flags.DEFINE_float('tau', 0.0, 'Noise level of the draft; 0: as trained for.', 0.0, 1.0)
_FRAMES = flags.DEFINE_integer('frames', 0, 'Of a clip; 0: as trained on.', lower_bound=0)
_SEED = flags.DEFINE_integer('seed', 0, 'Of codes and noise.', lower_bound=0)
_LABEL = flags.DEFINE_integer('label', -1, 'Class of all clips; -1: none given.', lower_bound=-1)
_FORMAT = flags.DEFINE_enum('format', 'mp4', ['mp4', 'gif', 'png'], 'png: folders of frames.')


def main():
  from hgdt_jax import run  # after the flags: --help needs no accelerator

  run.sample(
    pathlib.Path(_WORKDIR.value),
    pathlib.Path(_OUT.value),
    method=_METHOD.value,
    num=_NUM.value,
    steps=_STEPS.value,
    tau=_TAU.value,
    frames=_FRAMES.value,
    seed=_SEED.value,
    label=_LABEL.value,
    clip_format=_FORMAT.value,
  )


if __name__ == '__main__':
  cli.run(main)
