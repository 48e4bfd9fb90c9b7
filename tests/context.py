"""What Lambda hands to a function beside the event, as far as functions read it."""

from types import SimpleNamespace
from typing import Any

CONTEXT: Any = SimpleNamespace(
    aws_request_id="0b1f7f0e-6d0c-4d5a-9c6e-000000000001",
    function_name="tidegate-test-function",
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:tidegate-test-function",
    memory_limit_in_mb="1024",
    get_remaining_time_in_millis=lambda: 900_000,
)
