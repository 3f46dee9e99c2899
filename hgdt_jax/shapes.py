"""Shape checks at module boundaries."""


def check(spec: str, **arrays) -> dict[str, int]:
  """Checks `check('x: b t h w 3, t: b', x=x, t=t)` and returns the sizes by letter.

  Runs while tracing, so it costs nothing in a compiled step.

  Raises:
    ValueError: an array has another rank, or an axis has another size; names the array.
  """
  sizes: dict[str, int] = {}
  for part in spec.split(','):
    name, axes = (s.strip() for s in part.split(':'))
    shape, axes = arrays[name].shape, axes.split()
    want = [int(a) if a.isdigit() else sizes.get(a) for a in axes]
    if len(shape) != len(axes) or any(w not in (None, s) for w, s in zip(want, shape)):
      raise ValueError(f'{name}: want [{" ".join(axes)}], known {sizes}, got {shape}')
    sizes |= {a: s for a, s in zip(axes, shape) if not a.isdigit()}
  return sizes
