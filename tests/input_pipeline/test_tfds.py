"""tensorflow_datasets, offline: a set built here without TensorFlow, and mock data of ucf101."""

import importlib.util
import pickle
import sys

import numpy as np
import pytest

from input_pipeline import Batches, make_source

tfds = pytest.importorskip('tensorflow_datasets')


@pytest.fixture(scope='module')
def built(tmp_path_factory, clips):
  """Folder of a set with a video tensor, a label and an odd one out; 6 train and 3 test clips."""

  class TinyClips(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
      features = {
        'video': tfds.features.Tensor(shape=(None, 20, 24, 3), dtype=np.uint8),
        'label': tfds.features.ClassLabel(names=['cat', 'dog']),
        'weight': tfds.features.Scalar(dtype=np.float32),
      }
      return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
      del dl_manager
      return {'train': self._generate_examples(6), 'test': self._generate_examples(3)}

    def _generate_examples(self, count):
      for k in range(count):
        frames = 3 if count == 3 and k == 0 else 12
        yield k, {'video': clips.numbered(frames, 20, 24), 'label': k % 2, 'weight': 0.5}

  pytest.importorskip('importlib_resources', reason='tfds needs it to prepare a set')
  builder = TinyClips(data_dir=tmp_path_factory.mktemp('tfds'), file_format='array_record')
  builder.download_and_prepare()
  return builder.data_path


def source_of(built, split='train', **options):
  return make_source('tfds', path=str(built), frames=4, size=16, split=split, **options)


def test_a_set_reads_without_tensorflow(built, clips):
  source = source_of(built)
  assert len(source) == 6 and source.classes == ('cat', 'dog')
  item = source[3]
  assert item['video'].shape == (4, 16, 16, 3) and item['video'].dtype == np.uint8
  assert item['label'].dtype == np.int32 and item['id'] == 3 and item['id'].dtype == np.int64
  assert [clips.number_of(f) for f in item['video']] == [4, 5, 6, 7], 'the centre'
  if 'tensorflow' in sys.modules:
    pytest.skip('TensorFlow is installed here, so that it was not needed cannot be seen')


def test_training_draws_and_testing_does_not(built, clips):
  def starts(source, i):
    items = [source.sample(i, np.random.default_rng(k)) for k in range(60)]
    return {clips.number_of(item['video'][0]) for item in items}

  assert starts(source_of(built), 0) == set(range(9))
  assert starts(source_of(built, 'test', short='pad'), 1) <= {0, 4}


def test_short_records_are_passed_over(built):
  source = source_of(built, 'test')
  batches = Batches(source, batch=3, seed=0)
  short = [i for i in range(3) if len(source._record(i)['video']) < 4]
  assert len(short) == 1 and set(next(batches)['id'].tolist()) == {0, 1, 2} - set(short)
  batches.close()
  assert source_of(built, 'test', short='pad')[0]['video'].shape == (4, 16, 16, 3)


def test_workers_may_read_it(built):
  source = source_of(built, stride=2)
  copy = pickle.loads(pickle.dumps(source))
  np.testing.assert_array_equal(copy[2]['video'], source[2]['video'])
  assert copy.fingerprint == source.fingerprint


def test_records_have_a_stride_and_no_clock(built):
  assert source_of(built, stride=2).timing == {'stride': 2, 'fps': None}


def test_splits_in_tfds_notation(built):
  train = source_of(built, train_split='train[:50%]', test_split='train[50%:]')
  test = source_of(built, 'test', train_split='train[:50%]', test_split='train[50%:]')
  assert len(train) == len(test) == 3 and train.fingerprint != test.fingerprint


@pytest.mark.parametrize(
  ('options', 'reason'),
  [
    ({'path': 'no_such_set_at_all'}, 'tfds set no_such_set_at_all, split train: cannot be read'),
    ({'path': ''}, 'needs a path'),
    ({'split': 'val'}, "split 'val': want one of train, test"),
    ({'key': 'picture'}, 'no feature picture; it has'),
    ({'train_split': 'validation'}, 'split validation: cannot be read'),
  ],
)
def test_errors_are_one_line(built, options, reason):
  given = {'path': str(built), 'frames': 4, 'size': 16, 'split': 'train'} | options
  with pytest.raises(ValueError, match=reason) as e:
    make_source('tfds', **given)[0]
  assert '\n' not in str(e.value)


@pytest.mark.skipif(importlib.util.find_spec('tensorflow') is not None, reason='TensorFlow is here')
def test_a_set_that_needs_tensorflow_says_so():
  """ucf101 holds a Video feature. Where TensorFlow is missing, the error names it."""
  with tfds.testing.mock_data(num_examples=2), pytest.raises(ValueError, match='tensorflow') as e:
    make_source('tfds', path='ucf101', frames=4, size=16, split='train')[0]
  assert '\n' not in str(e.value)


def test_mock_data_of_ucf101():
  pytest.importorskip('tensorflow', reason='a Video feature is read by TensorFlow')
  with tfds.testing.mock_data(num_examples=3):
    source = make_source('tfds', path='ucf101', frames=2, size=16, split='train', short='loop')
    assert len(source) == 3 and len(source.classes) == 101
    assert source[1]['video'].shape == (2, 16, 16, 3) and source[1]['video'].dtype == np.uint8
