"""What the names in a workdir mean: methods and metrics, as data, in the order they are shown."""

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hgdt_jax import methods

NO_STAMP: Mapping[str, Any] = MappingProxyType({})
LEAST_MOTION = 0.5  # below this share of real motion a clip counts as frozen


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table, by the name of its folder in samples/: a method, or what it is beside.

  Those not `compared` are given something of the real clips, or are them: they are never best.
  """

  name: str
  label: str
  meaning: str
  compared: bool = True


@dataclasses.dataclass(frozen=True)
class Metric:
  """A score. `better` is 'lower', 'higher', 'one' (1 is best) or '' (not known).

  A consistency score rewards clips that do not change. A frozen clip is perfect by it, so it is
  only ever read beside the motion ratio.
  """

  name: str
  label: str
  better: str
  meaning: str
  consistency: bool = False

  @property
  def arrow(self) -> str:
    return {'lower': '↓', 'higher': '↑', 'one': '→ 1', '': ''}[self.better]

  def regret(self, value: float) -> float:
    """A number that is smallest for the best value."""
    if self.better == 'one':
      return abs(math.log(value)) if value > 0 else math.inf
    return -value if self.better == 'higher' else value


MOTION_RATIO = Metric(
  'motion_ratio',
  'motion ratio',
  'one',
  'How much samples move, as a share of how much real clips move. Near 0: frozen. Far above 1: '
  'flicker or noise.',
)

_RANDOM = 'the features of a fixed random 3D convolution network: compare within this page only.'
_PROBED = 'Read by a small network, of the synthetic source only.'
_PAIRS = (
  'held-out clips, noised to tau and refined without latents of the clean clip, against themselves.'
)
_DENSITY = 'How many real neighbourhoods hold a sample, 1 where they are as real clips are'
_COVERAGE = 'Share of real neighbourhoods that hold a sample, .97 where they are as real clips are'
_SLICED = 'Squared transport distance of clips, mean over lines through'

METRICS = (
  Metric('fvd', 'FVD', 'lower', 'Fréchet distance of clips in the features of I3D (Kinetics).'),
  Metric('kvd', 'KVD', 'lower', 'Kernel distance (MMD) of clips in the features of I3D.'),
  Metric('fid', 'FID', 'lower', 'Fréchet distance of single frames in Inception features.'),
  Metric('inception_score', 'IS', 'higher', 'Frames that Inception is sure of, and that differ.'),
  Metric('inception_score_std', 'IS, deviation', '', 'Standard deviation of IS over its splits.'),
  Metric('precision', 'precision', 'higher', 'Share of samples among real clips, in I3D features.'),
  Metric('recall', 'recall', 'higher', 'Share of real clips among samples, in I3D features.'),
  Metric('density', 'density', 'one', f'{_DENSITY}, in I3D features.'),
  Metric('coverage', 'coverage', 'higher', f'{_COVERAGE}, in I3D features.'),
  Metric('sliced_wasserstein', 'sliced Wasserstein', 'lower', f'{_SLICED} I3D features.'),
  Metric(
    'frechet_random_conv3d',
    'Fréchet, random 3D conv',
    'lower',
    f'Distance between the laws of real and sampled clips in {_RANDOM} Not FVD.',
  ),
  Metric(
    'kernel_random_conv3d',
    'kernel, random 3D conv',
    'lower',
    f'Kernel distance (MMD) of clips in {_RANDOM} Not KVD.',
  ),
  Metric(
    'precision_random_conv3d',
    'precision, random 3D conv',
    'higher',
    f'Share of samples among real clips, in {_RANDOM}',
  ),
  Metric(
    'recall_random_conv3d',
    'recall, random 3D conv',
    'higher',
    f'Share of real clips among samples, in {_RANDOM}',
  ),
  Metric('density_random_conv3d', 'density, random 3D conv', 'one', f'{_DENSITY}, in {_RANDOM}'),
  Metric(
    'coverage_random_conv3d', 'coverage, random 3D conv', 'higher', f'{_COVERAGE}, in {_RANDOM}'
  ),
  Metric(
    'sliced_wasserstein_random_conv3d',
    'sliced Wasserstein, random 3D conv',
    'lower',
    f'{_SLICED} {_RANDOM}',
  ),
  Metric(
    'motion_magnitude', 'motion', '', 'Mean absolute difference of neighbouring frames, in [0, 1].'
  ),
  MOTION_RATIO,
  Metric(
    'warping_error',
    'warping error',
    'lower',
    'How much a frame differs from the frame before it moved along the optical flow, where '
    'nothing is hidden.',
    consistency=True,
  ),
  Metric(
    'temporal_flickering',
    'temporal flickering',
    'higher',
    'VBench: 1 less the mean difference of neighbouring frames, so higher is less flicker.',
    consistency=True,
  ),
  Metric(
    'temporal_profile_consistency',
    'profile consistency',
    'higher',
    "Correlation of a line of pixels with the next frame's, over all rows and columns.",
    consistency=True,
  ),
  Metric('acd', 'ACD', 'lower', 'How much a face changes through its clip.', consistency=True),
  Metric(
    'acd_i', 'ACD-I', 'lower', 'How much a face differs from its input image.', consistency=True
  ),
  Metric(
    'acd_colour',
    'ACD, colour',
    'lower',
    'How much the mean colour changes through a clip.',
    consistency=True,
  ),
  Metric(
    'acd_lpips',
    'ACD, LPIPS',
    'lower',
    'How much the look of the frames changes through a clip, in AlexNet features; motion counts.',
    consistency=True,
  ),
  Metric(
    'drift_shape',
    'drift of shape',
    'lower',
    f"How much the object's class changes within a clip; 0.5 is another halfway. {_PROBED}",
    consistency=True,
  ),
  Metric(
    'drift_scale',
    'drift of scale',
    'lower',
    f"How much the object's size changes from frame to frame, as a share. {_PROBED}",
    consistency=True,
  ),
  Metric(
    'drift_scale_slow',
    'drift of scale, slow',
    '',
    f'The same, from the first to the last quarter of a clip. Near real is best. {_PROBED}',
  ),
  Metric(
    'drift_colour',
    'drift of colour',
    'lower',
    f"How much the object's colour, in [0, 1], changes from frame to frame. {_PROBED}",
    consistency=True,
  ),
  Metric(
    'drift_colour_slow',
    'drift of colour, slow',
    '',
    f'The same, from the first to the last quarter of a clip. Near real is best. {_PROBED}',
  ),
  Metric(
    'flicker_background',
    'flicker of background',
    'lower',
    'How much the still background changes from frame to frame, in grey levels of 0 to 255, most '
    f'pixels of it, away from the object. {_PROBED}',
    consistency=True,
  ),
  Metric(
    'motion_object',
    'motion of object',
    '',
    f"How far the object's centre goes in a frame, in pixels. Near real is best. {_PROBED}",
  ),
  Metric(
    'jitter_object',
    'jitter of object',
    '',
    f'How much that motion changes from frame to frame, in pixels. Near real is best. {_PROBED}',
  ),
  Metric(
    'psnr',
    'PSNR, dB',
    'higher',
    f'Of {_PAIRS} A poor value says that no draft can be refined well.',
  ),
  Metric(
    'psnr_continued',
    'PSNR of continuations, dB',
    'higher',
    'Of the frames after a given first one, against those of the real clip.',
  ),
  Metric('psnr_video', 'PSNR of clips, dB', 'higher', 'As PSNR, over a whole clip at once.'),
  Metric(
    'warping_error_true_flow',
    'warping error, true flow',
    'lower',
    f'As the warping error, with the exact optical flow of the data, of {_PAIRS}',
    consistency=True,
  ),
  Metric('ssim', 'SSIM', 'higher', f'Structural similarity of {_PAIRS}'),
  Metric('ssim_continued', 'SSIM of continuations', 'higher', 'Of the same frames.'),
  Metric('ssim_uniform', 'SSIM, uniform', 'higher', 'As SSIM, with a uniform window.'),
  Metric('lpips', 'LPIPS', 'lower', f'Distance in AlexNet features, of {_PAIRS}'),
  Metric('lpips_vgg', 'LPIPS, VGG', 'lower', 'As LPIPS, in VGG features.'),
)


def metric(name: str, stamp: Mapping[str, Any] = NO_STAMP) -> Metric:
  """The metric of this name; of one that is not in the table, what its stamp says."""
  better = {'lower': 'lower', 'higher': 'higher', 'near 1': 'one'}.get(stamp.get('better'), '')
  other = Metric(name, name, better, str(stamp.get('definition', '')))
  return next((m for m in METRICS if m.name == name), other)


def ordered_metrics(names, stamps: Mapping[str, Mapping[str, Any]] = NO_STAMP) -> list[Metric]:
  """These metrics in the order of the table, unknown ones last, by name; `stamps` as `metric`."""
  known = [m for m in METRICS if m.name in names]
  others = sorted(set(names) - {m.name for m in known})
  return known + [metric(name, stamps.get(name, NO_STAMP)) for name in others]


def rows() -> dict[str, Row]:
  """Every row that has a meaning, by name, in the order they are shown."""
  ways = methods.METHODS.items()
  found = (
    Row('real', 'Real', 'held-out clips of the data set', compared=False),
    *(Row(name, one.label, one.meaning) for name, one in ways),
    *(
      Row(f'{name}_first_frame', f'{one.label}, image given', 'it continues a first frame', False)
      for name, one in ways
      if one.continues
    ),
  )
  return {one.name: one for one in found}


def row(name: str) -> Row:
  """The row of this name; one that has no meaning goes by its own name."""
  return rows().get(name, Row(name, name, ''))


def ordered_rows(names) -> list[Row]:
  """These rows in their order, unknown ones last, by name."""
  known = [one for name, one in rows().items() if name in names]
  return known + [row(name) for name in sorted(set(names) - rows().keys())]
