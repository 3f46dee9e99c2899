"""What judges see of clips `[B, T, H, W, C]`: `Judge.see` of more than one family."""

import jax


def one_frame(streams, which, video, given):
  """`[B, H, W, C]`: a frame of each clip, at another time in drafts than in real clips."""
  at = jax.random.randint(streams(f'frame_{which}'), (len(video),), 0, video.shape[1])
  return jax.vmap(lambda clip, i: clip[i])(video, at)


def every_frame(streams, which, video, given):
  return video
