"""The stacks, the layer builder and the local cloud. Nothing that is deployed imports anything from here."""

import os

# The CDK's engine prints a box of exclamation marks for every Node.js release that is not among its newest ones.
for _kind in ("END_OF_LIFE", "DEPRECATED", "UNTESTED"):
    os.environ.setdefault(f"JSII_SILENCE_WARNING_{_kind}_NODE_VERSION", ",".join(map(str, range(20, 40))))
