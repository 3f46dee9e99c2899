"""Textured shapes that move, turn and grow, made on the fly, with their exact optical flow.

Lengths are shares of the frame's side and time is in frames, so a scene does not depend on the
size it is drawn at: at 64x64 things move twice as many pixels per frame as at 32x32. Nor does it
depend on the number of frames: a longer clip is the same scene going on.
"""

import dataclasses
import math

import numpy as np

CLASSES = ('disc', 'square', 'triangle', 'ring')
_SPLITS = {'train': 0, 'test': 1}
_SPEED = (1 / 32, 2.5 / 32)  # per frame: 1 to 2.5 pixels at 32x32
_OCCLUDED = 0.25  # share of clips in which something passes in front
_HALF_PIXEL = 0.5  # half the width of an anti-aliased edge, in pixels
_FOOTPRINT = _HALF_PIXEL + math.sqrt(2)  # no pixel that bilinear sampling reads lies on an edge
_REACH = 1.25  # every outline lies within so many radii of its centre
_SAMPLES = 40  # points a side at which the truth of a shape is averaged


@dataclasses.dataclass(frozen=True)
class Layer:
  """One moving shape. Its centre goes straight and bounces inside a box.

  A point `u` of the shape (unit: the radius) is seen at `centre(t) + radius zoom(t) R(t) u`.
  """

  shape: str  # of CLASSES, or 'bar': an endless stripe, two radii wide
  radius: float
  centre: tuple[float, float]  # (x, y) at frame 0
  velocity: tuple[float, float] = (0.0, 0.0)  # per frame
  box: tuple[float, float] = (-math.inf, math.inf)  # that the centre bounces in, on both axes
  angle: float = 0.0  # radians at frame 0
  spin: float = 0.0  # radians per frame
  zoom: float = 0.0  # the radius swings by this share
  zoom_phase: float = 0.0
  colour: tuple[float, ...] = (0.9, 0.9, 0.9)
  contrast: float = 0.0  # of the texture
  waves: tuple[float, float] = (0.8, 0.0)  # cycles per radius, along and across
  phase: float = 0.0

  def pose(self, t):
    """Returns centre [2, T, 1, 1], length of one unit [T, 1, 1], angle [T, 1, 1]."""
    t = np.asarray(t, np.float64)[:, None, None]
    path = [x + v * t for x, v in zip(self.centre, self.velocity)]
    swing = np.sin(2 * np.pi * t / 24 + self.zoom_phase)
    unit = self.radius * (1 + self.zoom * swing)
    return _bounce(np.stack(path), *self.box), unit, self.angle + self.spin * t

  def to_shape(self, points, t):
    """Maps points of the frame [2, T, H, W] to points of the shape, at the frames `t` [T]."""
    centre, unit, angle = self.pose(t)
    return _turn(points - centre.astype(points.dtype), -angle, 1 / unit)

  def to_frame(self, points, t):
    """The inverse of `to_shape`."""
    centre, unit, angle = self.pose(t)
    return _turn(points, angle, unit) + centre.astype(points.dtype)

  def distance(self, u, t, size):
    """Signed distance in pixels of points of the shape to its outline, negative inside."""
    _, unit, _ = self.pose(t)
    return _OUTLINES[self.shape](u) * (unit * size).astype(u.dtype)

  def paint(self, u):
    """Brightness of the texture at points of the shape."""
    along, across = self.waves
    texture = np.sin(2 * math.pi * along * u[0] + self.phase)
    if across:  # a soft checker instead of stripes
      texture *= np.sin(2 * math.pi * across * u[1] + self.phase)
    return 1 + self.contrast * texture


@dataclasses.dataclass(frozen=True)
class Scene:
  """A dark background that stands still, shapes from back to front, and a light that changes."""

  layers: tuple[Layer, ...]
  dark: tuple[tuple[float, ...], tuple[float, ...]] = ((0.1, 0.1, 0.1), (0.1, 0.1, 0.1))
  slope: float = 0.0  # direction of the background's gradient, radians
  gain: float = 0.0  # the light swings by this share, once in 32 frames
  gain_phase: float = 0.0
  tilt: float = 0.0  # and is brighter by this share on one side, which wanders round
  tilt_angle: float = 0.0

  def light(self, points, t):
    t = np.asarray(t, np.float64)[:, None, None]
    gain = 1 + self.gain * np.sin(2 * np.pi * t / 32 + self.gain_phase)
    side = self.tilt_angle + 2 * np.pi * t / 64
    slopes = np.stack([self.tilt * np.cos(side), self.tilt * np.sin(side)])
    tilt = (slopes.astype(points.dtype) * (2 * points - 1)).sum(0)
    return gain.astype(points.dtype) + tilt


@dataclasses.dataclass(frozen=True)
class Truth:
  """What is known of a scene's main object, layer 0, in each of T frames. Arrays are float64.

  Attributes:
    shape: of `CLASSES`.
    centre: `[T, 2]`, (x, y), shares of the frame's side.
    radius: `[T]`, the length of one unit of the shape, a share of the side.
    angle: `[T]`, radians, not wrapped.
    colour: `[T, C]` in [0, 1]: the mean over the whole shape of what is painted, texture and light
      with it, as if nothing were in front.
    occluded: whether the scene has an occluder at all.
    covered: `[T]` in [0, 1]: the share of the shape's area that lies behind an occluder.
  """

  shape: str
  centre: np.ndarray
  radius: np.ndarray
  angle: np.ndarray
  colour: np.ndarray
  occluded: bool
  covered: np.ndarray


class Synthetic:
  """Random access to `count` clips; clip i depends on (seed, split, i) alone.

  An item is {'video': uint8 [T, H, W, C], 'label': int32, 'id': int64}; the label is the shape of
  the main object, an index into `classes`. Classes take turns, so they are balanced.
  """

  classes = CLASSES

  def __init__(self, frames, size, count, seed, split, channels=3):
    if split not in _SPLITS:
      raise ValueError(f'split {split!r}: want one of {", ".join(_SPLITS)}')
    for name, value in (('frames', frames), ('size', size), ('count', count)):
      if value < 1:
        raise ValueError(f'synthetic source: {name} is {value}, want at least 1')
    if channels not in (1, 3):
      raise ValueError(f'synthetic source: channels is {channels}, want 1 or 3')
    self.frames, self.size, self.count = frames, size, count
    self.seed, self.split, self.channels = seed, split, channels
    self.timing = {'stride': 1, 'fps': None}  # time is in frames

  def __len__(self):
    return self.count

  def __getitem__(self, i):
    i = range(self.count)[i]
    video = render(self.scene(i), self.frames, self.size)
    return {'video': video, 'label': np.int32(i % len(CLASSES)), 'id': np.int64(i)}

  def sample(self, i, rng):
    """The same as `self[i]`: nothing in a clip is drawn anew each epoch."""
    del rng
    return self[i]

  def flow(self, i):
    """Exact backward flow of clip i; see `backward_flow`."""
    return backward_flow(self.scene(range(self.count)[i]), self.frames, self.size)

  def truth(self, i):
    """The `Truth` of clip i's main object."""
    return truth(self.scene(range(self.count)[i]), self.frames)

  @property
  def fingerprint(self):
    """Says whether two sources hold the same clips."""
    return (
      f'synthetic-1 frames={self.frames} size={self.size} count={self.count} seed={self.seed}'
      f' split={self.split} channels={self.channels}'
    )

  def scene(self, i):
    rng = np.random.default_rng((self.seed, _SPLITS[self.split], i))
    return draw_scene(rng, CLASSES[i % len(CLASSES)], self.channels)


def draw_scene(rng, shape, channels=3):
  """Returns a random `Scene` whose main object is a `shape`."""
  layers = [_draw_object(rng, shape, channels)]
  occluder = _draw_occluder(rng, channels)  # always drawn: it must not shift what follows
  if rng.random() < _OCCLUDED:
    layers.append(occluder)
  return Scene(
    layers=tuple(layers),
    dark=(tuple(_draw(rng, 0.04, 0.12, channels)), tuple(_draw(rng, 0.12, 0.24, channels))),
    slope=_draw(rng, 0, 2 * np.pi),
    gain=_draw(rng, 0.0, 0.1),
    gain_phase=_draw(rng, 0, 2 * np.pi),
    tilt=_draw(rng, 0.0, 0.1),
    tilt_angle=_draw(rng, 0, 2 * np.pi),
  )


def render(scene, frames, size):
  """Draws a scene: uint8 [T, H, W, C]. Edges are anti-aliased over one pixel."""
  t, points = np.arange(frames), _grid(size)
  video = _background(scene, points)  # a list of channels, each [T, H, W]
  for layer in scene.layers:
    u = layer.to_shape(points, t)
    cover = np.clip(_HALF_PIXEL - layer.distance(u, t, size), 0, 1)
    paint = layer.paint(u)
    video = [v + cover * (c * paint - v) for v, c in zip(video, layer.colour)]
  light = 255 * scene.light(points, t)
  return np.stack([(np.clip(v * light, 0, 255) + 0.5).astype(np.uint8) for v in video], axis=-1)


def backward_flow(scene, frames, size):
  """Returns the exact flow float32 [T-1, H, W, 2] and where it holds, bool [T-1, H, W].

  `flow[t, y, x] = (dx, dy)` in pixels: the surface point seen at pixel (x, y) of frame t + 1 was at
  (x + dx, y + dy) in frame t. So frame t, sampled there, gives frame t + 1 (up to the change of
  light). The mask is True where that point was visible in frame t: inside the frame, not covered,
  and no anti-aliased edge in the pixel itself or in those that bilinear sampling reads.
  """
  old, new = np.arange(frames - 1), np.arange(1, frames)
  points = np.broadcast_to(_grid(size).astype(np.float64), (2, frames - 1, size, size))
  origin = points.copy()  # where each point was; the background stays
  owner = np.zeros(points.shape[1:], int)  # 0 is the background, k + 1 is layer k
  clear = np.ones(points.shape[1:], bool)
  for k, layer in enumerate(scene.layers):
    u = layer.to_shape(points, new)
    distance = layer.distance(u, new, size)
    inside = distance < 0
    origin = np.where(inside, layer.to_frame(u, old), origin)
    owner = np.where(inside, k + 1, owner)
    # an edge under a layer in front is not seen
    clear = np.where(distance <= -_HALF_PIXEL, True, clear & (distance >= _HALF_PIXEL))
  for k, layer in enumerate(scene.layers):
    distance = layer.distance(layer.to_shape(origin, old), old, size)
    own = owner == k + 1
    clear &= np.where(own, distance <= -_FOOTPRINT, (owner > k + 1) | (distance >= _FOOTPRINT))
  pixel = origin * size - 0.5
  clear &= ((pixel >= 0) & (pixel <= size - 1)).all(0)
  return np.moveaxis((origin - points) * size, 0, -1).astype(np.float32), clear


def truth(scene, frames):
  """The `Truth` of a scene's main object in `frames` frames, at any size it is drawn at."""
  t, (main, *others) = np.arange(frames), scene.layers
  centre, radius, angle = main.pose(t)
  u = _REACH * (2 * _grid(_SAMPLES).astype(np.float64) - 1)
  inside = _OUTLINES[main.shape](u)[0] < 0  # [S, S]
  points = main.to_frame(u, t)  # [2, T, S, S]
  light = (main.paint(u) * scene.light(points, t))[:, inside]
  colour = [np.clip(c * light, 0, 1).mean(-1) for c in main.colour]  # clipped as `render` does
  hidden = np.zeros(points.shape[1:], bool)
  for layer in others:
    hidden |= layer.distance(layer.to_shape(points, t), t, 1) < 0
  return Truth(
    shape=main.shape,
    centre=centre[:, :, 0, 0].T,
    radius=radius[:, 0, 0],
    angle=angle[:, 0, 0],
    colour=np.stack(colour, axis=-1),
    occluded=bool(others),
    covered=hidden[:, inside].mean(-1),
  )


def _draw_object(rng, shape, channels):
  radius, zoom = _draw(rng, 0.20, 0.28), _draw(rng, 0.0, 0.1)
  box = (radius, 1 - radius)
  heading, speed = _draw(rng, 0, 2 * np.pi), _draw(rng, *_SPEED)
  checker = rng.random() < 0.5
  return Layer(
    shape=shape,
    radius=radius,
    centre=tuple(_draw(rng, *box, 2)),
    velocity=(speed * math.cos(heading), speed * math.sin(heading)),
    box=box,
    angle=_draw(rng, 0, 2 * np.pi),
    spin=_draw(rng, -0.1, 0.1),
    zoom=zoom,
    zoom_phase=_draw(rng, 0, 2 * np.pi),
    colour=_bright(rng, channels),
    contrast=_draw(rng, 0.06, 0.15),
    waves=(_draw(rng, 0.5, 0.9), _draw(rng, 0.5, 0.9) if checker else 0.0),
    phase=_draw(rng, 0, 2 * np.pi),
  )


def _draw_occluder(rng, channels):
  """A thin bar or a small disc, dim, that crosses the frame."""
  heading, speed = _draw(rng, 0, 2 * np.pi), _draw(rng, *_SPEED)
  bar = rng.random() < 0.5
  return Layer(
    shape='bar' if bar else 'disc',
    radius=_draw(rng, 0.05, 0.08) if bar else _draw(rng, 0.09, 0.13),
    centre=tuple(_draw(rng, 0.0, 1.0, 2)),
    velocity=(speed * math.cos(heading), speed * math.sin(heading)),
    box=(-0.15, 1.15),
    angle=heading,  # a bar moves across itself
    colour=tuple(_draw(rng, 0.3, 0.45, channels)),
    contrast=0.08,
    phase=_draw(rng, 0, 2 * np.pi),
  )


def _draw(rng, low, high, count=None):
  """Python floats, which leave float32 arrays float32 where numpy's own would not."""
  return rng.uniform(low, high, count).tolist() if count else float(rng.uniform(low, high))


def _bright(rng, channels):
  """A clear colour of one random hue."""
  if channels == 1:
    return (_draw(rng, 0.7, 0.85),)
  hue = _draw(rng, 0, 2 * np.pi) + np.array([0, 2, 4]) * np.pi / 3
  return tuple((0.6 + 0.25 * np.cos(hue)).tolist())


def _background(scene, points):
  x, y = points
  along = math.cos(scene.slope) * (x - 0.5) + math.sin(scene.slope) * (y - 0.5)
  along = np.clip(along + 0.5, 0, 1)
  return [low + (high - low) * along for low, high in zip(*scene.dark)]


def _grid(size):
  """Pixel centres (x, y) as shares of the side: float32 [2, 1, S, S]."""
  c = (np.arange(size, dtype=np.float32) + 0.5) / size
  return np.stack(np.meshgrid(c, c))[:, None]


def _turn(points, angle, scale):
  """Rotates points [2, ...] by `angle` and scales them."""
  cos = (scale * np.cos(angle)).astype(points.dtype)
  sin = (scale * np.sin(angle)).astype(points.dtype)
  x, y = points
  return np.stack([cos * x - sin * y, sin * x + cos * y])


def _bounce(x, low, high):
  """Folds the line onto [low, high], like a ball between two walls."""
  if math.isinf(low):
    return x
  return high - np.abs((x - low) % (2 * (high - low)) - (high - low))


def _disc(u):
  return np.sqrt(u[0] ** 2 + u[1] ** 2) - 1


def _ring(u):
  return np.abs(np.sqrt(u[0] ** 2 + u[1] ** 2) - 0.75) - 0.3


def _square(u):
  x, y = np.abs(u) - 0.85
  outside = np.sqrt(np.maximum(x, 0) ** 2 + np.maximum(y, 0) ** 2)
  return outside + np.minimum(np.maximum(x, y), 0)


def _triangle(u):
  """Equilateral, circumradius 1.15 (Quilez, "2D distance functions")."""
  k, half = math.sqrt(3), 1.15 * math.sqrt(3) / 2
  x, y = np.abs(u[0]) - half, u[1] + half / k
  fold = x + k * y > 0
  x, y = np.where(fold, (x - k * y) / 2, x), np.where(fold, (-k * x - y) / 2, y)
  x = x - np.clip(x, -2 * half, 0)
  return -np.sqrt(x * x + y * y) * np.sign(y)


def _bar(u):
  return np.abs(u[0]) - 1


_OUTLINES = {'disc': _disc, 'square': _square, 'triangle': _triangle, 'ring': _ring, 'bar': _bar}
