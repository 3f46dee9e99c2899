"""What a page to play with asks of a model, checked, and what it is shown: all but the page."""

import contextlib
import dataclasses
import functools
import pathlib
import time
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from hgdt_jax import sampled
from hgdt_jax.request import Request
from hgdt_jax.sampling import clips as files
from hgdt_jax.sampling import folders
from hgdt_jax.trained import Trained

MOST_CLIPS = 16
MOST_EVALUATIONS = 64
LONGEST = 4  # times the frames trained on
LAST_SEED = 2**32 - 1
NO_LABEL = 'any'
_DRAFT = 'draft'  # of the grid: what the hybrids refine, unrefined
_PAPER = 255  # the grey under a drawing, where nothing is drawn


@dataclasses.dataclass(frozen=True)
class Asked:
  """The values of the page's controls, as they come: text, numbers, or None.

  Attributes:
    method: of the model's.
    num: clips.
    tau: noise level that drafts are diffused to.
    evaluations: network evaluations a clip, at most.
    label: `NO_LABEL` or the number of a class.
    seed: of codes and noise.
    frames: of a clip.
    image: the first frame, PIL's with or without alpha; one that is all transparent is none.
  """

  method: Any = 'hybrid'
  num: Any = 4
  tau: Any = None
  evaluations: Any = None
  label: Any = NO_LABEL
  seed: Any = 0
  frames: Any = None
  image: Any = None


@dataclasses.dataclass(frozen=True)
class Means:
  """Which controls mean something for a method.

  Attributes:
    tau: whether it refines a draft.
    evaluations: whether it can spend more or fewer.
    label: whether the model knows classes.
    no_image: why it takes no first image; '' if it does.
    text: all of that, for people.
  """

  tau: bool
  evaluations: bool
  label: bool
  no_image: str
  text: str


@dataclasses.dataclass(frozen=True)
class Drawn:
  """Clips uint8 `[N, T, H, W, C]` and what they cost.

  Attributes:
    request: what was drawn.
    clips: the clips.
    drafts: what they were refined from; None where nothing was.
    seconds: that `clips` took.
    evaluations: network evaluations a clip.
  """

  request: Request
  clips: np.ndarray
  drafts: np.ndarray | None
  seconds: float
  evaluations: int


@dataclasses.dataclass(frozen=True)
class Shown:
  """Files of what was drawn; those of drafts are None where there are none.

  Attributes:
    clip: mp4 that browsers play, all clips in a grid.
    strip: PNG, a row for each clip.
    draft: mp4, as `clip`.
    draft_strip: PNG, as `strip`.
    archive: zip of the clips, every pixel kept, and of the drafts.
  """

  clip: pathlib.Path
  strip: pathlib.Path
  draft: pathlib.Path | None
  draft_strip: pathlib.Path | None
  archive: pathlib.Path


def usual(model: Trained) -> Asked:
  """What the controls say at first: as the model is configured, by its best method."""
  cfg, method = model.cfg, 'hybrid' if 'hybrid' in model.methods else model.methods[-1]
  spent = model.evaluations(method, cfg.hybrid.steps)
  return Asked(
    method=method,
    tau=cfg.hybrid.tau,
    evaluations=min(spent, MOST_EVALUATIONS),
    frames=cfg.data.frames,
  )


def labels(model: Trained) -> list[str]:
  """The choices for a label."""
  return [NO_LABEL, *map(str, range(model.cfg.data.classes))]


def means(model: Trained, method: str) -> Means:
  """Raises ValueError if the model has no such method."""
  if method not in model.methods:
    raise ValueError(f'Method: there is no {method!r} here; choose {", ".join(model.methods)}.')
  way = model.lending.way(method)
  refines, no_image = way.drafted and way.refined, _why_no_image(model, way)
  ignored = ['tau'] * (not refines) + ['evaluations'] * (not way.refined)
  ignored += ['label'] * (not model.cfg.data.classes)
  text = f'{way.label}: {way.meaning}.'
  if ignored:
    text += f' Ignored here: {" and ".join(ignored)}.'
  if model.needs_image(method):
    text += ' It continues a first image, so it needs one.'
  return Means(refines, way.refined, model.cfg.data.classes > 0, no_image, text)


def _why_no_image(model, way):
  if not way.mixing:
    return f'{way.label} takes no first image: it draws each frame alone.'
  if model.lending.generates(way) and not model.cfg.draft.given:
    return f'{way.label} takes no first image: the generator was not trained to continue one.'
  return ''


def request(model: Trained, asked: Asked, folder: pathlib.Path) -> Request:
  """What is to be drawn; a first image is put into `folder`. What a method ignores is not read.

  Raises:
    ValueError: a control has a value that means nothing, or the method lacks what it needs; a
      sentence for whoever sees the page.
  """
  of_method = means(model, asked.method)
  image = None if of_method.no_image else _picture(asked.image)
  if image is None and model.needs_image(asked.method):
    raise ValueError('First image: this method continues one; upload or draw it.')
  label, evaluations = -1, 1
  if of_method.label and str(asked.label) != NO_LABEL:
    label = _whole('Label', asked.label, 0, model.cfg.data.classes - 1)
  if of_method.evaluations:
    evaluations = _whole('Evaluations', asked.evaluations, 1, MOST_EVALUATIONS)
  made = Request(
    method=asked.method,
    num=_whole('Clips', asked.num, 1, MOST_CLIPS),
    steps=_steps(model, asked.method, evaluations, image is not None),
    tau=_number('Tau', asked.tau, 0, 1) if of_method.tau else None,
    frames=_whole('Frames', asked.frames, 1, LONGEST * model.cfg.data.frames),
    seed=_whole('Seed', asked.seed, 0, LAST_SEED),
    label=label,
  )
  if image is None:
    return made
  path = folder / 'first_image.png'
  image.save(path)
  return dataclasses.replace(made, condition=path, at=(0,))


def _steps(model, method, evaluations, is_known):
  """The most steps that spend no more, at least 1."""
  spent = functools.partial(model.evaluations, method, known=is_known)
  return next((n for n in range(evaluations, 1, -1) if spent(n) <= evaluations), 1)


def _number(name, value, least, most):
  number = np.nan
  with contextlib.suppress(TypeError, ValueError, OverflowError):
    number = float(value)
  if not least <= number <= most:  # NaN too
    raise ValueError(f'{name}: {_brief(value)} is not a number from {least} to {most}.')
  return number


def _whole(name, value, least, most):
  number = None
  with contextlib.suppress(TypeError, ValueError, OverflowError):
    number = int(value) if float(value).is_integer() else None
  if number is None or not least <= number <= most:
    raise ValueError(f'{name}: {_brief(value)} is not a whole number from {least} to {most}.')
  return number


def _brief(value):
  text = 'nothing' if value is None or value == '' else str(value)
  return text if len(text) <= 40 else text[:37] + '...'


def _picture(image):
  """RGB on paper, or None where there is none or nothing in it."""
  if image is None:
    return None
  if not isinstance(image, Image.Image):
    raise ValueError('First image: that is not an image.')
  layer = image.convert('RGBA')
  if not layer.getchannel('A').getbbox():
    return None
  paper = Image.new('RGBA', layer.size, (_PAPER,) * 3 + (255,))
  return Image.alpha_composite(paper, layer).convert('RGB')


def draw(
  model: Trained, asked: Request, tell: Callable[[float, str], None] = lambda share, text: None
) -> Drawn:
  """Draws what is asked, and the drafts it was refined from.

  Args:
    tell: is told how much of the whole is done, and what comes next.

  Raises:
    ValueError: the model cannot do it.
  """
  tell(0.1, 'drawing; the first time, programs are compiled')
  start = time.monotonic()
  clips = sampled.draw(model, asked)
  seconds = time.monotonic() - start
  way, drafts = model.lending.way(asked.method), None
  is_refined = way.refined and (not way.drafted or bool(asked.tau))
  if way.drafted and way.refined:
    tell(0.7, 'the draft of it')
    # Steps and tau have no part in a draft; codes and noise are those of the seed.
    drafts = sampled.draw(model, dataclasses.replace(asked, method=_DRAFT, steps=0, tau=None))
  known = asked.condition is not None
  spent = model.evaluations(asked.method, asked.steps, known=known) if is_refined else 1
  return Drawn(asked, clips, drafts, seconds, spent)


def program(asked: Request) -> tuple:
  """What is equal for all that is drawn with the same compiled programs."""
  return asked.method, asked.frames, asked.condition is not None, asked.tau == 0


def write(drawn: Drawn, folder: pathlib.Path, fps: float) -> Shown:
  """Writes what was drawn into a `folder` that holds nothing of another call."""
  clip, strip = _write_to_look_at(drawn.clips, folder, 'clips', fps)
  draft, draft_strip = None, None
  if drawn.drafts is not None:
    draft, draft_strip = _write_to_look_at(drawn.drafts, folder, 'drafts', fps)
  archive = folder / f'{drawn.request.method}_seed_{drawn.request.seed}.zip'
  with zipfile.ZipFile(archive, 'w') as zipped:  # stored: clips are compressed already
    for name, clips in (('clips', drawn.clips), ('drafts', drawn.drafts)):
      if clips is not None:
        for path in folders.write_clips(clips, folder / name, fps):
          zipped.write(path, f'{name}/{path.name}')
  return Shown(clip, strip, draft, draft_strip, archive)


def _write_to_look_at(clips, folder, name, fps):
  playing, strip = folder / f'{name}.mp4', folder / f'{name}.png'
  files.write_mp4(files.grid(clips), playing, fps, lossless=False)
  files.write_film_strip(clips, strip)
  return playing, strip


def said(model: Trained, drawn: Drawn) -> str:
  """What was drawn and what it cost, for people."""
  asked, way = drawn.request, model.lending.way(drawn.request.method)
  parts = [f'seed {asked.seed}', f'{drawn.clips.shape[1]} frames']
  parts += [] if asked.tau is None else [f'tau {asked.tau:g}']
  parts += [f'class {asked.label}'] * (asked.label >= 0)
  parts += ['continues the first image'] * (asked.condition is not None)
  count = lambda number, what: f'{number} {what}{"s" * (number != 1)}'
  return (
    f'{way.label}: {count(len(drawn.clips), "clip")}, {", ".join(parts)}. '
    f'{drawn.seconds:.2f} s, {count(drawn.evaluations, "network evaluation")} a clip.'
  )
