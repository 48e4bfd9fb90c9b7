"""The bytes of HTTP: every split of a request reads the same, and no bytes at all break the reader."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.http_wire import Request, RequestReader, RequestRefusedError, write_response

LENGTH = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Two: 1\r\nX-Two:  2 \r\n\r\nhello"
CHUNKS = (
    b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;ext\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def read_all(*pieces: bytes) -> list[Request]:
    reader = RequestReader(max_body_bytes=100)
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (request := reader.next()) is not None:
            found.append(request)
    assert reader.is_idle
    return found


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_requests_sent_together_come_out_one_by_one_however_they_are_cut(step: int) -> None:
    data = LENGTH + CHUNKS + GET + b"\r\n" + LENGTH
    found = read_all(*(data[at : at + step] for at in range(0, len(data), step)))
    assert [(one.method, one.path, one.query, one.body) for one in found] == [
        ("POST", "/a", "b=c", b"hello"),
        ("POST", "/a", "b=c", b"hello"),
        ("GET", "/", "", b""),
        ("POST", "/a", "b=c", b"hello"),
    ]
    assert found[0].header("x-two") == "1,2"
    assert found[0].header("x-none") is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nName : v\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded: v\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000, 431),
    ],
)
def test_what_is_not_a_request_is_refused_with_its_status(data: bytes, status: int) -> None:
    reader = RequestReader(max_body_bytes=100)
    reader.feed(data)
    with pytest.raises(RequestRefusedError) as refused:
        reader.next()
    assert refused.value.status == status


def test_a_client_that_waits_for_continue_gets_it_once() -> None:
    reader = RequestReader(max_body_bytes=100)
    reader.feed(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert reader.next() is None
    assert reader.take_continue()
    assert not reader.take_continue()
    reader.feed(b"ok")
    request = reader.next()
    assert request is not None
    assert request.body == b"ok"


@given(st.lists(st.binary() | st.sampled_from([LENGTH, CHUNKS, GET, b"\r\n", LENGTH[:60], CHUNKS[:75]]), max_size=6))
@settings(max_examples=300, deadline=None)
def test_no_bytes_do_anything_but_wait_come_out_or_be_refused(pieces: list[bytes]) -> None:
    reader = RequestReader(max_body_bytes=100)
    status = 400
    try:
        for piece in pieces:
            reader.feed(piece)
            while (request := reader.next()) is not None:
                assert len(request.body) <= 100
    except RequestRefusedError as refused:
        status = refused.status
    assert status in (400, 413, 431)


def test_a_response_has_the_length_of_its_body_also_when_the_body_is_left_out() -> None:
    assert write_response(200, [("A", "b")], b"hello") == b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello"
    head = write_response(299, [], b"hello", keep_alive=False, with_body=False)
    assert head == b"HTTP/1.1 299 Unknown\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    assert write_response(204, [], b"") == b"HTTP/1.1 204 No Content\r\n\r\n"
