"""ARNs of what has a fixed name.

Other stacks refer by these to what a stack makes. An ARN that CloudFormation exports cannot change while another stack
imports it, so that renaming an alarm could not be deployed. `tests/infra/test_aws_limits.py` lists the exports left.
"""

from aws_cdk import Aws


def named_arn(service: str, resource: str) -> str:
    """The ARN of a resource of this account and region, such as `named_arn("sqs", "tidegate-dev-failures")`."""
    return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resource}"
