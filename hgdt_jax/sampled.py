"""Clips drawn from a trained workdir, as the verb `sample` is asked for them."""

import pathlib

import numpy as np

from hgdt_jax import trained
from hgdt_jax import workdir as workdirs
from hgdt_jax.diffusion import samplers
from hgdt_jax.drawing import Guidance, Known
from hgdt_jax.request import Request
from hgdt_jax.sampling import clips
from input_pipeline import video_files
from input_pipeline.clip import BadClip


def write(workdir: pathlib.Path, out: pathlib.Path, asked: Request, clip_format='mp4') -> None:
  """Writes clips drawn from the model in `workdir`; they replace what an earlier call wrote.

  Raises:
    ValueError: the method needs a stage that is not done, there is no such method, sampler or
      label, the given frames do not fit, or `out` holds other things than clips.
    FileNotFoundError: `workdir` holds no trained model, or `asked.condition` is not there.
  """
  clips.refuse_foreign(out)
  workdirs.use_compile_cache(workdir)
  model = trained.Trained.load(workdir, asked.method)
  _check_request(model.cfg, asked)
  cfg, drawn = model.cfg, []
  how = dict(
    steps=asked.steps or cfg.hybrid.steps,
    tau=asked.tau or cfg.hybrid.tau,
    frames=asked.frames,
    sampler=asked.sampler,
    threshold=asked.threshold,
    known=_known(asked.condition, asked.at, cfg) if asked.condition else None,
  )
  if asked.guidance is not None:
    how['guidance'] = Guidance(asked.guidance, asked.interval, asked.rescale)
  labels = np.full(cfg.evaluation.batch, asked.label)  # whole batches: one compilation
  for first in range(0, asked.num, len(labels)):
    drawn.append(model.draw(asked.method, labels, asked.seed, first=first, **how))
  clips.replace_clips(np.concatenate(drawn)[: asked.num], out, cfg.data.fps, clip_format)
  print(f'{asked.num} clips in {out}')


def _check_request(cfg, asked):
  if asked.sampler:
    samplers.find(asked.sampler)  # which a plugin may have registered
  if asked.label >= max(cfg.data.classes, 0):
    raise ValueError(f'--label={asked.label}: the model knows {cfg.data.classes} classes, from 0')
  if asked.guidance is not None and asked.label < 0:
    raise ValueError(f'--guidance={asked.guidance}: towards which class? Give --label too')
  if asked.threshold not in ('', 'none') and cfg.space.name != 'pixels':
    raise ValueError(f'--threshold={asked.threshold}: the model works on latents, which it may cut')


def _known(path, at, cfg):
  """The frames that a clip is to contain, from a file."""
  if not path.exists():
    raise FileNotFoundError(f'--condition={path}: no such file or folder')
  try:
    info = video_files.probe(path)
    at = tuple(at) or tuple(range(info.frames))
    pixels = video_files.read(path, range(len(at)), cfg.data.size, info)
  except BadClip as error:
    raise ValueError(f'--condition={path}: {error}') from error
  return Known(pixels, at)
