"""Whether drafts follow the law of clips, once both are diffused: what truncation rests on."""

import numpy as np

from hgdt_jax import drawing
from hgdt_jax.metrics import kernel, score
from hgdt_jax.trained import Trained


def truncation(trained: Trained, clips_of, taus, methods) -> list[dict]:
  """Whether drafts and clips, both diffused to tau, follow one law: a two-sample test of each tau.

  The hybrid samples from the diffusion model's law only where they do (TDPM 2022). Drafts that can
  only continue a first frame continue those of the clips: the samples then depend on each other,
  and the test tells them apart less often than it says.

  Args:
    clips_of: `{'video': uint8 [N, T, H, W, C], 'label': [N]}`.
    methods: whose drafts; 'gan' are those before joint training, 'hybrid' those after.

  Returns:
    Rows with tau, method, statistic, p_value and upper, the bound on what the statistic estimates.
  """
  cfg, video, label = trained.cfg, clips_of['video'], clips_of['label']
  count, seed = len(video), cfg.seed

  def features(draw):
    drawn, _ = drawing.in_batches(cfg, count, draw)
    return score.measure_clips(drawn, 'clip_random_conv3d', shared=True)[:, 0]

  def clips_at(tau):  # with numbers, and so noise, that no draft has
    return features(lambda rows, i: trained.clips_at(video[rows], seed, tau, first=count + i))

  def drafts_at(tau, method):
    given = lambda rows: first_frames(trained, method, video[rows])
    draw = lambda rows, i: trained.draft_at(method, label[rows], seed, tau, first=i, **given(rows))
    return features(draw)

  found = []
  for tau in sorted(taus):
    real = clips_at(tau)
    for method in methods:
      test = kernel.two_sample_test(drafts_at(tau, method), real)
      found.append({'tau': tau, 'method': method} | test._asdict())
  return found


def first_frames(trained: Trained, method: str, video) -> dict[str, drawing.Known]:
  """Of clips, for a method that must be given some; as an option of `Trained.draw`."""
  return {'known': drawing.Known(video[:, :1], (0,))} if trained.needs_image(method) else {}


def pairs(trained: Trained, clips_of, tau: float, method: str) -> kernel.TwoSample:
  """Whether what a method refines from and what it is told beside it follow the law of training.

  The two-sample test of `truncation`, of pairs: a clip at tau, and the mean and the deviation over
  its frames of the latents that the denoiser is told. A denoiser that is told of the clean clip in
  training learns to lean on what no draft can tell it; that the clips alone agree does not show it.

  Args:
    clips_of: as `truncation` takes them.
    method: one that is told latents of its drafts.
  """
  cfg, video, label = trained.cfg, clips_of['video'], clips_of['label']
  count, seed = len(video), cfg.seed

  def joined(clips_at, told_at):
    clip, _ = drawing.in_batches(cfg, count, clips_at)
    told, _ = drawing.in_batches(cfg, count, told_at)
    features = score.measure_clips(clip, 'clip_random_conv3d', shared=True)[:, 0]
    return np.concatenate([features, told.mean(axis=1), told.std(axis=1)], axis=-1)

  fresh = lambda i: {'first': count + i}  # numbers, and so noise, that no draft has
  real = joined(
    lambda rows, i: trained.clips_at(video[rows], seed, tau, **fresh(i)),
    lambda rows, i: trained.told_of_clips(method, video[rows], seed, tau, **fresh(i)),
  )
  given = lambda rows: first_frames(trained, method, video[rows])
  drafts = joined(
    lambda rows, i: trained.draft_at(method, label[rows], seed, tau, first=i, **given(rows)),
    lambda rows, i: trained.told_of_drafts(method, label[rows], seed, tau, first=i, **given(rows)),
  )
  return kernel.two_sample_test(drafts, real)
