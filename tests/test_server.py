"""Segmentation over HTTP: what is answered, and what is refused in a line."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Thread
from unittest.mock import Mock

import numpy as np
import pytest

from bisenetv2.card import ModelCard
from bisenetv2.cli import main
from bisenetv2.data.streets import render_street
from bisenetv2.errors import UserError
from bisenetv2.images import decode_image, encode_image, read_mask
from bisenetv2.inference import server as module
from bisenetv2.inference.overlay import class_shares, overlay
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.server import SegmentationServer


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(threads=1)


@pytest.fixture(scope="module")
def server(segmenter):
    with SegmentationServer(segmenter, "127.0.0.1", 0) as server:
        server.listen()
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def street():
    return render_street(3, 0, (90, 151)).image


def ask(server, method, path, body=None, headers=None):
    """Sends one request; returns status, type and body."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def refused(server, status, method, path, body=None, headers=None):
    """Sends a request that must be refused; returns the one line of the answer."""
    got, sent, content = ask(server, method, path, body, headers)
    assert got == status
    assert sent.get_content_type() == "text/plain"
    (line,) = content.decode().splitlines()
    return line


def test_every_form_of_answer_is_that_of_the_segmenter(server, segmenter, street, tmp_path):
    data = encode_image(street, ".png", "street")
    mask = segmenter(street)

    status, headers, content = ask(server, "POST", "/mask", data)
    assert (status, headers["Content-Type"]) == (200, "image/png")
    (tmp_path / "mask.png").write_bytes(content)
    assert np.array_equal(read_mask(tmp_path / "mask.png"), mask)
    stages = [part.split(";")[0] for part in headers["Server-Timing"].split(", ")]
    assert stages == ["decode", "segment", "encode"]

    status, headers, content = ask(server, "POST", "/color", data)
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert np.array_equal(decode_image(content, "color"), segmenter.labels.colorize(mask))

    status, headers, content = ask(server, "POST", "/overlay", data)
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    expected = overlay(street, mask, segmenter.labels)
    assert np.abs(decode_image(content, "overlay").astype(int) - expected).mean() < 5

    status, headers, content = ask(server, "POST", "/shares", data)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    shares = class_shares(mask, segmenter.labels)
    assert json.loads(content) == {"height": 90, "width": 151, "shares": shares}


def test_the_model_tells_its_classes(server, segmenter):
    status, _, content = ask(server, "GET", "/model")
    assert status == 200
    assert ModelCard.from_json(content.decode()) == segmenter.card


def test_the_page_needs_nothing_from_elsewhere(server):
    status, headers, content = ask(server, "GET", "/")
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert b"://" not in content


def test_what_is_no_image_is_refused(server, street):
    data = encode_image(street, ".png", "street")
    assert "not an image" in refused(server, 400, "POST", "/mask", b"hello")
    assert "not an image" in refused(server, 400, "POST", "/mask", b"")
    assert "truncated" in refused(server, 400, "POST", "/mask", data[: len(data) // 2])


def test_wrong_requests_are_refused(server):
    assert "/mask, /color" in refused(server, 404, "POST", "/nothing", b"x")
    assert "/mask, /color" in refused(server, 404, "GET", "/../../etc/passwd")
    assert "POST" in refused(server, 405, "GET", "/mask")
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "--data-binary" in refused(server, 415, "POST", "/mask", b"--x", form)
    for length in (str(module.BODY_LIMIT + 1), "9" * 5000):
        line = refused(server, 413, "POST", "/mask", b"x", {"Content-Length": length})
        assert str(module.BODY_LIMIT) in line
    for length in ("-1", "1e3", "\xb2", ""):
        line = refused(server, 411, "POST", "/mask", b"x", {"Content-Length": length})
        assert "Content-Length" in line


def test_lack_of_memory_is_a_line(server, street, monkeypatch):
    def fail(*_):
        raise MemoryError("for a network on 96×64 pixels")

    monkeypatch.setattr(Segmenter, "__call__", fail)
    data = encode_image(street, ".png", "street")
    assert "not enough memory" in refused(server, 507, "POST", "/mask", data)


def test_a_fault_of_the_server_is_a_line_there_and_a_traceback_here(
    server, street, monkeypatch, capfd
):
    def fail(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(Segmenter, "__call__", fail)
    data = encode_image(street, ".png", "street")
    assert "the server failed" in refused(server, 500, "POST", "/mask", data)
    assert "RuntimeError: out of order" in capfd.readouterr().err


def test_who_is_refused_hears_of_it_even_while_sending(server):
    body = bytes(8 << 20)  # more than what the system keeps for the reader
    assert "no such path" in refused(server, 404, "POST", "/nothing", body)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "--data-binary" in refused(server, 415, "POST", "/mask", body, form)


@pytest.mark.parametrize(
    "head",
    [
        "POST /nothing HTTP/1.1\r\nContent-Length: 30",
        "POST /mask HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 30",
        "GET /nothing HTTP/1.1\r\nContent-Length: 30",
        "POST /mask HTTP/1.1\r\nContent-Length: 30",
    ],
)
def test_a_body_that_is_not_read_is_not_the_next_request(server, head, monkeypatch):
    monkeypatch.setattr(module, "bytearray", Mock(side_effect=MemoryError), raising=False)
    with socket.create_connection(server.server_address, 60) as connection:
        connection.sendall(f"{head}\r\nHost: x\r\n\r\nGET /model HTTP/1.1\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 ") == 1


def test_no_body_is_asked_for_that_would_be_refused(server):
    head = "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    for path, answer in (("/nothing", b"HTTP/1.1 404 "), ("/mask", b"HTTP/1.1 100 ")):
        with socket.create_connection(server.server_address, 60) as connection:
            connection.sendall(head.replace("/nothing", path).encode())
            assert connection.recv(4096).startswith(answer)


def test_other_ways_to_ask(server, street):
    data = encode_image(street, ".png", "street")
    assert ask(server, "PUT", "/shares?size=any", data)[0] == 200
    status, headers, content = ask(server, "HEAD", "/")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) > 1000
    assert "Unsupported method" in refused(server, 501, "DELETE", "/mask")
    with socket.create_connection(server.server_address, 60) as connection:
        connection.sendall(b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 404 ")


def test_it_serves_on_when_nobody_reads_its_log(server, street, monkeypatch):
    class Closed:
        def write(self, _):
            raise BrokenPipeError

        flush = write

    for stderr in (Closed(), None):  # the latter as after 2>&-
        monkeypatch.setattr("sys.stderr", stderr)
        assert ask(server, "POST", "/mask", encode_image(street, ".png", "street"))[0] == 200


def test_a_connection_is_kept_from_one_image_to_the_next(server, street):
    connection = http.client.HTTPConnection(*server.server_address, timeout=60)
    for body, status in (
        (encode_image(street, ".png", "street"), 200),
        (b"no image", 400),
        (encode_image(street, ".jpg", "street"), 200),
    ):
        connection.request("POST", "/shares", body)
        kept = connection.sock
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        assert connection.sock is kept
    connection.close()


def test_requests_side_by_side_get_their_own_answers(server, segmenter):
    sizes = [(32 + 7 * index, 40 + 5 * index) for index in range(8)]
    frames = [render_street(5, index, size).image for index, size in enumerate(sizes)]
    bodies = [encode_image(frame, ".png", "frame") for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: ask(server, "POST", "/mask", body)[2], bodies))
    for frame, answer in zip(frames, answers, strict=True):
        assert np.array_equal(decode_image(answer, "mask")[..., 0], segmenter(frame))


def test_whoever_waits_too_long_is_told(server, street, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    data = encode_image(street, ".png", "street")
    for what in ("requests", "images"):
        places = BoundedSemaphore(1)
        monkeypatch.setattr(server, what, places)
        with places:
            assert "too many requests" in refused(server, 503, "POST", "/mask", data)
        assert ask(server, "POST", "/mask", data)[0] == 200


def test_a_client_that_breaks_off_harms_nobody(server, street, capfd):
    data = encode_image(street, ".png", "street")
    connection = http.client.HTTPConnection(*server.server_address, timeout=60)
    connection.putrequest("POST", "/mask")
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders(data[:10])
    connection.close()
    assert ask(server, "POST", "/mask", data)[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_what_a_client_sends_cannot_steer_the_terminal(server, capfd):
    connection = http.client.HTTPConnection(*server.server_address, timeout=60)
    connection._validate_path = lambda path: None
    connection.request("GET", "/\x1b[2Jx")
    assert connection.getresponse().status == 404
    connection.close()
    err = capfd.readouterr().err
    assert "\\x1b[2Jx" in err
    assert "\x1b" not in err


def test_an_address_that_cannot_be_had_is_refused(server, segmenter, capsys):
    port = server.server_address[1]
    for host, number in (("127.0.0.1", port), ("127.0.0.1", 70000), ("no.such.host.invalid", 0)):
        with (
            SegmentationServer(segmenter, host, number) as other,
            pytest.raises(UserError, match=f"{host}:{number}: cannot listen there"),
        ):
            other.listen()
    assert main(["serve", "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "choose another --host or --port" in line


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_stopped(number, street):
    command = [sys.executable, "-m", "bisenetv2", "serve", "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().split()[2].rstrip(",")
            host, port = url.removeprefix("http://").rstrip("/").split(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=60)
            connection.request("POST", "/shares", encode_image(street, ".png", "street"))
            assert connection.getresponse().status == 200
            process.send_signal(number)
            assert process.wait(60) == 0
        finally:
            process.kill()
