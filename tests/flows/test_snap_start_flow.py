"""What an environment that was resumed from a snapshot lacks: keys in its variables. The snapshot itself is AWS's."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.flows.conftest import House

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
TOKEN = "of this environment alone"


@contextmanager
def handing_out(access: str, secret: str, session: str) -> Iterator[tuple[str, list[str]]]:
    """The endpoint that Lambda has inside such an environment, and with which token it was asked."""
    ends = datetime.now(UTC) + timedelta(days=365)  # whatever the cloud's clock says
    said = {"AccessKeyId": access, "SecretAccessKey": secret, "Token": session, "Expiration": ends.isoformat()}
    tokens: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers["Authorization"])
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/credentials", tokens
    finally:
        server.shutdown()
        server.server_close()


def test_a_resumed_environment_predicts_with_the_credentials_it_is_handed(house: House, served_model: str) -> None:
    host = house.cloud.host
    config = host.config("tidegate-dev-inference")
    keys = [config.role_env[name] for name in KEYS]
    request = {
        "rawPath": f"/models/{served_model}/predict",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST"}, "stage": "$default"},
        "body": json.dumps({"instances": house.instances(house.flights.head(1), served_model)}),
        "isBase64Encoded": False,
    }
    with handing_out(*keys) as (url, tokens):
        lent = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN}
        bare = {name: value for name, value in config.role_env.items() if name not in KEYS}
        host.add(replace(config, name="resumed", arn=f"{config.arn}-resumed", role_env=bare | lent))
        answers = [json.loads(host.invoke("resumed", json.dumps(request).encode()).payload) for _ in range(3)]
        assert host.drain(30)
    assert [answer["statusCode"] for answer in answers] == [200] * 3
    assert {json.loads(answer["body"])["reason"] for answer in answers} == {"champion"}
    assert set(tokens) == {TOKEN}
    assert len(tokens) <= len(answers)  # once in a process, not once in a request
