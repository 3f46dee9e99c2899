"""What is measured of each clip before a set is scored: rows of numbers, with the facts about them.

A measure turns a batch of clips (or two, paired) into rows: one a clip or one a frame, of features
or of one value. Metrics are statistics of rows; so bootstrap, cache and streaming are the same for
all of them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from hgdt_jax.metrics import content, drift, image, probe, random_features, temporal


@dataclasses.dataclass(frozen=True)
class Measure:
  """`rows(clips)`, or `rows(real, fake)` where `paired`; `facts` go into the stamp.

  `smallest`: least frames, height and width of a clip.
  """

  rows: Callable[..., Float[np.ndarray, 'b k d']]
  facts: dict[str, Any] = dataclasses.field(default_factory=dict)
  paired: bool = False
  smallest: tuple[int, int, int] = (1, 1, 1)


def make(name: str, load: Callable[[str], Any]) -> Measure:
  """The measure of this name; `load(network name)` gives pretrained networks.

  ValueError or FileNotFoundError (from `load`) where a network is missing.
  """
  if name in MEASURES:
    return MEASURES[name]
  build, network = _NETWORKS[name]
  return build(_OWN[network]() if network in _OWN else load(network))


def is_paired(name: str) -> bool:
  """Whether the measure `name` compares the i-th real with the i-th generated clip."""
  if name in MEASURES:
    return MEASURES[name].paired
  return _NETWORKS[name][0] in (_frame_distances, _identity_of_input)


def _clip_features(network):
  features = _finite(network, network.features)
  return Measure(
    lambda clips: features(clips)[:, None], _facts(network), smallest=_of_clip(network)
  )


def _frame_features(network):
  rows = lambda clips: _per_frame(_finite(network, network.features), clips)
  return Measure(rows, _facts(network), smallest=_of_clip(network))


def _frame_distances(network):
  rows = lambda real, fake: _per_frame(_finite(network, network.distance), real, fake)
  return Measure(rows, _facts(network), paired=True, smallest=_of_clip(network))


def _drift(network):
  rows = lambda clips: drift.measure(clips, probe.read(clips))[:, None]
  return Measure(rows, _facts(network), smallest=_of_clip(network))


def _identity(network):
  features = _finite(network, network.features)
  rows = lambda clips: content.acd(_per_frame(features, clips))[:, None, None]
  facts = {'definition': 'mean over all pairs of frames, L2'}
  return Measure(rows, _facts(network) | facts, smallest=_of_clip(network, frames=2))


def _identity_of_input(network):
  features = _finite(network, network.features)

  def rows(real, fake):
    return content.acd_to_input(_per_frame(features, fake), features(real[:, 0]))[:, None, None]

  facts = {'definition': 'every frame against the first frame of the paired real clip, L2'}
  return Measure(rows, _facts(network) | facts, paired=True, smallest=_of_clip(network))


def _content(network):
  distance = _finite(network, network.distance)

  def of_clip(clip):  # one at a time: a long clip has thousands of pairs
    first, second = np.triu_indices(len(clip), k=1)
    return distance(clip[first], clip[second]).mean()

  facts = {'definition': 'mean over all pairs of frames'}
  return Measure(_each_clip(of_clip), _facts(network) | facts, smallest=_of_clip(network, frames=2))


def _finite(network, run):
  """`run`, with ValueError where the network gives NaN or infinity: no mean may pass that over."""

  def checked(*inputs):
    values = np.asarray(run(*inputs))
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not finite.all():
      raise ValueError(
        f'features of sample {int(np.argmin(finite))} of a batch of {len(values)} are NaN or '
        f'infinite: the network {network.protocol.get("network", network.name)} gives them; check '
        'its weights'
      )
    return values

  return checked


def _of_clip(network, frames=1):
  """`Measure.smallest`, of a network of clips or of one of images."""
  *before, height, width = network.smallest
  return (*before, height, width) if before else (frames, height, width)


def _facts(network):
  facts = {key: value for key, value in network.protocol.items() if key != 'network'}
  described = network.protocol.get('network', network.name)
  return {'network': described, 'network_sha256': network.sha256} | facts


def _per_frame(run, *clips):
  """Folds frames into the batch: `[B, T, H, W, C]` -> `[B, T, ...]`; always with a last axis."""
  b, t = clips[0].shape[:2]
  values = run(*(c.reshape(b * t, *c.shape[2:]) for c in clips))
  return values.reshape(b, t, -1)


def _each_clip(function):
  """Rows of a function of one clip that gives one number."""
  return lambda clips: np.array([function(clip) for clip in clips])[:, None, None]


def _estimated_warping_error(clip):
  return temporal.warping_error(clip, *temporal.estimate_flow(clip))


_OWN = {  # those that need no weights but what lies in the package
  random_features.NAME: random_features.network,
  probe.NAME: probe.network,
}
_NETWORKS = {  # name: (builder, network)
  'clip_i3d': (_clip_features, 'i3d'),
  'clip_random_conv3d': (_clip_features, random_features.NAME),
  drift.NAME: (_drift, probe.NAME),
  'frame_inception': (_frame_features, 'inception'),
  'frame_inception_logits': (_frame_features, 'inception_logits'),
  'lpips_alex': (_frame_distances, 'lpips_alex'),
  'lpips_vgg': (_frame_distances, 'lpips_vgg'),
  'acd_lpips': (_content, 'lpips_alex'),
  'acd': (_identity, 'face'),
  'acd_i': (_identity_of_input, 'face'),
}
_MOVING = (2, 1, 1)
MEASURES = {  # those of pixels alone
  'psnr': Measure(
    lambda real, fake: image.psnr(real, fake)[..., None],
    {'definition': 'per frame, mean over frames that differ'},
    paired=True,
  ),
  'psnr_video': Measure(
    lambda real, fake: image.psnr_video(real, fake)[:, None, None],
    {'definition': 'of the mean squared error of a whole clip, mean over clips that differ'},
    paired=True,
  ),
  'ssim': Measure(
    lambda real, fake: image.ssim(real, fake)[..., None],
    {'definition': 'per frame, Gaussian window 11, sigma 1.5, population covariance'},
    paired=True,
    smallest=(1, 11, 11),
  ),
  'ssim_uniform': Measure(
    lambda real, fake: image.ssim(real, fake, 'uniform')[..., None],
    {'definition': 'per frame, uniform window 7, sample covariance'},
    paired=True,
    smallest=(1, 7, 7),
  ),
  'acd_colour': Measure(
    lambda clips: content.acd(_per_frame(content.mean_colours, clips))[:, None, None],
    {'definition': 'mean colour of a frame in [0, 1], mean over all pairs of frames, L2'},
    smallest=_MOVING,
  ),
  'warping_error': Measure(
    _each_clip(_estimated_warping_error),
    {'definition': 'flow and occlusion estimated on the clip itself, TV-L1; pixels in [0, 1]'},
    smallest=_MOVING,
  ),
  'flickering': Measure(
    _each_clip(temporal.temporal_flickering),
    {'definition': 'VBench, (255 - MAE) / 255'},
    smallest=_MOVING,
  ),
  'profile': Measure(
    _each_clip(temporal.temporal_profile_consistency),
    {'definition': "correlation of a line of pixels with the next frame's, all rows and columns"},
    smallest=_MOVING,
  ),
  'motion': Measure(
    _each_clip(temporal.motion_magnitude),
    {'definition': 'mean absolute difference of consecutive frames, in [0, 1]'},
    smallest=_MOVING,
  ),
}
