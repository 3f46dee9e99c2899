"""A folder of clips: video files, moving pictures, folders of frames (in zips too), npz and npy."""

from input_pipeline import files, layout, splits, stacks


class Folder(files.FileClips):
  """Every clip under `path`, at any depth; the first folder in which they differ is its class.

  Where some lie outside of these folders there are no classes.

  Splits: those that folders are named after: train, training; test, testing; val, valid, validation
  in any case, sky_train beside sky_test too. Test is held out, else val; what then lies outside of
  all is for training if no folder is. Else each file goes to the test split with chance
  `test_share`, by a hash of (split_seed, its group or its name under `path`), so that adding a file
  moves no other, and clips cut from one video stay together. At least one file is in each split as
  soon as there are two.

  `labels` names a list of clips instead; see `labels.read`. Clips that it does not name are not
  used. No path in it may leave the folder by name; links are followed wherever they lead, for a set
  is often linked together from several disks.

  `npy_order` is that of the axes of npy files, of `stacks.ORDERS`.

  The other arguments and the items are those of `files.FileClips`.

  Raises FileNotFoundError for a missing folder, ValueError for one with no clip that can be used.
  """

  def __init__(
    self,
    path,
    frames,
    size,
    split,
    stride=1,
    test_share=0.1,
    split_seed=0,
    labels='',
    npy_order=stacks.ONE,
    **options,
  ):
    found = layout.of(files.check_folder(path, or_zip=True), str(labels), npy_order)
    layout.check_any(found)
    entries, classes = splits.choose(found.root, found.parts(test_share, split_seed), split)
    rule = found.split_rule or f'drawn, {test_share:g} of the groups held out'
    options |= {'frames': frames, 'size': size, 'split': split, 'stride': stride}
    super().__init__(found, entries, classes, split_rule=rule, **options)
