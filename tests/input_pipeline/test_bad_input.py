"""Files that are wrong, odd or hostile: each is read rightly or left out with one line."""

import io
import os
import pathlib
import struct
import subprocess
import sys
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from input_pipeline import Batches, clip, fixed, rejected, video_files
from input_pipeline.clip import BadClip
from input_pipeline.folder import Folder, list_clips

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
  assert [e.name for e in list_clips(tmp_path)] == ['a/ok.mp4', 'gone.mp4']
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
  (tmp_path / 'late.npy').write_bytes(content[: len(content) * 6 // 10])
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
