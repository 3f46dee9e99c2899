"""Folders of frames in a zip, read in place: a clip's path goes on in the zip as in a folder."""

import functools
import io
import os
import pathlib
import zipfile

from PIL import UnidentifiedImageError

from input_pipeline import clip, images, resize
from input_pipeline.clip import BadClip

_MAX_IMAGE = 2**28  # bytes of one file in it, once unpacked
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others take memory as they please


def is_zip(path: pathlib.Path) -> bool:
  return path.suffix.lower() == '.zip' and path.is_file()


def archive_of(path: pathlib.Path) -> pathlib.Path | None:
  """The zip that a path goes on inside of, if it does."""
  return next((parent for parent in path.parents if is_zip(parent)), None)


def folders(path: pathlib.Path) -> dict[str, list[str]]:
  """The names of the files in each folder of a zip. ValueError if it is none."""
  try:
    return _open(path)[1]
  except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as e:
    raise ValueError(
      f'{path}: not a zip that can be read ({" ".join(str(e).split())[:150]})'
    ) from e


def probe(path):
  archive, inside, names = _frames(path)
  if not names:
    raise BadClip('no frames')
  return images.probed(len(names), lambda k: _load(archive, inside + names[k]))


def read(path, info, wanted, size):
  archive, inside, names = _frames(path)
  loaded = (_load(archive, inside + names[i]) for i in wanted if i < len(names))
  return [resize.from_array(images.rgb(image, info.bits), size) for image in loaded]


def names(path) -> list[str]:
  """Of the frames of a clip."""
  return _frames(path)[2]


def parts(path):
  """(name, opened file) of each frame of a clip."""
  archive, inside, names = _frames(path)
  return ((name, archive.open(inside + name)) for name in names)


def _frames(path):
  found = archive_of(path)
  archive, folders_of_it = _open(found)
  inside = path.relative_to(found).as_posix()
  names = images.in_order(folders_of_it.get(inside, ()))
  clip.check_frames(len(names))
  return archive, f'{inside}/', names


def _load(archive, name):
  member = archive.getinfo(name)
  if member.file_size > _MAX_IMAGE or member.compress_type not in _COMPRESSIONS:
    raise BadClip(f'{name}: of {member.file_size} bytes, or compressed otherwise than zip does')
  try:
    with images.opened(io.BytesIO(archive.read(member))) as image:
      return images.pixels(image)
  except UnidentifiedImageError as e:
    raise BadClip(f'{name} is no image') from e


def _open(path):
  """The zip and its folders. They are kept: to list a large one takes seconds."""
  about = path.stat()
  return _opened(path, about.st_size, about.st_mtime_ns, os.getpid())


@functools.lru_cache(maxsize=16)
def _opened(path, size, time, process):
  del size, time, process  # a file that changed is another; so is that of a forked process
  archive = zipfile.ZipFile(path)
  found = {}
  for name in archive.namelist():
    folder, _, file = name.rpartition('/')
    if file:
      found.setdefault(folder, []).append(file)
  return archive, found
