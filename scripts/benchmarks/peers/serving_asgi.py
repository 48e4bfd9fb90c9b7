"""Runs in the peers' own environment: the least that answers over HTTP, without checks of the request.

uvicorn serving_asgi:app     (SERVED_ARTIFACT=model.onnx)
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from serving_onnx import Forest

forest = Forest()


async def app(
    _scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Probabilities of the rows in the body, whatever the path."""
    body, more = b"", True
    while more:
        part = await receive()
        body, more = body + part.get("body", b""), part.get("more_body", False)
    answer = orjson.dumps({"probabilities": forest.predict_proba(orjson.loads(body)["rows"])})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
