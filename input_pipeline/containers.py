"""Video files, through PyAV."""

import contextlib
import itertools

import av
import numpy as np

from input_pipeline import clip, demuxers, index, mp4, picture
from input_pipeline.clip import BadClip, Info

# the picture of a song and the previews of a film are no clips
_COVER = (
  av.stream.Disposition.attached_pic
  | av.stream.Disposition.timed_thumbnails
  | av.stream.Disposition.still_image
)
_ASPECT = 8  # a pixel is no longer than so many are high, nor the other way round
_SEEK = 8  # frames: to decode so few costs no more than to seek


def probe(path):
  with _open(path) as (container, stream):
    codec = f'{stream.codec_context.name} {stream.codec_context.pix_fmt}'
    packets = _until_damaged(container.demux(stream))
    first = list(itertools.islice(packets, index.FIRST))
    stamps = index.stamps(container, stream, first, path.stat().st_size)
    if stamps is None:
      whole = (
        p.pts
        for p in itertools.chain(first, packets)
        if p.size and not p.is_discard and not p.is_corrupt
      )
      stamps = list(itertools.islice(whole, clip.MAX_FRAMES + 1))
    clip.check_frames(len(stamps))
    if path.suffix.lower() == '.gif' and len(stamps) > 1 and not _is_whole_gif(path):
      del stamps[-1]  # half a picture, that its decoder takes for a whole one
    if not stamps:
      raise BadClip('no frames')
    fps, tick = float(stream.average_rate or 0), float(stream.time_base or 0)
    frame, aspect = _first_frame(first), _aspect(stream)
  if frame is None and len(first) == index.FIRST:  # a recording that began between key frames
    with _open(path) as (container, stream):
      frame = next(container.decode(stream), None)
  if frame is None:
    raise BadClip('no frame can be decoded')
  clip.check_pixels(frame.width, frame.height)
  height, width = picture.shape(frame, aspect)
  clip.check_pixels(width, height)
  if frame.pts is not None and None not in stamps:
    stamps = [stamp for stamp in stamps if stamp >= frame.pts]  # those before lean on what is cut
  clock, exact = _clock(stamps, frame.pts, fps, tick)
  return Info(len(stamps), height, width, fps, clock, tick, exact, codec=codec)


def _clock(stamps, first, fps, tick):
  """(sorted stamps of the frames or None, whether they are certain enough to seek by).

  Stamps that are missing are put between their neighbours, or in even steps where there are none.
  """
  known = [k for k, stamp in enumerate(stamps) if stamp is not None]
  if known:
    frames, step = np.arange(len(stamps)), 1 / (fps * tick) if fps and tick else 0.0
    filled = np.interp(frames, known, [stamps[k] for k in known])
    filled += step * (np.minimum(frames - known[0], 0) + np.maximum(frames - known[-1], 0))
    exact = len(known) == len(stamps) and first == min(stamps) and len(set(stamps)) == len(stamps)
    return np.sort(np.rint(filled).astype(np.int64)), exact
  if fps and tick:
    return np.rint(np.arange(len(stamps)) / (fps * tick)).astype(np.int64), False
  return None, False


def _until_damaged(packets):
  """Those that come before the demuxer fails: a file that was cut off may end so."""
  with contextlib.suppress(av.error.InvalidDataError):
    yield from packets


def _first_frame(packets):
  """What the first packets of a file, all of a short one, decode to first; None if to nothing."""
  for packet in packets:
    with contextlib.suppress(av.error.InvalidDataError):  # the last one may be cut off
      for frame in packet.decode():
        return frame
  return None


def _frames(container, stream):
  """Frames in order, up to a packet that is damaged; of it, and after it, nothing is to be used."""
  for packet in _until_damaged(container.demux(stream)):
    if packet.size and packet.is_corrupt:
      break
    try:
      yield from packet.decode()
    except av.error.InvalidDataError:
      break
    if not packet.size:  # the last: the decoder gave what it held back
      return
  yield from stream.decode(None)


def read(path, info, wanted, size):
  seek = info.exact and wanted[0] > _SEEK
  frames = _decode(path, info, wanted, size, seek)
  return frames if frames is not None else _decode(path, info, wanted, size, False)


def _decode(path, info, wanted, size, seek):
  """Returns the frames; None when a seek did not land where time stamps can be trusted."""
  got, at, skipped = [], 0, 0
  with _open(path) as (container, stream):
    if seek:
      try:
        container.seek(
          int(info.stamps[min(wanted[0], info.frames - 1)]), stream=stream, backward=True
        )
      except av.FFmpegError:
        return None
    for k, frame in enumerate(_frames(container, stream)):
      if info.exact:
        at = int(np.searchsorted(info.stamps, -1 if frame.pts is None else frame.pts))
        is_known = at < len(info.stamps) and frame.pts == info.stamps[at]
        if seek and (not is_known or (k == 0 and at > wanted[0])):
          return None
        if not is_known:
          raise BadClip(f'a frame at stamp {frame.pts}, which no packet of the file has')
        if at > wanted[len(got)]:
          raise BadClip(f'frame {wanted[len(got)]} is damaged: nothing was decoded of it')
      if at == wanted[len(got)]:
        if frame.is_corrupt:
          raise BadClip(f'frame {at} is damaged')
        clip.check_pixels(frame.width, frame.height)
        got.append(picture.shown(frame, size, _aspect(stream)))
        if len(got) == len(wanted):
          break
      else:
        skipped += frame.width * frame.height
        if skipped > clip.MAX_SKIPPED:
          raise BadClip(f'frame {wanted[len(got)]} is too far from one that can be decoded alone')
      at += 1
  return None if seek and len(got) < len(wanted) else got


def _is_whole_gif(path):
  with path.open('rb') as file:
    file.seek(-1, 2)
    return file.read() == b';'


class _Beginning:
  """The first `end` bytes of a file, as a file."""

  def __init__(self, file, end):
    self._file, self._end = file, end

  def read(self, size):
    return self._file.read(max(0, min(size, self._end - self._file.tell())))

  def seek(self, offset, whence=0):
    return self._file.seek(*((self._end + offset,) if whence == 2 else (offset, whence)))

  def tell(self):
    return self._file.tell()


@contextlib.contextmanager
def _open(path):
  options = {'format_whitelist': demuxers.of(path), 'protocol_whitelist': 'file'}
  with contextlib.ExitStack() as stack:
    try:
      container = stack.enter_context(av.open(f'file:{path}', options=options))
    except UnicodeEncodeError:  # a name that is not valid Unicode
      file = stack.enter_context(path.open('rb'))
      container = stack.enter_context(av.open(file, options=options))
    except (av.error.InvalidDataError, av.error.EOFError):
      end = mp4.cut_fragment(path)
      if end is None:
        raise
      file = _Beginning(stack.enter_context(path.open('rb')), end)
      container = stack.enter_context(av.open(file, options=options))
    streams = [s for s in container.streams.video if not s.disposition & _COVER]
    if not streams:
      raise BadClip('no video stream')
    stream = max(streams, key=_pixels)  # the first of those as large: cameras add a small preview
    clip.check_pixels(stream.codec_context.width, stream.codec_context.height)
    picture.check_transfer(stream.codec_context.color_trc)
    if stream.metadata.get('alpha_mode') == '1':  # beside the picture: its decoder drops it
      raise BadClip('WebM with alpha, which is not read here; put it on black, or write PNG frames')
    stream.codec_context.options = {'max_pixels': str(clip.MAX_PIXELS)}
    stream.thread_type = 'NONE'  # clips are small: threads cost more than they give
    yield container, stream


def _pixels(stream):
  return stream.codec_context.width * stream.codec_context.height


def _aspect(stream) -> float:
  """Width of a pixel by its height; players ignore what cannot be one."""
  ratio = float(stream.sample_aspect_ratio or 1)
  return ratio if 1 / _ASPECT <= ratio <= _ASPECT else 1.0
