"""Samples of 16 bits, of which a camera uses 10 or 12: all are kept, on one scale for a folder."""

import struct
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from input_pipeline import census, deep_colour, one_depth, video_files
from input_pipeline.clip import BadClip
from input_pipeline.folder import Folder
from input_pipeline.splits import SPLITS

LEVELS = np.array([[3, 100, 254], [40, 200, 7]], np.uint16)  # of 8 bits, of a row of two pixels


def png(path, image):
  """Writes uint16 [H, W, C] as a PNG of 16 bits a sample, which Pillow cannot."""
  height, width, channels = image.shape
  kind = {2: 4, 3: 2, 4: 6}[channels]
  rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in image)
  part = lambda name, data: (
    struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
  )
  header = struct.pack('>IIBBBBB', width, height, 16, kind, 0, 0, 0)
  path.write_bytes(
    b'\x89PNG\r\n\x1a\n'
    + part(b'IHDR', header)
    + part(b'IDAT', zlib.compress(rows))
    + part(b'IEND', b'')
  )


def tif(path, image):
  encoder = av.CodecContext.create('tiff', 'w')
  encoder.height, encoder.width = image.shape[:2]
  encoder.pix_fmt, encoder.time_base = 'rgb48le', Fraction(1, 25)
  frame = av.VideoFrame.from_ndarray(image, format='rgb48le')
  path.write_bytes(b''.join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)])))


@pytest.mark.parametrize('bits', [8, 10, 12, 16])
@pytest.mark.parametrize('write', [png, tif])
def test_colours_of_16_bits_a_sample_keep_those_that_are_used(tmp_path, write, bits):
  image = np.tile(LEVELS, (4, 3, 1)).reshape(4, 6, 3)
  ending = write.__name__
  for k in range(2):
    write(tmp_path / f'{k}.{ending}', (image << (bits - 8)) + (bits > 8))
  np.testing.assert_array_equal(video_files.read(tmp_path, [1, 0]), [image, image])


def test_what_is_transparent_in_16_bits_is_black(tmp_path):
  grey, colour = tmp_path / 'grey', tmp_path / 'colour'
  for folder, channels in ((grey, 2), (colour, 4)):
    folder.mkdir()
    image = np.full((4, 4, channels), 200 << 8, np.uint16)
    image[..., -1] = np.array([0, 65535, 32768, 65535])
    png(folder / '0.png', image)
    row = video_files.read(folder, [0])[0, 0]
    assert row.tolist() == [[0] * 3, [200] * 3, [100] * 3, [200] * 3]


@pytest.mark.parametrize('turn', range(1, 9))
def test_they_are_turned_as_images_of_8_bits_are(tmp_path, turn):
  image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
  small = Image.fromarray(image)
  exif = small.getexif()
  exif[0x0112] = turn
  small.save(tmp_path / 'a.png', exif=exif)
  with Image.open(tmp_path / 'a.png') as small:
    want = np.asarray(ImageOps.exif_transpose(small))
  np.testing.assert_array_equal(deep_colour._UPRIGHT.get(turn, np.asarray)(image), want)


def test_pages_of_a_tif_in_16_bits_are_told_apart(tmp_path):
  """Page k of a file whose pages are its own: the first bytes say where the first one is."""
  pages = [np.full((4, 6, 3), 1000 * (k + 1), np.uint16) for k in range(3)]
  content, heads = bytearray(b'II*\0' + bytes(4)), [4]
  for page in pages:
    data, bits = len(content), len(content) + page.nbytes
    content += page.tobytes() + struct.pack('<3H', 16, 16, 16)
    tags = [
      *((256, 4, 1, 6), (257, 4, 1, 4), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2)),
      *((273, 4, 1, data), (277, 3, 1, 3), (278, 4, 1, 4), (279, 4, 1, page.nbytes)),
    ]
    struct.pack_into('<I', content, heads[-1], len(content))
    content += struct.pack('<H', len(tags)) + b''.join(struct.pack('<HHII', *t) for t in tags)
    heads.append(len(content))
    content += bytes(4)
  (tmp_path / 'a.tif').write_bytes(content)
  assert video_files.probe(tmp_path / 'a.tif').bits == 12
  got = video_files.read(tmp_path / 'a.tif', [2, 0, 1])[:, 0, 0]
  assert got.tolist() == [[3000 >> 4] * 3, [1000 >> 4] * 3, [2000 >> 4] * 3]


@pytest.fixture
def scenes(tmp_path):
  """Clips of 12 bits: a bright one, and dark ones that by themselves would look like 8 and 10."""
  for k in range(12):
    highest = 4000 if k in (2, 5, 8) else 200 if k % 2 else 900
    np.save(tmp_path / f'{k:02d}.npy', np.full((4, 16, 16), highest, np.uint16))
  return tmp_path


def test_a_folder_has_one_depth_for_both_splits(scenes):
  sources = {split: Folder(scenes, 4, 16, split, test_share=0.3) for split in SPLITS}
  for source in sources.values():
    assert {info.bits for _, info in source._files} == {12} and ' bits=12 ' in source.fingerprint
    for i in range(len(source)):
      whole = np.load(scenes / source.origin(i)['file'])
      assert source[i]['video'][0, 0, 0].tolist() == [whole[0, 0, 0] >> 4] * 3
  told = census.of_sources(sources.values())
  assert told.record['bits'] == 12 and 'depth        12 of 16 bits used' in str(told)


def test_clips_of_8_bits_have_no_depth_to_tell(put):
  source = Folder(put('a.npy', 'b.npy'), 4, 16, 'train', test_share=0)
  assert source.census.record['bits'] == 8 and 'depth' not in str(source.census)
  assert 'bits' not in source.fingerprint


def test_what_exceeds_the_depth_of_the_folder_is_an_error_of_that_file(scenes, monkeypatch):
  """Found at once where it shows in the frames looked at, else when it is read; never wrapped."""
  monkeypatch.setattr(one_depth, '_DRAWN', 6)
  hidden = np.zeros((40, 16, 16), np.uint16)
  hidden[3] = 5000  # of the frames looked at is none
  np.save(scenes / '99.npy', hidden)
  np.save(scenes / '98.npy', np.full((4, 16, 16), 60000, np.uint16))
  source = Folder(scenes, 4, 16, 'train', test_share=0, cache_bytes=0)
  assert source.rejected == [
    (str(scenes / '98.npy'), 'uses 16 of 16 bits, where clips drawn from the folder use 12')
  ]
  info = next(info for entry, info in source._files if entry.name == '99.npy')
  assert info.bits == 12
  with pytest.raises(BadClip, match='a value of 5000, where 12 bits are taken to be used of 16'):
    video_files.read(scenes / '99.npy', range(4), info=info)
  assert video_files.read(scenes / '99.npy', range(4, 8), info=info).max() == 0


def test_stacks_of_16_bits_are_read(tmp_path):
  stack = (np.arange(6 * 3).reshape(6, 3, 1, 1) * np.full((16, 16), 64)).astype(np.uint16)
  np.save(tmp_path / 'a.npy', stack)
  source = Folder(tmp_path, 6, 16, 'train', test_share=0, npy_order='TNHW')
  assert {info.bits for _, info in source._files} == {12}
  np.testing.assert_array_equal(source[1]['video'][:, 0, 0, 0], stack[:, 1, 0, 0] >> 4)
