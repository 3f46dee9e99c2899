"""Where weights come from: folders, installed packages, refusals and warnings."""

import hashlib
import pickle

import numpy as np
import pytest

from hgdt_jax.metrics import networks
from hgdt_jax.metrics.networks import packages, parameters, readers, weights

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
    'i3d': ('i3d.npz', 'hgdt_jax[fvd]', 'i3d_pretrained_400.pt'),
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


@pytest.fixture
def lpips_file(tmp_path):
  path = tmp_path / 'lpips_alex.npz'
  arrays = {'conv0/kernel': np.ones((3, 3, 3, 8), np.float32)}
  weights.save_npz(path, weights.Weights(arrays, 'mine'))
  return path


@pytest.mark.parametrize(
  ('damage', 'says'),
  [
    (lambda data: data[: len(data) // 2], 'not an npz file that can be read .*get it anew'),
    (
      lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:],
      'not an npz file .*Bad CRC-32.*get it anew',
    ),
    (lambda data: b'', 'empty file; get it anew'),
    (lambda data: b'<!-- login -->\n<html>', 'a web page, no weights; get the file itself'),
    (lambda data: b'\xef\xbb\xbf<!DOCTYPE html><title>\xd0\x92\xd1', 'a web page, no weights'),
    (lambda data: b'{"error": "sign in"}', 'a message, no weights'),
  ],
)
def test_damaged_npz_says_which_file_and_what_to_do(lpips_file, damage, says):
  lpips_file.write_bytes(damage(lpips_file.read_bytes()))
  with pytest.raises(ValueError, match=rf'lpips_alex\.npz: {says}') as error:
    networks.load('lpips_alex', lpips_file.parent)
  assert len(str(error.value).splitlines()) == 1


def test_nan_in_weights_is_damage(lpips_file):
  arrays = {'conv0/kernel': np.full((3, 3, 3, 8), np.nan, np.float32)}
  weights.save_npz(lpips_file, weights.Weights(arrays, 'mine'))
  with pytest.raises(ValueError, match='conv0/kernel holds NaN or infinity: damaged; get it anew'):
    networks.load('lpips_alex', lpips_file.parent)


def test_a_folder_of_weights_that_is_not_there_is_not_passed_over(lpips_file):
  """An installed package would have them: other weights than those that were asked for."""
  for folder in (lpips_file.parent / 'nowhere', lpips_file):
    with pytest.raises(FileNotFoundError, match='no such folder of weights'):
      networks.load('lpips_alex', folder)


def test_a_changed_byte_of_a_torch_file_is_found(tmp_path):
  torch = pytest.importorskip('torch')
  path = tmp_path / 'a.pth'
  torch.save({'w': torch.ones(1000)}, path)
  assert readers.read(path).arrays['w'].sum() == 1000
  data = bytearray(path.read_bytes())
  data[data.index(np.ones(9, np.float32).tobytes()) + 8] ^= 1
  path.write_bytes(bytes(data))
  with pytest.raises(ValueError, match=r'a\.pth: .*Get it anew'):
    readers.read(path)
