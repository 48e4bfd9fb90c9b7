"""What both arms of a rollout did."""

from dataclasses import dataclass, field

from tidegate.domain.rollout.canary import Look
from tidegate.domain.rollout.rollout import Evidence, Rollout


@dataclass
class InMemoryArms:
    """ports.ArmsReader; `served` holds captures as tests feed them: under which revision of the route, and what both
    arms did."""

    served: list[tuple[int, Look]] = field(default_factory=list)

    def feed(self, revision: int, look: Look) -> None:
        self.served.append((revision, look))

    def since_last_look(self, rollout: Rollout) -> Evidence:
        known = len(rollout.fetched.get("served", ()))
        looks: dict[int, Look] = {}
        for revision, look in self.served[known:]:
            if revision in rollout.route_revisions:
                looks[revision] = looks[revision] + look if revision in looks else look
        return Evidence(tuple(looks.values()), {"served": tuple(map(str, range(len(self.served))))})
