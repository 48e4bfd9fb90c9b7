"""How large a part of the outcomes one caller may report before somebody else is asked."""

from tidegate.domain.registry.route import Route
from tidegate.ports.registry import Models, Versions


def reporter_share(model: str, digest: str | None, route: Route | None, *, models: Models, versions: Versions) -> float:
    """The stricter `monitoring.reporter_at_most` of a spec (None: the one that is applied) and the champion's, so that
    nobody loosens it alone. Raises NotFoundError."""
    specs = [models.spec(model, digest)]
    if route and route.champion:
        specs.append(models.spec(model, versions.version(model, route.champion.version).spec_digest))
    return min(each.monitoring.reporter_at_most for each in specs)
