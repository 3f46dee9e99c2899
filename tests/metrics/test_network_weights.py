"""Where weights come from: folders, installed packages, refusals and warnings."""

import hashlib
import json
import pickle

import numpy as np
import pytest

from hgdt_jax.metrics import networks
from hgdt_jax.metrics.networks import crc32c, packages, parameters, tf_checkpoint, weights

ARRAYS = {'a/kernel': np.arange(6, dtype=np.float32).reshape(2, 3), 'a/bias': np.ones(3)}


def test_content_hash_is_of_the_arrays_and_not_of_the_file(tmp_path):
  for name in ('one', 'two'):
    weights.save_npz(tmp_path / f'{name}.npz', weights.Weights(ARRAYS, source=f'from {name}'))
  one, two = (weights.load_npz(tmp_path / f'{name}.npz') for name in ('one', 'two'))
  assert one.sha256 == two.sha256 == weights.content_hash(dict(reversed(ARRAYS.items())))
  assert one.source == 'from one'
  for changed in (ARRAYS | {'a/bias': np.zeros(3)}, ARRAYS | {'a/bias': np.ones((3, 1))}):
    assert weights.content_hash(changed) != one.sha256


def test_missing_weights_are_one_line_that_says_what_to_do(tmp_path, monkeypatch):
  monkeypatch.setattr(packages, 'PACKAGES', {})
  for name, said in {
    'i3d': ('i3d.npz', 'hgdt_jax[fvd]', 'model.ckpt.data-00000-of-00001'),
    'inception_logits': ('inception.npz', 'pt_inception-2015-12-05-6726825d.pth'),
    'lpips_vgg': ('lpips_vgg.npz', 'hgdt_jax[lpips]', 'vgg16-397923af.pth'),
    'face': ('face.npz', 'MobileFace'),
  }.items():
    with pytest.raises(FileNotFoundError) as error:
      networks.load(name, tmp_path)
    text = str(error.value)
    assert '\n' not in text
    for part in (*said, str(tmp_path), 'hgdt_jax.metrics.convert'):
      assert part in text


def test_unknown_network_names_the_choices():
  with pytest.raises(ValueError, match='i3d, i3d_pool, inception'):
    networks.load('resnet')


def test_weights_off_the_record_warn_and_are_stamped(tmp_path, caplog):
  weights.save_npz(tmp_path / 'face.npz', weights.Weights(ARRAYS, 'unknown file mine.npz (abc)'))
  with caplog.at_level('WARNING', logger='absl'):
    found = weights.find('face', tmp_path)
  assert 'UNKNOWN WEIGHTS for face: unknown file mine.npz (abc)' in caplog.text
  assert found.source == 'unknown file mine.npz (abc)'


def test_arrays_of_another_network_are_refused_by_name(tmp_path):
  weights.save_npz(tmp_path / 'i3d.npz', weights.Weights(ARRAYS, 'somewhere'))
  with pytest.raises(ValueError, match='Conv3d_1a_7x7/bias should be'):
    networks.load('i3d', tmp_path)


@pytest.fixture
def installed_package(tmp_path, monkeypatch):
  """A package with a pickle of weights, whose code must not run."""
  folder = tmp_path / 'site' / 'carrier' / 'weights'
  folder.mkdir(parents=True)
  (folder.parent / '__init__.py').write_text('raise RuntimeError("imported")')
  nested = {'params': {'Conv3d_2b_1x1': {'Conv_0': {'kernel': np.ones((1, 1, 1, 2, 3), 'f4')}}},
            'batch_stats': {'Conv3d_2b_1x1': {'BatchNorm_0': {
              'mean': np.zeros((1, 1, 1, 1, 3), 'f4')}}}}  # fmt: skip
  data = pickle.dumps(nested, protocol=3).replace(b'numpy._core', b'numpy.core')
  (folder / 'net.ckpt').write_bytes(data)
  monkeypatch.syspath_prepend(str(tmp_path / 'site'))
  sha256 = hashlib.sha256(data).hexdigest()
  entry = packages.Package('carrier 1.0', 'carrier', 'weights/net.ckpt', sha256)
  monkeypatch.setattr(packages, 'PACKAGES', {'i3d': entry})
  return folder / 'net.ckpt'


def test_arrays_of_an_installed_package_without_importing_it(installed_package):
  arrays = packages.arrays('i3d')
  assert {name: array.shape for name, array in arrays.items()} == {
    'Conv3d_2b_1x1/kernel': (1, 1, 1, 2, 3),
    'Conv3d_2b_1x1/mean': (3,),
  }


def test_a_changed_pickle_is_not_opened(installed_package):
  installed_package.write_bytes(installed_package.read_bytes() + b'.')
  with pytest.raises(ValueError, match='not one on record; not opened'):
    packages.arrays('i3d')


@pytest.mark.parametrize('what', [print, pickle.Unpickler, np.load])
def test_the_unpickler_admits_arrays_only(what):
  with pytest.raises(ValueError, match='only numpy arrays are read'):
    packages.unpickle(pickle.dumps({'a': what}))


def test_batch_normalisation_folds_into_the_convolution():
  rng = np.random.default_rng(0)
  layer = {name: rng.random(3) + 0.5 for name in ('mean', 'var', 'beta', 'gamma', 'bias')}
  layer['kernel'] = rng.random((2, 3))
  x = rng.random((4, 2))
  normal = (x @ layer['kernel'] + layer['bias'] - layer['mean']) / np.sqrt(layer['var'] + 0.1)
  expected = normal * layer['gamma'] + layer['beta']
  folded = parameters.fold({f'a/b/{name}': array for name, array in layer.items()}, epsilon=0.1)
  assert sorted(folded) == ['a/b/bias', 'a/b/kernel']
  np.testing.assert_allclose(x @ folded['a/b/kernel'] + folded['a/b/bias'], expected, rtol=1e-5)


@pytest.mark.parametrize(('text', 'crc'), [(b'123456789', 0xE3069283), (b'a', 0xC1D04330)])
def test_crc32c_of_published_strings(text, crc):
  assert crc32c.checksum(text) == crc


def test_crc32c_of_zeros_and_of_long_data():
  assert crc32c.checksum(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
  data = np.random.default_rng(0).bytes(5000)
  register = 0xFFFFFFFF
  for byte in data:  # the definition, bit by bit
    register ^= byte
    for _ in range(8):
      register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
  assert crc32c.checksum(data) == register ^ 0xFFFFFFFF


@pytest.fixture
def small_checkpoint(tmp_path, monkeypatch):
  """A checkpoint of two tensors in the layout of the large one, and its record."""
  arrays = {
    'A/beta': np.arange(5, dtype='<f4'),
    'A/kernel': np.random.default_rng(0).random((1, 2, 3, 4, 5)).astype('<f4'),
  }
  monkeypatch.setattr(tf_checkpoint, 'TOTAL_BYTES', sum(a.nbytes for a in arrays.values()))
  monkeypatch.setattr(tf_checkpoint, 'layout', lambda: [(n, a.shape) for n, a in arrays.items()])
  crcs = [crc32c.masked(a.tobytes()) for a in arrays.values()]
  monkeypatch.setattr(tf_checkpoint, '_crcs', lambda: crcs)
  path = tmp_path / 'model.ckpt.data-00000-of-00001'
  path.write_bytes(b''.join(a.tobytes() for a in arrays.values()))
  return path, arrays


def test_checkpoint_is_read_by_its_layout(small_checkpoint):
  path, arrays = small_checkpoint
  read = tf_checkpoint.read(path, path.read_bytes())
  for name, array in arrays.items():
    np.testing.assert_array_equal(read[name], array)


def test_damaged_checkpoint_names_the_tensor(small_checkpoint):
  path, _ = small_checkpoint
  data = bytearray(path.read_bytes())
  data[40] ^= 1
  path.write_bytes(data)
  with pytest.raises(ValueError, match='A/kernel is damaged'):
    tf_checkpoint.read(path, path.read_bytes())
  path.write_bytes(data[:-4])
  with pytest.raises(ValueError, match='the I3D checkpoint has'):
    tf_checkpoint.read(path, path.read_bytes())


def test_published_numbers_are_recognised_under_any_name(small_checkpoint):
  _, arrays = small_checkpoint
  torch = {
    'x.1': np.moveaxis(arrays['A/kernel'], (-1, -2), (0, 1)), 'x.2': arrays['A/beta'],
    'x.3': np.ones(5, np.float32),
  }  # fmt: skip
  found = tf_checkpoint.recognise(torch)
  assert sorted(found) == ['A/beta', 'A/kernel']
  np.testing.assert_array_equal(found['A/kernel'], arrays['A/kernel'])


def test_layout_of_the_published_checkpoint(golden_dir):
  index = json.loads((golden_dir / 'i3d_tfhub_layout.json').read_text())
  entries = sorted(index['tensors'].items(), key=lambda item: item[1]['offset'])
  assert tf_checkpoint._crcs() == [entry['crc32c'] for _, entry in entries]
  for (name, shape), (published, entry) in zip(tf_checkpoint.layout(), entries):
    kind = {'kernel': 'w', 'bias': 'b', 'mean': 'moving_mean', 'var': 'moving_variance'}
    leaf = name.rpartition('/')[2]
    assert published.rpartition('/')[2] == kind.get(leaf, leaf)
    assert 4 * np.prod(shape) == entry['size']
    assert name.partition('/')[0] in published
