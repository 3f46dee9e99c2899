"""Clips drawn from a trained model, as the verb `sample` is asked for them."""

import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from hgdt_jax import donors, machine, settings, trained, writer
from hgdt_jax import workdir as workdirs
from hgdt_jax.diffusion import samplers
from hgdt_jax.drawing import Guidance, Known
from hgdt_jax.request import Request
from hgdt_jax.sampling import folders
from input_pipeline import video_files
from input_pipeline.clip import BadClip
from input_pipeline.sampling import Sampling

_LOSS = ', to be looked at; to be scored, --format=mp4-lossless keeps every pixel'


def write(
  source: str | os.PathLike | donors.Donor,
  out: pathlib.Path,
  asked: Request,
  clip_format: str = 'mp4',
) -> None:
  """Writes clips drawn from the model of a `source`; they replace what an earlier call wrote.

  Args:
    source: as `donors.find` takes it, or what it found.

  Raises:
    ValueError: the method needs a stage that is not done, there is no such method, sampler or
      label, the given frames do not fit, or `out` holds other things than clips.
    FileNotFoundError: `source` holds no trained model, or `asked.condition` is not there.
  """
  folders.refuse_foreign(out)
  machine.start()
  donor = donors.find(source) if isinstance(source, str | os.PathLike) else source
  workdirs.use_compile_cache(donor.cache)
  model = trained.Trained.load(donor, asked.method)
  print(machine.line(model.mesh, model.cfg.dtype), flush=True)
  how = _how(model, asked)

  def clips_from(done):
    if done:
      print(f'{done} clips are there already')
    return _drawn(model, asked, how, done)

  identity = _identity(model, donor, how, asked)
  folders.replace_clips(clips_from, out, model.cfg.data.fps, clip_format, asked=identity)
  loss = '' if clip_format in folders.EXACT else _LOSS
  print(f'{asked.num} clips in {out}{loss}')


def draw(model: trained.Trained, asked: Request) -> np.ndarray:
  """The clips that `write` writes, uint8 `[N, T, H, W, C]`. Raises as it does."""
  return np.stack(list(_drawn(model, asked, _how(model, asked))))


def _how(model, asked):
  """Options of `Trained.draw`, with what is configured where nothing is asked."""
  cfg = model.cfg
  _check_request(cfg, asked)
  how = dict(
    steps=asked.steps or cfg.hybrid.steps,
    tau=cfg.hybrid.tau if asked.tau is None else asked.tau,
    frames=asked.frames,
    sampler=asked.sampler,
    threshold=asked.threshold,
    known=None,
  )
  if asked.condition:
    how['known'] = _known(
      pathlib.Path(asked.condition), asked.at, asked.frames or cfg.data.frames, cfg.data
    )
  if asked.guidance is not None:
    how['guidance'] = Guidance(asked.guidance, asked.interval, asked.rescale)
  return how


def _drawn(model, asked, how, done=0):
  """Clips as they are drawn, a batch at a time: of any number, no more is held."""
  labels = np.full(model.cfg.evaluation.batch, asked.label)  # whole batches: one compilation
  with writer.progress('sample', asked.num, done, unit='clip', delay=5) as progress:
    for first in range(done, asked.num, len(labels)):
      drawn = model.draw(asked.method, labels, asked.seed, first=first, **how)
      for clip in drawn[: asked.num - first]:
        yield clip
        progress.update()


def _identity(model, donor, how, asked):
  """What tells these clips from others, as JSON."""
  done = {stage: getattr(model.cfg, stage).steps for stage in model.weights}
  request = dataclasses.asdict(asked) | how
  if known := how['known']:
    request['known'] = [known.frames, hashlib.sha256(known.pixels.tobytes()).hexdigest()]
  config_of = settings.as_dict(model.cfg)
  identity = {'request': request, 'stages': done, 'weights': donor.identity, 'config': config_of}
  return json.dumps(identity, default=str)


def _check_request(cfg, asked):
  if asked.sampler:
    samplers.find(asked.sampler)  # which a plugin may have registered
  if asked.label >= max(cfg.data.classes, 0):
    raise ValueError(f'--label={asked.label}: the model knows {cfg.data.classes} classes, from 0')
  if asked.guidance is not None and asked.label < 0:
    raise ValueError(f'--guidance={asked.guidance}: towards which class? Give --label too')
  if asked.at and not asked.condition:
    raise ValueError(f'--at={",".join(map(str, asked.at))}: of which frames? Give --condition too')
  if asked.threshold not in ('', 'none') and cfg.space.name != 'pixels':
    raise ValueError(f'--threshold={asked.threshold}: the model works on latents, which it may cut')


def _known(path, at, frames, data):
  """The frames that a clip of `frames` is to contain, of a file, at the rate of the training clips.

  Without a clock a file is taken to have that rate; one that is too long gives its first frames.
  """
  if not path.exists():
    raise FileNotFoundError(f'--condition={path}: no such file or folder')
  try:
    info = video_files.probe(path)
    fps = data.target_fps if info.stamps is not None else 0.0
    given = Sampling(len(at) or frames, data.stride, fps).beginning(info)
    if len(given) < len(at):
      rate = f'{fps:g} a second' if fps else f'stride {data.stride}'
      raise BadClip(
        f'gives {len(given)} frames at {rate}, the rate of the model; --at has {len(at)}'
      )
    pixels = video_files.read(path, given, data.size, info)
  except BadClip as error:
    raise ValueError(f'--condition={path}: {error}') from error
  return Known(pixels, tuple(at) or tuple(range(len(given))))
