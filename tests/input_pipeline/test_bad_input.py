"""Files that are wrong, odd or hostile: each is read rightly or left out with one line."""

import io
import os
import pathlib
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from input_pipeline import Batches, clip, demuxers, fixed, mp4, rejected, video_files, zips
from input_pipeline import resize as resize_module
from input_pipeline.clip import BadClip
from input_pipeline.discovery import look
from input_pipeline.folder import Folder

ENDINGS = video_files.VIDEOS + video_files.ARRAYS


@pytest.fixture(scope='module')
def good(tmp_path_factory, clips):
  """A valid clip of 40 frames, 48x32, in every format; frames of images too."""
  root = tmp_path_factory.mktemp('good')
  video = clips.numbered(40, 32, 48)
  for ending in video_files.VIDEOS:
    clips.write(root / f'ok{ending}', video)
  np.savez_compressed(root / 'ok.npz', video=video)
  np.save(root / 'ok.npy', video)
  return root


def refused(path):
  """The one line with which a file is refused, at the latest when all of it is read."""
  with pytest.raises(BadClip) as e:
    info = video_files.probe(path)
    video_files.read(path, range(info.frames), 16, info)
  assert '\n' not in str(e.value) and 0 < len(str(e.value)) < 200
  return str(e.value)


def everything(path, size=16):
  info = video_files.probe(path)
  return video_files.read(path, range(info.frames), size, info)


@pytest.mark.parametrize('ending', ENDINGS)
def test_zero_length(tmp_path, ending):
  (tmp_path / f'a{ending}').touch()
  assert refused(tmp_path / f'a{ending}') == 'empty file'


@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('content', [b'hello world\n' * 99, b'\x00' * 4096, os.urandom(4096)])
def test_no_video_in_spite_of_its_name(tmp_path, ending, content):
  (tmp_path / f'a{ending}').write_bytes(content)
  assert refused(tmp_path / f'a{ending}').startswith(('cannot be', 'no '))


@pytest.mark.parametrize('share', [0.02, 0.3, 0.6, 0.97])
@pytest.mark.parametrize('ending', ENDINGS)
def test_truncated(tmp_path, good, ending, share, clips):
  """Either refused, or a clip of the frames that are whole."""
  content = (good / f'ok{ending}').read_bytes()
  path = tmp_path / f'a{ending}'
  path.write_bytes(content[: int(share * len(content))])
  try:
    video = everything(path)
  except BadClip as e:
    assert '\n' not in str(e)
  else:
    assert [clips.number_of(frame) for frame in video] == list(range(len(video)))
    assert len(video) < 40 or share > 0.9


def test_truncated_mp4_with_its_index_in_front(tmp_path, clips):
  """The header promises 200 frames; those whose bytes are missing are not counted."""
  noise = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), np.uint8)
  path = tmp_path / 'a.mp4'
  with av.open(str(path), 'w', container_options={'movflags': 'faststart'}) as container:
    stream = container.add_stream('libx264', rate=25, options={'bf': '0', 'g': '5'})
    stream.height, stream.width, stream.pix_fmt = 64, 64, 'yuv420p'
    for image in noise:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
    container.mux(stream.encode())
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  info = video_files.probe(path)
  assert 20 < info.frames < 40
  assert len(video_files.read(path, range(info.frames - 1), 16, info)) == info.frames - 1


@pytest.mark.parametrize('ending', ['.mp4', '.mkv'])
def test_audio_only(tmp_path, ending):
  with av.open(str(tmp_path / f'a{ending}'), 'w') as container:
    stream = container.add_stream('aac', rate=44100)
    sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), 'fltp', 'mono')
    sound.rate, sound.pts = 44100, 0
    container.mux(stream.encode(sound))
    container.mux(stream.encode())
  assert refused(tmp_path / f'a{ending}') == 'no video stream'


@pytest.mark.parametrize(
  'content',
  [
    '#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n',
    'ffconcat version 1.0\nfile {}\n',
  ],
)
def test_a_playlist_in_disguise_opens_nothing(tmp_path, good, content):
  (tmp_path / 'a.mp4').write_text(content.format(good / 'ok.mp4'))
  assert refused(tmp_path / 'a.mp4').startswith('cannot be decoded')


@pytest.mark.parametrize('ending', ['.ts', '.mpg', '.wmv', '.flv', '.mov'])
def test_a_playlist_called_anything_opens_nothing(tmp_path, good, ending):
  """m3u8 lists lie beside transport streams, and may be called like one."""
  (tmp_path / f'a{ending}').write_text(f'#EXTM3U\n#EXTINF:1,\n{good / "ok.ts"}\n#EXT-X-ENDLIST\n')
  assert refused(tmp_path / f'a{ending}').startswith('cannot be decoded')


@pytest.mark.parametrize('start', [b'RIFF', b'GIF8', b'FLV\x01', b'\0\0\1\xba', b'\x1aE\xdf\xa3'])
def test_an_mp4_that_begins_like_another_is_opened_as_that(tmp_path, good, start):
  """Else its tables would be believed unread."""
  content = start + b'ftypisom' + (good / 'ok.mp4').read_bytes()
  (tmp_path / 'a.mp4').write_bytes(content)
  assert 'mov' not in demuxers.of(tmp_path / 'a.mp4')
  refused(tmp_path / 'a.mp4')


def test_a_zip_that_promises_too_much(tmp_path, monkeypatch):
  monkeypatch.setattr(zips, '_MAX_IMAGE', 2**20)
  with zipfile.ZipFile(tmp_path / 'bomb.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('v/0.png', bytes(2**20 + 1))
    archive.writestr('w/0.png', b'no image')
    archive.writestr('../out/0.png', b'x')
  tracemalloc.start()
  assert 'v/0.png: of 1048577 bytes' in refused(tmp_path / 'bomb.zip' / 'v')
  assert tracemalloc.get_traced_memory()[1] < 2**20
  tracemalloc.stop()
  assert refused(tmp_path / 'bomb.zip' / 'w') == 'w/0.png is no image'
  assert [e.name for e in look(tmp_path / 'bomb.zip').entries] == ['v', 'w']


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('odd.mkv', {}),
    ('odd.mp4', {'pix_fmt': 'yuv444p'}),
    ('grey.mkv', {'pix_fmt': 'gray'}),
    ('grey16.mkv', {'pix_fmt': 'gray16le'}),
    ('ten_bits.mkv', {'pix_fmt': 'yuv420p10le'}),
    ('rgba.mkv', {'pix_fmt': 'bgra'}),
  ],
)
def test_odd_sizes_and_pixel_formats(tmp_path, clips, name, options):
  path = clips.write(tmp_path / name, clips.numbered(9, 33, 57), **options)
  assert [clips.number_of(frame) for frame in everything(path, None)] == list(range(9))
  assert everything(path, 16).shape == (9, 16, 16, 3)


@pytest.mark.parametrize('ending', video_files.VIDEOS)
def test_one_frame(tmp_path, clips, ending):
  path = clips.write(tmp_path / f'a{ending}', clips.numbered(1))
  assert everything(path).shape == (1, 16, 16, 3)


@pytest.mark.parametrize('ending', ['.mkv', '.mp4'])
def test_variable_frame_rate(tmp_path, clips, ending):
  stamps = np.cumsum([0] + [20, 60, 20, 100] * 9 + [20, 20, 20]).tolist()
  path = clips.write(tmp_path / f'a{ending}', clips.numbered(40), stamps=stamps)
  info = video_files.probe(path)
  np.testing.assert_allclose(info.stamps * info.tick * 1000, stamps, atol=1)
  got = video_files.read(path, range(20, 30), 16, info)
  assert [clips.number_of(frame) for frame in got] == list(range(20, 30))


@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_rotation_by_metadata(tmp_path, good, degrees):
  """The dark corner of the picture is where a player would show it."""
  content = (good / 'ok.mp4').read_bytes()
  at = content.index(b'tkhd') + 4 + 40  # the track's display matrix
  a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
  matrix = struct.pack('>9i', a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
  path = tmp_path / 'a.mp4'
  path.write_bytes(content[:at] + matrix + content[at + 36 :])
  frame = everything(path, None)[30]
  assert frame.shape == ((32, 48, 3) if degrees == 180 else (48, 32, 3))
  corners = {(0, -1): 90, (-1, -1): 180, (-1, 0): 270}  # a matrix of 90 turns clockwise
  dark = [turn for (y, x), turn in corners.items() if frame[y, x].max() < 20]
  assert dark == [degrees]
  info = video_files.probe(path)
  assert (info.height, info.width) == frame.shape[:2]


def test_images_of_every_kind(tmp_path):
  """16 bits, grey, palette, alpha on black, and turned by EXIF: all the same grey of 100."""
  frames = tmp_path / 'frames'
  frames.mkdir()
  grey = np.full((20, 30), 100, np.uint8)
  rgb = grey[..., None].repeat(3, -1)
  Image.fromarray(grey).save(frames / '0.png')
  Image.fromarray((grey.astype(np.uint16) << 8) + 7).save(frames / '1.png')
  Image.fromarray(rgb).quantize(8).save(frames / '2.png')
  alpha = np.concatenate([np.full_like(rgb, 200), np.full_like(rgb[..., :1], 128)], -1)
  Image.fromarray(alpha).save(frames / '3.png')
  Image.fromarray(rgb).convert('CMYK').save(frames / '4.jpg', quality=100)
  turned = Image.fromarray(np.rot90(rgb))
  exif = turned.getexif()
  exif[0x0112] = 6  # stored on its side
  turned.save(frames / '5.jpg', exif=exif)
  video = video_files.read(frames, range(6))
  assert video.shape == (6, 20, 30, 3)
  assert np.abs(video.astype(int) - 100).max() <= 2


@pytest.mark.parametrize(
  ('array', 'reason'),
  [
    (np.zeros((4, 8, 8, 3)), 'array of float64, want uint8'),
    (np.zeros((4, 3, 8, 8), np.uint8), r'array of shape \(4, 3, 8, 8\), want \[T, H, W, C\]'),
    (np.zeros((0, 8, 8, 3), np.uint8), 'array of shape'),
    (np.array([{}], object), 'array of shape|want uint8'),
  ],
)
def test_arrays_of_another_kind(tmp_path, array, reason):
  np.save(tmp_path / 'a.npy', array, allow_pickle=True)
  np.savez(tmp_path / 'a.npz', video=array)
  np.savez(tmp_path / 'b.npz', clip=np.zeros((4, 8, 8, 3), np.uint8))
  for name in ('a.npy', 'a.npz'):
    with pytest.raises(BadClip, match=reason):
      video_files.probe(tmp_path / name)
  assert refused(tmp_path / 'b.npz') == 'no array named video in it'


def test_arrays_of_16_bits_and_grey(tmp_path, clips):
  video = clips.numbered(5)
  np.save(tmp_path / 'a.npy', video.astype(np.uint16) << 8)
  np.savez(tmp_path / 'a.npz', video=video[..., 0])
  for name in ('a.npy', 'a.npz'):
    np.testing.assert_array_equal(everything(tmp_path / name, None), video)


def _huge(root):
  """Files of a few kilobytes that promise gigabytes."""
  header = io.BytesIO()
  shape = {'descr': '|u1', 'fortran_order': False, 'shape': (10, 60_000, 60_000, 3)}
  np.lib.format.write_array_header_1_0(header, shape)
  (root / 'a.npy').write_bytes(header.getvalue() + b'0' * 100)
  header.seek(0), header.truncate()
  np.lib.format.write_array_header_1_0(header, shape | {'shape': (10**6, 64, 64, 3)})
  with zipfile.ZipFile(root / 'a.npz', 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('video.npy', header.getvalue() + b'0' * 100)
  (root / 'frames').mkdir()
  Image.new('1', (1, 1)).save(root / 'frames' / '0.png')
  content = (root / 'frames' / '0.png').read_bytes()
  ihdr = b'IHDR' + struct.pack('>II', 50_000, 50_000) + content[24:29]
  crc = struct.pack('>I', zipfile.crc32(ihdr))
  (root / 'frames' / '0.png').write_bytes(content[:12] + ihdr + crc + content[33:])


def test_huge_dimensions_are_refused_before_memory_is_taken(tmp_path, good):
  _huge(tmp_path)
  gif = bytearray((good / 'ok.gif').read_bytes())
  gif[6:10] = struct.pack('<HH', 65_535, 65_535)
  (tmp_path / 'a.gif').write_bytes(gif)
  script = """
import pathlib, resource, sys
from input_pipeline import video_files
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
  try:
    print(path.name, video_files.probe(path))
  except video_files.BadClip as e:
    print(f'{path.name}: {e}')
"""
  done = subprocess.run(
    [sys.executable, '-c', script, str(tmp_path)],
    capture_output=True, text=True, timeout=600, cwd=pathlib.Path(__file__).parents[2],
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  lines = dict(line.split(': ', 1) for line in done.stdout.splitlines())
  assert lines.keys() == {'a.npy', 'a.npz', 'a.gif', 'frames'}
  assert 'frames of 60000x60000, more than' in lines['a.npy']
  assert 'array of 12288000000 bytes, more than' in lines['a.npz']
  assert 'out of bounds' in lines['a.gif'] and 'more than' in lines['frames']


def test_the_pixel_bound_holds_for_videos(good, monkeypatch):
  monkeypatch.setattr(clip, 'MAX_PIXELS', 48 * 32 - 1)
  for ending in ENDINGS:
    assert refused(good / f'ok{ending}') == 'frames of 48x32, more than 1535 pixels'


def test_names_in_any_unicode(tmp_path, good):
  names = ['клип 日本.mp4', 'e\u0301\u202e🎬.mp4', "a'b\n%03d:x.mp4", '-i.mp4', 'concat:a.mp4']
  names += [os.fsdecode(b'not \xff unicode.mp4')]
  for name in names:
    (tmp_path / name).write_bytes((good / 'ok.mp4').read_bytes())
  table = tmp_path / 'out' / 'rejected.csv'
  (tmp_path / os.fsdecode(b'bad \xff.mp4')).touch()
  source = Folder(tmp_path, 8, 16, 'train', test_share=0, windows=1, rejected_csv=table)
  assert len(source) == len(names) and len(source.rejected) == 1 and source.fingerprint
  assert fixed(source, len(names))['video'].shape == (len(names), 8, 16, 16, 3)
  assert rejected.read(table) == [('train', source.rejected[0][0], 'empty file')]


def test_loops_of_links_and_broken_links(tmp_path, good):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / 'ok.mp4').write_bytes((good / 'ok.mp4').read_bytes())
  (tmp_path / 'a' / 'loop').symlink_to(tmp_path)
  (tmp_path / 'self').symlink_to('self')
  (tmp_path / 'again').symlink_to(tmp_path / 'a')
  (tmp_path / 'gone.mp4').symlink_to(tmp_path / 'nothing.mp4')
  assert [e.name for e in look(tmp_path).entries] == ['a/ok.mp4', 'gone.mp4']
  source = Folder(tmp_path, 8, 16, 'train', test_share=0)
  assert [reason for _, reason in source.rejected] == ['cannot be read (No such file or directory)']


def test_a_pipe_does_not_hang(tmp_path):
  os.mkfifo(tmp_path / 'a.mp4')
  os.mkfifo(tmp_path / 'b.npz')
  (tmp_path / 'frames').mkdir()
  os.mkfifo(tmp_path / 'frames' / '0.png')
  assert refused(tmp_path / 'frames') == 'no frames'
  assert refused(tmp_path / 'a.mp4') == refused(tmp_path / 'b.npz') == 'not a regular file'


@pytest.mark.skipif(os.geteuid() == 0, reason='the superuser may read everything')
def test_an_unreadable_file(tmp_path, good):
  (tmp_path / 'a.mp4').write_bytes((good / 'ok.mp4').read_bytes())
  (tmp_path / 'a.mp4').chmod(0)
  assert 'Permission denied' in refused(tmp_path / 'a.mp4')


@pytest.mark.parametrize('ending', ENDINGS)
def test_a_file_whose_reading_fails(good, ending, monkeypatch):
  """What an unreadable file does, for the superuser too."""

  def fail(*args, **kwargs):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(av, 'open', fail)
  monkeypatch.setattr(pathlib.Path, 'open', fail)
  monkeypatch.setattr(zipfile, 'ZipFile', fail)
  assert 'Permission denied' in refused(good / f'ok{ending}')


def test_training_goes_on_beside_bad_files(tmp_path, good, clips):
  """Bad at once, bad when decoded, and good: batches hold the good ones only, in a fixed order."""
  for k in range(6):
    np.save(tmp_path / f'good{k}.npy', clips.numbered(8))
  content = (good / 'ok.npy').read_bytes()
  (tmp_path / 'late.npy').write_bytes(content[: len(content) // 10])  # of 4 frames
  (tmp_path / 'text.mp4').write_text('hello')
  table = tmp_path / 'run' / 'rejected.csv'

  def batches():
    source = Folder(tmp_path, 8, 16, 'train', test_share=0, windows=1, rejected_csv=table)
    it = Batches(source, batch=7, seed=0)
    got = [next(it) for _ in range(6)]
    it.close()
    return source, got

  source, first = batches()
  _, second = batches()
  assert [len(set(b['id'].tolist())) for b in first] == [6] * 6, 'late.npy is a neighbour instead'
  for a, b in zip(first, second):
    np.testing.assert_array_equal(a['video'], b['video'])
  assert len(source.rejected) == 2
  assert sorted(pathlib.Path(row[1]).name for row in rejected.read(table)) == [
    'late.npy',
    'text.mp4',
  ]
  with pytest.warns(UserWarning, match='the source holds 6'):
    assert len(set(fixed(source, 7)['id'].tolist())) == 6


def test_too_many_bad_files_stop_with_a_summary(tmp_path, clips):
  for k in range(4):
    np.save(tmp_path / f'good{k}.npy', clips.numbered(8))
    (tmp_path / f'bad{k}.mp4').write_text('hello')
  np.save(tmp_path / 'short.npy', clips.numbered(2))
  assert len(Folder(tmp_path, 4, 16, 'train', test_share=0, windows=1, max_bad=0.5)) == 4
  with pytest.raises(ValueError, match=r'4 of the 8 files .* more than 49%, 5 left out') as e:
    Folder(tmp_path, 4, 16, 'train', test_share=0, max_bad=0.49)
  assert '\n' not in str(e.value) and 'bad0.mp4: cannot be decoded' in str(e.value)


def mp4_that_promises(good, samples, table):
  """A file of a few kilobytes with this number of samples, or edits, in one of its tables."""
  content = bytearray((good / 'ok.mp4').read_bytes())
  at = content.index(table) + 4
  if table == b'stsz':
    content[at + 4 : at + 12] = struct.pack('>2I', 1, samples)  # of one byte each
    for other, place in ((b'stts', 8), (b'stsc', 12)):
      where = content.index(other) + 4
      content[where + 4 : where + 8] = struct.pack('>I', 1)
      content[where + place : where + place + 4] = struct.pack('>I', samples)
  else:
    content[at + 4 : at + 8] = struct.pack('>I', samples)
  return bytes(content)


def bombs(root, good, clips):
  """Small files that ask for much memory or time, were they believed."""
  for name, table in (('samples.mp4', b'stsz'), ('edits.mp4', b'elst')):
    (root / name).write_bytes(mp4_that_promises(good, 5 * 10**7, table))
  (root / 'samples.avi').write_bytes(mp4_that_promises(good, 5 * 10**7, b'stsz'))
  fragment = struct.pack('>I4sIII', 20, b'trun', 0, 10**9, 0)
  fragment = struct.pack('>I4s', 8 + 8 + len(fragment), b'moof') + struct.pack(
    '>I4s', 8 + len(fragment), b'traf') + fragment  # fmt: skip
  (root / 'fragments.mp4').write_bytes((good / 'ok.mp4').read_bytes() + fragment)
  np.savez_compressed(root / 'inflates.npz', video=np.zeros((2**11, 256, 256), np.uint8))
  written = io.BytesIO()
  shape = {'descr': '|u1', 'fortran_order': False, 'shape': (40, 32, 32, 3)}
  np.lib.format.write_array_header_1_0(written, shape)
  with zipfile.ZipFile(root / 'lzma.npz', 'w', zipfile.ZIP_LZMA) as archive:
    archive.writestr('video.npy', written.getvalue() + bytes(40 * 32 * 32 * 3))
  with zipfile.ZipFile(root / 'members.npz', 'w') as archive:
    for k in range(5_000):
      archive.writestr(f'{k}.npy', b'')
  with (root / 'many.npy').open('wb') as file:
    np.lib.format.write_array_header_1_0(file, shape | {'shape': (2**29, 1, 1, 3)})
    file.truncate(2**30 + 2**29 + file.tell())  # sparse
  gif = (good / 'ok.gif').read_bytes()
  head = gif[: gif.index(b'\x21\xf9')]
  picture = (
    b'\x21\xf9\x04\x04\x05\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00'
  )
  (root / 'many.gif').write_bytes(head + 20_000 * picture + b';')
  (root / 'frames').mkdir()
  Image.new('RGB', (8, 8)).save(root / 'frames' / '0.png')
  for k in range(1, 3_000):
    os.link(root / 'frames' / '0.png', root / 'frames' / f'{k}.png')


def test_bombs_take_little_memory_and_time(tmp_path, good, clips):
  """Each is refused with a line, or read a window at a time, within little more than our memory."""
  bombs(tmp_path, good, clips)
  script = """
import pathlib, resource, sys, time
import numpy as np
from input_pipeline import video_files
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
  start = time.monotonic()
  try:
    info = video_files.probe(path)
    for first in (0, info.frames - 8):
      assert video_files.read(path, first + np.arange(8), 16, info).shape == (8, 16, 16, 3)
    said = f'{info.frames} frames'
  except video_files.BadClip as e:
    said = str(e)
  print(path.name, round(time.monotonic() - start, 1), round(peak() - before), said, sep=': ')
"""
  done = subprocess.run(
    [sys.executable, '-c', script, str(tmp_path)],
    capture_output=True, text=True, timeout=600, cwd=pathlib.Path(__file__).parents[2],
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  print(done.stdout)
  seconds, peaks, said = {}, {}, {}
  for line in done.stdout.splitlines():
    name, taken, peak, reason = line.split(': ', 3)
    seconds[name], peaks[name], said[name] = float(taken), float(peak), reason
  assert max(seconds.values()) < 20, seconds
  assert max(peaks.values()) < 100, peaks
  for name in ('samples.mp4', 'samples.avi', 'fragments.mp4', 'edits.mp4'):
    assert 'samples promised, more than' in said[name]
  assert said['lzma.npz'] == 'compressed otherwise than numpy does'
  assert said['members.npz'] == 'no array named video in it'
  assert said['many.npy'] == f'more than {clip.MAX_FRAMES} frames; cut it into shorter clips'
  assert said['inflates.npz'] == '2048 frames' and said['frames'] == '3000 frames'
  assert said['many.gif'] == '20000 frames'


def pcm_mp4(good, samples, handler=b'soun', duration=1):
  """A film beside a sound of PCM, whose samples are counted one by one though none is listed."""
  box = lambda kind, *words: struct.pack(f'>I4s{len(words)}I', 8 + 4 * len(words), kind, *words)
  inside = (
    struct.pack('>I4sII4s', 20, b'hdlr', 0, 0, handler)
    + box(b'stts', 0, 1, samples, duration) + box(b'stsc', 0, 1, 1, 1024, 1)
    + box(b'stsz', 0, 4, samples) + box(b'stco', 0, 1, 48)
  )  # fmt: skip
  track = struct.pack('>I4s', 8 + len(inside), b'trak') + inside
  path = good / 'pcm.bin'
  path.write_bytes(
    (good / 'ok.mp4').read_bytes() + struct.pack('>I4s', 8 + len(track), b'moov') + track
  )
  return path


def test_an_hour_of_pcm_beside_a_film_is_no_bomb(tmp_path, good):
  (tmp_path / 'ok.mp4').write_bytes((good / 'ok.mp4').read_bytes())
  mp4.check(pcm_mp4(tmp_path, 48_000 * 3600))
  for wrong in ({'handler': b'vide'}, {'duration': 2}):
    with pytest.raises(BadClip, match='172800040 samples promised'):
      mp4.check(pcm_mp4(tmp_path, 48_000 * 3600, **wrong))


def test_tables_in_the_pictures_are_not_counted(tmp_path, good):
  """A picture may hold any bytes, the names of tables too."""
  data = 100 * (b'stsz' + b'\xff' * 20)
  mdat = struct.pack('>I4s', 8 + len(data), b'mdat') + data
  (tmp_path / 'a.mp4').write_bytes((good / 'ok.mp4').read_bytes() + mdat)
  assert len(everything(tmp_path / 'a.mp4')) == 40
  for kind in (b'free', b'moov'):  # FFmpeg looks into these
    (tmp_path / 'a.mp4').write_bytes((good / 'ok.mp4').read_bytes() + mdat.replace(b'mdat', kind))
    assert 'samples promised' in refused(tmp_path / 'a.mp4')


@pytest.mark.parametrize('ending', ['.mkv', '.mp4', '.gif', '.npy'])
def test_the_bound_on_frames(tmp_path, good, ending, monkeypatch):
  monkeypatch.setattr(clip, 'MAX_FRAMES', 39)
  assert refused(good / f'ok{ending}') == 'more than 39 frames; cut it into shorter clips'
  (tmp_path / 'frames').mkdir()
  for k in range(40):
    Image.new('RGB', (8, 8)).save(tmp_path / 'frames' / f'{k}.png')
  assert refused(tmp_path / 'frames') == 'more than 39 frames; cut it into shorter clips'


def test_a_frame_that_only_the_whole_way_leads_to(good, monkeypatch):
  """A gif has no key frames: what it takes to get there is bounded, not what was asked for."""
  monkeypatch.setattr(clip, 'MAX_SKIPPED', 20 * 48 * 32)
  path = good / 'ok.gif'
  assert len(everything(path)) == 40
  assert video_files.read(path, [20], 16).shape == (1, 16, 16, 3)
  with pytest.raises(BadClip, match='frame 21 is too far from one that can be decoded alone'):
    video_files.read(path, [21], 16)


def test_images_are_what_their_names_say(tmp_path):
  """Pillow runs Ghostscript for PostScript, whatever the file is called."""
  (tmp_path / 'eps').mkdir()
  Image.new('RGB', (8, 8)).save(tmp_path / 'eps' / '0.png', format='EPS')
  assert refused(tmp_path / 'eps').startswith('cannot be read (cannot identify image file')
  Image.new('RGB', (8, 8)).save(tmp_path / 'a.jpg', format='PNG')  # merely misnamed
  assert everything(tmp_path / 'a.jpg').shape == (1, 16, 16, 3)


def test_folders_nested_without_end(tmp_path, clips):
  deep = tmp_path
  for _ in range(clip.MAX_DEPTH):
    deep = deep / 'd'
  deep.mkdir(parents=True)
  np.save(deep / 'a.npy', clips.numbered(8))
  assert len(look(tmp_path).entries) == 1
  (deep / 'd').mkdir()
  with pytest.raises(ValueError, match='folders within folders, more than 100 deep') as e:
    look(tmp_path)
  assert '\n' not in str(e.value)


def test_a_long_video_is_read_in_windows(tmp_path, clips):
  """Never decoded whole: a window at its end decodes from the key frame before it."""
  path = clips.write(tmp_path / 'long.mp4', np.tile(clips.numbered(40), (50, 1, 1, 1)), fps=25)
  source = Folder(tmp_path, 8, 16, 'train', test_share=0, cache_bytes=2000 * 16 * 16 * 3 - 1)
  decoded = []
  read = resize_module.from_frame

  def counting(frame, *how):
    decoded.append(frame.pts)
    return read(frame, *how)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(resize_module, 'from_frame', counting)
    video = source[len(source) - 1]['video']
  assert len(decoded) == 8 and [clips.number_of(f) for f in video] == list(range(32, 40))
  info = video_files.probe(path)
  assert info.frames == 2000 and info.stamps.nbytes == 16_000


def test_memory_of_an_array_is_that_of_the_frames_asked_for(tmp_path):
  video = np.zeros((400, 200, 200, 3), np.uint8)
  np.save(tmp_path / 'a.npy', video)
  np.savez(tmp_path / 'a.npz', video=video)
  for name in ('a.npy', 'a.npz'):
    tracemalloc.start()
    assert everything(tmp_path / name).shape == (400, 16, 16, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20, 'of 48 MB'
