"""Traffic splits: which served entity answers a request."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from penstock.domain.errors import InvalidParameterValue

FULL = 100


@dataclass(frozen=True, slots=True)
class Route:
    """The share of requests, in percent, that one served entity gets. 0 keeps it deployed and addressable."""

    entity_name: str
    percentage: int


def check_routes(routes: Sequence[Route], entity_names: Sequence[str]) -> None:
    """Raise InvalidParameterValue unless the routes split all traffic over exactly these entities."""
    named = [route.entity_name for route in routes]
    for index, route in enumerate(routes):
        at = f"traffic_config.routes[{index}]"
        if route.entity_name not in entity_names:
            raise InvalidParameterValue(
                f"{at}.served_entity_name: got '{route.entity_name}'; wanted one of {', '.join(entity_names)}."
            )
        if named.index(route.entity_name) != index:
            raise InvalidParameterValue(f"{at}: '{route.entity_name}' has a route already.")
        if not 0 <= route.percentage <= FULL:
            raise InvalidParameterValue(
                f"{at}.traffic_percentage: got {route.percentage}; wanted a whole number from 0 to 100."
            )
    missing = [name for name in entity_names if name not in named]
    if missing:
        raise InvalidParameterValue(
            f"traffic_config.routes: no route for {', '.join(missing)}; a route of 0 keeps one without traffic."
        )
    total = sum(route.percentage for route in routes)
    if total != FULL:
        raise InvalidParameterValue(f"traffic_config.routes: the percentages sum to {total}; wanted 100.")


def thresholds(percentages: Sequence[int]) -> tuple[float, ...]:
    """Upper bounds in 0..1 of each share; `bisect` of a draw from [0, 1) over them gives the index.

    The last bound above zero share is 1.0 exactly, and a share of 0 is never drawn.
    """
    return tuple(total / FULL for total in accumulate(percentages))
