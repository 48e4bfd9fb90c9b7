"""What a second IAM says about the calls of the flows: @cloud-copilot/iam-simulate, with the same policies.

Each call that was made is put to every role that may do such a thing at all. The simulator must allow what the local
cloud allows and deny what it denies; it also refuses an action, a resource or a condition key that AWS does not have.
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Any

from infra.local import iam
from infra.local.cloud import LocalCloud
from tests.tools import installed

ID = re.compile(r"[0-9a-f]{6,}|[0-9]+")


@dataclass
class Calls:
    """One call of each kind: names that differ in numbers and hashes only are alike."""

    principals: dict[str, iam.Principal] = field(default_factory=dict)
    permissions: dict[tuple[str, ...], iam.Permission] = field(default_factory=dict)

    def note(self, principal: iam.Principal, permission: iam.Permission) -> None:
        """Remember who asked for what."""
        if principal.kind == "role":
            self.principals.setdefault(str(principal.role_arn), principal)
            keys = sorted({key.partition("#")[0] for key in permission.context.get("dynamodb:LeadingKeys", ())})
            self.permissions.setdefault((permission.action, ID.sub("#", permission.resources[0]), *keys), permission)

    def disagreements(self, cloud: LocalCloud) -> list[str]:
        """Where the two differ, and what the simulator does not know."""
        asked: list[dict[str, Any]] = []
        ours: list[bool] = []
        for principal in self.principals.values():
            policies, boundary = cloud._door.moto.identity_policies(principal)
            named = json.dumps(policies)
            for permission in self.permissions.values():
                if f'"{permission.action}"' in named:
                    asked.append(
                        {
                            "principal": principal.arn,
                            "action": permission.action,
                            "resources": permission.resources,
                            "context": dict(permission.context),
                            "policies": policies,
                        }
                    )
                    denied = iam.decide(principal, permission, identity=policies, boundary=boundary)
                    ours.append(denied is None)
        assert set(ours) == {True, False}
        modules = installed.node_modules()
        program = shutil.copy(installed.LOCKS / "simulate.cjs", modules.parent)
        done = subprocess.run(["node", program], input=json.dumps(asked), capture_output=True, text=True, check=True)
        return [
            f"{each['principal']}: {each['action']} on {each['resources']} with {each['context']}: "
            f"{'allowed' if mine else 'denied'} here; the simulator says {theirs}"
            for each, mine, theirs in zip(asked, ours, json.loads(done.stdout), strict=True)
            if theirs != {"allowed": mine, "faults": []}
        ]
