"""Segmentation over HTTP: the bytes of an image come in, its mask goes out.

    GET  /         a page to try it in a browser
    GET  /model    the model's card, JSON: class names and palette among it
    POST /mask     PNG whose grey values are class indices
    POST /color    PNG in the classes' colours
    POST /overlay  JPEG: the colours over the image, with legend
    POST /shares   JSON: each class's share of the pixels

The body of a POST is an image file. Errors are one line of text. It is made for a trusted network:
there is no encryption and no password, and no page of another origin may read the answers.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from itertools import pairwise
from socketserver import ThreadingTCPServer
from threading import BoundedSemaphore
from time import perf_counter
from typing import NamedTuple

from bisenetv2 import __version__
from bisenetv2.errors import UserError
from bisenetv2.images import Image, decode_image, encode_image, encode_mask
from bisenetv2.inference.overlay import class_shares, overlay
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.labels import Labels, Mask

BODY_LIMIT = 64 * 2**20
"""Most bytes of an image that are taken."""

AT_ONCE = 4
"""Images that are in memory at the same time; further requests wait."""

PATIENCE = 30.0
"""Seconds after which a request is refused that waits, or whose bytes do not come."""

PNG, JPEG, JSON = "image/png", "image/jpeg", "application/json"


class Answer(NamedTuple):
    """What is sent back."""

    body: bytes
    kind: str
    """MIME type of the body."""

    status: HTTPStatus = HTTPStatus.OK
    timing: str = ""
    """Milliseconds of each stage, as the header `Server-Timing` holds them."""


def _shares(frame: Image, mask: Mask, labels: Labels) -> bytes:
    height, width = mask.shape
    content = {"height": height, "width": width, "shares": class_shares(mask, labels)}
    return json.dumps(content, ensure_ascii=False).encode()


def _overlay(frame: Image, mask: Mask, labels: Labels) -> bytes:
    return encode_image(overlay(frame, mask, labels), ".jpg", "the overlay")


FORMS: dict[str, tuple[str, Callable[[Image, Mask, Labels], bytes]]] = {
    "/mask": (PNG, lambda _, mask, __: encode_mask(mask)),
    "/color": (PNG, lambda _, mask, labels: encode_image(labels.colorize(mask), ".png", "colours")),
    "/overlay": (JPEG, _overlay),
    "/shares": (JSON, _shares),
}
"""What can be asked for: path, MIME type, and how it is made of frame and mask."""


def segment(segmenter: Segmenter, path: str, data: bytes) -> Answer:
    """Answers a POST.

    Args:
        segmenter: What segments.
        path: One of `FORMS`.
        data: Bytes of an image file.

    Raises:
        UserError: If the bytes are no image, or the answer's format cannot hold it.
    """
    kind, encode = FORMS[path]
    clock = [perf_counter()]
    frame = decode_image(data, "the request's body")
    clock.append(perf_counter())
    mask = segmenter(frame)
    clock.append(perf_counter())
    body = encode(frame, mask, segmenter.labels)
    clock.append(perf_counter())
    laps = zip(("decode", "segment", "encode"), pairwise(clock), strict=True)
    timing = ", ".join(f"{stage};dur={1000 * (end - start):.1f}" for stage, (start, end) in laps)
    return Answer(body, kind, timing=timing)


def refuse(status: HTTPStatus, line: object) -> Answer:
    """Answers with an error."""
    return Answer(f"{line}\n".encode(), "text/plain; charset=utf-8", status)


class SegmentationServer(ThreadingTCPServer):
    """Serves a segmenter; a thread a connection, the network for one image at a time."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would share the port with another
    request_queue_size = 32

    def __init__(self, segmenter: Segmenter, host: str, port: int) -> None:
        """Binds to an address; `serve_forever` then answers.

        Args:
            segmenter: What segments.
            host: Name or address to listen on.
            port: 1 to 65535; 0 takes a free one, which is then in `url`.

        Raises:
            UserError: If the address cannot be had.
        """
        self.segmenter = segmenter
        self.places = BoundedSemaphore(AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"{host}:{port}: cannot listen there ({error}); choose another --host or --port"
            ) from error

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of a client that has gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: SegmentationServer
    protocol_version = "HTTP/1.1"  # which keeps connections, and so their threads
    timeout = PATIENCE
    server_version, sys_version = f"bisenetv2/{__version__}", ""

    def do_GET(self) -> None:
        if self.path == "/":
            page = resources.files("bisenetv2.inference") / "server.html"
            self._send(Answer(page.read_bytes(), "text/html; charset=utf-8"))
        elif self.path == "/model":
            self._send(Answer(self.server.segmenter.card.to_json().encode(), JSON))
        elif self.path in FORMS:
            line = f"{self.path} takes an image by POST: curl --data-binary @street.jpg"
            self._send(refuse(HTTPStatus.METHOD_NOT_ALLOWED, line))
        else:
            self._send(self._unknown())

    def do_POST(self) -> None:
        refusal = self._look_at_headers()
        length = 0 if refusal else int(self.headers["Content-Length"])
        data = self.rfile.read(length)
        if refusal is None and len(data) < length:
            refusal = refuse(HTTPStatus.BAD_REQUEST, f"{len(data)} of {length} bytes came")
        if refusal is not None:
            self.close_connection = True  # what is left of the body is not the next request
            self._send(refusal)
        elif not self.server.places.acquire(timeout=PATIENCE):
            self._send(refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests; try again"))
        else:
            try:
                answer = self._answer(data)
            finally:
                self.server.places.release()
            self._send(answer)

    def _look_at_headers(self) -> Answer | None:
        length = self.headers.get("Content-Length", "")
        if self.path not in FORMS:
            return self._unknown()
        if not (length.isascii() and length.isdigit()):
            return refuse(HTTPStatus.LENGTH_REQUIRED, "the header Content-Length is missing")
        if len(length) > 12 or int(length) > BODY_LIMIT:
            line = f"an image of more than {BODY_LIMIT} bytes; send a smaller one"
            return refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, line)
        if self.headers.get_content_maintype() == "multipart":
            line = "a form; send the image as the body: curl --data-binary @street.jpg"
            return refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, line)
        return None

    def _answer(self, data: bytes) -> Answer:
        try:
            return segment(self.server.segmenter, self.path, data)
        except UserError as error:
            return refuse(HTTPStatus.BAD_REQUEST, error)
        except MemoryError as error:
            return refuse(HTTPStatus.INSUFFICIENT_STORAGE, f"not enough memory {error}".rstrip())

    def _unknown(self) -> Answer:
        line = f"no such path; POST an image to {', '.join(FORMS)}, or GET / or /model"
        return refuse(HTTPStatus.NOT_FOUND, line)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if answer.timing:
            self.send_header("Server-Timing", answer.timing)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Writes a line a request; what a client sent cannot steer a terminal."""
        line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in format % args)
        print(f"{self.address_string()} {line}", file=sys.stderr)
