"""What an index says of a film's frames is what its decoder shows."""

import av
import numpy as np
import pytest

from input_pipeline import containers, index, video_files

_UNEVEN = np.cumsum(np.random.default_rng(0).integers(20, 60, 60))


def write(clips, path, uneven=False, movflags='', **options):
  video = np.tile(clips.numbered(30, 32, 32), (2, 1, 1, 1))
  if movflags:
    with av.open(str(path), 'w', container_options={'movflags': movflags}) as container:
      stream = container.add_stream('libx264', rate=25, options=options)
      stream.height, stream.width, stream.pix_fmt = 32, 32, 'yuv420p'
      for image in video:
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
      container.mux(stream.encode())
    return path
  return clips.write(path, video, stamps=_UNEVEN if uneven else None, options=options)


@pytest.mark.parametrize(
  ('name', 'kind', 'is_indexed'),
  [
    ('even.mp4', {'bf': '0'}, True),
    ('reordered.mp4', {'bf': '3'}, True),
    ('uneven.mov', {'bf': '0', 'uneven': True}, True),
    ('uneven_reordered.mov', {'bf': '2', 'uneven': True}, False),
    ('fragments.mp4', {'bf': '0', 'movflags': 'frag_keyframe+empty_moov'}, False),
    ('fast.mov', {'bf': '2', 'movflags': 'faststart'}, True),
    ('other.mkv', {}, False),
  ],
)
def test_stamps_of_the_index(tmp_path, clips, monkeypatch, name, kind, is_indexed):
  path, said, stamps = write(clips, tmp_path / name, **kind), [], index.stamps
  monkeypatch.setattr(index, 'stamps', lambda *args: said.append(stamps(*args)) or said[-1])
  info = video_files.probe(path)
  assert (said[0] is not None) == is_indexed
  with av.open(str(path)) as container:
    shown = [frame.pts for frame in container.decode(video=0)]
  assert info.frames == 60 and info.stamps.tolist() == shown


def test_few_packets_of_an_indexed_film_are_read(tmp_path, clips, monkeypatch):
  path, read, islice = write(clips, tmp_path / 'a.mp4'), [], containers.itertools.islice
  counted = lambda items, *ends: (read.append(item) or item for item in islice(items, *ends))
  monkeypatch.setattr(containers.itertools, 'islice', counted)
  assert video_files.probe(path).frames == 60
  assert len(read) == index.FIRST


def test_an_index_that_promises_more_than_is_there_is_not_believed(tmp_path, clips):
  path = write(clips, tmp_path / 'a.mp4', movflags='faststart', bf='0')
  path.write_bytes(path.read_bytes()[:-200])
  info = video_files.probe(path)
  assert 50 < info.frames < 60
  assert len(video_files.read(path, range(info.frames), 16, info)) == info.frames
