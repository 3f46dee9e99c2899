"""Scores arranged for the table and the curves: no drawing, no HTML."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hgdt_jax.report import meanings
from hgdt_jax.report.contents import Contents


@dataclasses.dataclass(frozen=True)
class Panel:
  """One metric against a knob: points (x, y) by method, and levels of methods without the knob."""

  metric: meanings.Metric
  series: Mapping[str, Sequence[tuple[float, float]]]
  levels: Mapping[str, float]


def number(value: Any) -> float | None:
  """A finite float, or None for anything else."""
  if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
    return None
  return float(value)


def values(result: Mapping[str, Any]) -> dict[str, float | None]:
  """The metrics of one result."""
  return {name: number(value) for name, value in (result.get('metrics') or {}).items()}


def metrics_of(results: Sequence[Mapping[str, Any]]) -> list[meanings.Metric]:
  """The metrics that any of these results has, in the order they are shown."""
  stamps = {}
  for result in results:
    said = result.get('protocol') or {}
    stamps |= {name: said.get(name) or stamps.get(name, {}) for name in values(result)}
  return meanings.ordered_metrics(stamps, stamps)


def in_order(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """Results in the order of the methods."""
  names = [m.name for m in meanings.ordered_rows({str(r.get('method')) for r in results})]
  return sorted(results, key=lambda result: names.index(str(result.get('method'))))


def frozen(result: Mapping[str, Any]) -> bool:
  """Whether these samples move so little that consistency says nothing about them."""
  motion = values(result).get(meanings.MOTION_RATIO.name)
  return motion is not None and motion < meanings.LEAST_MOTION


def best(results: Sequence[Mapping[str, Any]], metric: meanings.Metric) -> list[int]:
  """Indices of the best results by a metric; none where fewer than two can be compared.

  Real clips and those given a part of one are never best, nor frozen ones by a consistency score.
  """
  if not metric.better:
    return []
  regrets = {}
  for index, result in enumerate(results):
    value, compared = values(result).get(metric.name), _compared(result)
    if value is None or not compared or (metric.consistency and frozen(result)):
      continue
    regrets[index] = metric.regret(value)
  if len(regrets) < 2:
    return []
  least = min(regrets.values())
  return [index for index, regret in regrets.items() if regret == least]


def tau_panels(contents: Contents) -> list[Panel]:
  """The hybrid's metrics against tau, with the plain GAN and plain diffusion as levels."""
  points = contents.curves.get('tau') or []
  series: dict[str, list[tuple[float, float]]] = {}
  for point in points:
    tau = number(point.get('tau'))
    for name, value in values(point).items():
      if tau is not None and value is not None:
        series.setdefault(name, []).append((tau, value))
  panels = []
  for metric in meanings.ordered_metrics(series):
    levels = {
      str(result['method']): value
      for result in contents.results
      if result.get('method') in ('gan', 'diffusion')
      and (value := values(result).get(metric.name)) is not None
    }
    panels.append(Panel(metric, {'hybrid': series[metric.name]}, levels))
  return panels


def cost_panels(contents: Contents) -> list[Panel]:
  """Each method's metrics against network evaluations; one without a curve is a point."""
  curve = contents.curves.get('network_evaluations') or []
  if not curve:
    return []
  on_curve = {point.get('method') for point in curve}
  alone = [r for r in contents.results if _compared(r) and r.get('method') not in on_curve]
  series: dict[str, dict[str, list[tuple[float, float]]]] = {}
  for point in [*curve, *alone]:
    cost, method = number(point.get('network_evaluations')), str(point.get('method'))
    for name, value in values(point).items():
      if cost and value is not None:
        series.setdefault(name, {}).setdefault(method, []).append((cost, value))
  drawn = {name for point in curve for name in values(point)} & set(series)
  return [Panel(metric, series[metric.name], {}) for metric in meanings.ordered_metrics(drawn)]


def _compared(result: Mapping[str, Any]) -> bool:
  return meanings.row(str(result.get('method'))).compared
