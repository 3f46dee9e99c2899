"""The face embedding against MXNet's, with the published weights and faces of a licensed set.

Neither can be part of the repository: these tests run where they lie beside it.
"""

import pathlib

import numpy as np
import pytest

from hgdt_jax.metrics import convert, networks

BESIDE = pathlib.Path(__file__).parents[2].parent / 'shared'
SOURCE = BESIDE / 'weights/mobileface/mobileface_v2.npz'
FACES = BESIDE / 'golden/acd_golden.npz'


@pytest.fixture(scope='module')
def network(tmp_path_factory):
  if not SOURCE.is_file():
    pytest.skip('no MobileFace weights beside the repository')
  folder = tmp_path_factory.mktemp('weights')
  convert.convert('face', [SOURCE], folder)
  return networks.load('face', folder)


@pytest.fixture(scope='module')
def golden_faces():
  if not FACES.is_file():
    pytest.skip('no faces beside the repository')
  with np.load(FACES) as archive:
    return dict(archive)


def test_embeddings_of_unit_length(network, golden_faces):
  crops = golden_faces['crops'][:2, :5].reshape(-1, 112, 112, 3)  # 10: more than there are devices
  expected = golden_faces['embed_raw'][:2, :5].reshape(-1, 256)
  expected = expected / np.linalg.norm(expected, axis=-1, keepdims=True)
  np.testing.assert_allclose(network.features(crops), expected, atol=1e-5)


def test_pairwise_identity_distance(network, golden_faces):
  clip = network.features(golden_faces['crops'][0])
  distances = np.linalg.norm(clip[:, None] - clip[None], axis=-1)
  mean = distances[np.triu_indices(16, 1)].mean()
  assert mean == pytest.approx(golden_faces['acd_pairwise'][0], rel=1e-4)


def test_converted_file_is_recognised(network):
  assert network.protocol['weights'] == 'MobileFace V2'
  assert network.sha256.startswith('212ddbf0')
