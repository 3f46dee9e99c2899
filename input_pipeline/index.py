"""Time stamps of the frames of an MP4 or MOV from its index, so that its pictures stay unread."""

from collections.abc import Sequence

import av
import numpy as np

FIRST = 24  # packets that show whether frames are stored in another order than they are shown


def stamps(container, stream, first: Sequence[av.Packet], size: int) -> list[int] | None:
  """Those of all frames, in the stream's unit; None where only reading the whole file can say.

  That is: other formats, fragments, a file that ends before its index does or hides frames, and
  frames that are stored out of order and at uneven times.

  Args:
    container: open, of PyAV.
    stream: of it.
    first: its first packets, `FIRST` of them or all.
    size: of the file, in bytes.
  """
  if not container.format.name.startswith('mov') or not stream.frames:
    return None
  entries = stream.index_entries
  if len(entries) != stream.frames:
    return None
  stored = np.empty(len(entries), np.int64)
  for k, entry in enumerate(entries):
    if entry.is_discard or entry.pos + entry.size > size:
      return None
    stored[k] = entry.timestamp
  first = [packet for packet in first if packet.size][: len(stored)]
  if not first or any(p.pts is None or p.is_corrupt or p.is_discard for p in first):
    return None
  shown = np.array([packet.pts for packet in first])
  if (shown == stored[: len(first)]).all():
    return stored.tolist()
  steps = np.diff(stored)
  if len(steps) and steps[0] > 0 and (steps == steps[0]).all():
    return (shown.min() + steps[0] * np.arange(len(stored))).tolist()
  return None
