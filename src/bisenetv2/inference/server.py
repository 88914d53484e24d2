"""Segmentation over HTTP: the bytes of an image come in, its mask goes out.

    GET  /         a page to try it in a browser
    GET  /model    the model's card, JSON: class names and palette among it
    POST /mask     PNG whose grey values are class indices
    POST /color    PNG in the classes' colours
    POST /overlay  JPEG: the colours over the image, with legend
    POST /shares   JSON: each class's share of the pixels

The body of a POST (or PUT) is an image file. Errors are one line of text. It is made for a trusted
network: there is no encryption and no password.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from itertools import pairwise
from socketserver import ThreadingTCPServer
from threading import BoundedSemaphore
from time import monotonic, perf_counter
from typing import NamedTuple
from urllib.parse import urlsplit

from bisenetv2 import __version__
from bisenetv2.errors import UserError
from bisenetv2.images import Image, decode_image, encode_image, encode_mask
from bisenetv2.inference.overlay import class_shares, overlay
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.labels import Labels, Mask

BODY_LIMIT = 64 * 2**20
"""Most bytes of an image that are taken."""

REQUESTS, IMAGES = 16, 4
"""Bodies of requests, and decoded images, that are in memory at the same time; others wait."""

PATIENCE = 30.0
"""Seconds after which a request is refused that waits, and a silent connection closed."""

UPLOAD = 120.0
"""Seconds in which a body must have come."""

LINGER = 5.0
"""Seconds in which a refused body is read on, so that its sender hears of the refusal."""

PIECE = 2**16
"""Bytes that are sent or read under one limit of time."""

PNG, JPEG, JSON = "image/png", "image/jpeg", "application/json"
TEXT = "text/plain; charset=utf-8"


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
    return Answer(f"{line}\n".encode(), TEXT, status)


_BUSY = refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests; try again")


class SegmentationServer(ThreadingTCPServer):
    """Serves a segmenter; a thread a connection, the network for one image at a time."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would share the port with another
    request_queue_size = 32

    def __init__(self, segmenter: Segmenter, host: str, port: int) -> None:
        """Makes a server, which `listen` opens and whose `serve_forever` then answers.

        Args:
            segmenter: What segments.
            host: Name or address to listen on.
            port: 1 to 65535; 0 takes a free one, which is then in `url`.

        Raises:
            UserError: If the system has no addresses of that kind.
        """
        self.segmenter = segmenter
        self.requests, self.images = BoundedSemaphore(REQUESTS), BoundedSemaphore(IMAGES)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with _listening(host, port):  # a system without IPv6 has not even sockets for it
            super().__init__((host, port), _Handler, bind_and_activate=False)

    def listen(self) -> None:
        """Takes the address.

        Raises:
            UserError: If it cannot be had.
        """
        with _listening(*self.server_address[:2]):
            self.server_bind()
            self.server_activate()

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def finish_requests(self, seconds: float) -> None:
        """Waits for answers that are on their way, after `shutdown`; never longer than that."""
        end = monotonic() + seconds
        for _ in range(REQUESTS):
            self.requests.acquire(timeout=max(0.0, end - monotonic()))

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of a client that has gone, which systems tell in many ways."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def _listening(host: object, port: object) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as error:
        raise UserError(
            f"{host!s}:{port}: cannot listen there ({error}); choose another --host or --port"
        ) from error


class _Handler(BaseHTTPRequestHandler):
    server: SegmentationServer
    protocol_version = "HTTP/1.1"  # which keeps connections, and so their threads
    timeout = PATIENCE
    disable_nagle_algorithm = True  # or a kept connection waits 40 ms for each body
    server_version, sys_version = f"bisenetv2/{__version__}", ""
    error_message_format, error_content_type = "%(message)s\n", TEXT

    def do_GET(self) -> None:
        # What comes as its body would be taken for the next request.
        has_body = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        self.close_connection |= has_body
        if self._path == "/":
            page = resources.files("bisenetv2.inference") / "server.html"
            self._send(Answer(page.read_bytes(), "text/html; charset=utf-8"))
        elif self._path == "/model":
            self._send(Answer(self.server.segmenter.card.to_json().encode(), JSON))
        elif self._path in FORMS:
            line = f"{self._path} takes an image by POST: curl --data-binary @street.jpg"
            self._send(refuse(HTTPStatus.METHOD_NOT_ALLOWED, line))
        else:
            self._send(self._unknown())

    do_HEAD = do_GET  # noqa: N815  # as the base class looks for it

    def do_POST(self) -> None:
        refusal, requests = self._look_at_headers(), self.server.requests
        if refusal is not None:
            self._refuse(refusal)
        elif not requests.acquire(timeout=PATIENCE):
            self._refuse(_BUSY)
        else:
            try:
                self._send(self._answer())
            finally:
                requests.release()

    do_PUT = do_POST  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Refuses before a body is sent what its headers already tell."""
        refusal = self._look_at_headers() if self.command in ("POST", "PUT") else None
        if refusal is None:
            return super().handle_expect_100()
        self.close_connection = True
        self._send(refusal)
        return False

    @property
    def _path(self) -> str:
        try:
            return urlsplit(self.path).path
        except ValueError:  # an address that cannot be
            return self.path

    def _look_at_headers(self) -> Answer | None:
        length = self.headers.get("Content-Length", "")
        if self._path not in FORMS:
            return self._unknown()
        if "Transfer-Encoding" in self.headers:
            return refuse(HTTPStatus.LENGTH_REQUIRED, "chunked bodies are not taken; send it whole")
        if not (length.isascii() and length.isdigit()):
            return refuse(HTTPStatus.LENGTH_REQUIRED, "the header Content-Length is missing")
        if len(length) > 12 or int(length) > BODY_LIMIT:
            line = f"an image of more than {BODY_LIMIT} bytes; send a smaller one"
            return refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, line)
        if self.headers.get_content_maintype() == "multipart":
            line = "a form; send the image as the body: curl --data-binary @street.jpg"
            return refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, line)
        return None

    def _answer(self) -> Answer:
        try:
            data = self._read_body()
            if not self.server.images.acquire(timeout=PATIENCE):
                return _BUSY
            try:
                return segment(self.server.segmenter, self._path, data)
            except (UserError, MemoryError):
                raise
            except Exception:
                traceback.print_exc()
                line = "the server failed at this image; its terminal says how"
                return refuse(HTTPStatus.INTERNAL_SERVER_ERROR, line)
            finally:
                self.server.images.release()
        except UserError as error:
            return refuse(HTTPStatus.BAD_REQUEST, error)
        except MemoryError:
            line = "there is not enough memory for this image; send a smaller one"
            return refuse(HTTPStatus.INSUFFICIENT_STORAGE, line)

    def _read_body(self) -> bytes:
        closes, self.close_connection = self.close_connection, True  # unless all of it is read
        length, end, data = int(self.headers["Content-Length"]), monotonic() + UPLOAD, bytearray()
        while len(data) < length and monotonic() < end:
            piece = self.rfile.read1(min(PIECE, length - len(data)))
            if not piece:
                break
            data += piece
        if len(data) < length:
            raise UserError(f"{len(data)} of {length} bytes came")
        self.close_connection = closes
        return bytes(data)

    def _unknown(self) -> Answer:
        line = f"no such path; POST an image to {', '.join(FORMS)}, or GET / or /model"
        return refuse(HTTPStatus.NOT_FOUND, line)

    def _refuse(self, answer: Answer) -> None:
        """Answers a request whose body was not read, and reads on until its sender has heard."""
        self.close_connection = True
        self._send(answer)
        self.connection.settimeout(LINGER)
        end = monotonic() + LINGER
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while monotonic() < end and self.rfile.read1(PIECE):
                pass

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
        if self.command != "HEAD":
            for start in range(0, len(answer.body), PIECE):
                self.wfile.write(answer.body[start : start + PIECE])

    def log_message(self, format: str, *args: object) -> None:
        """Writes a line a request; what a client sent cannot steer a terminal."""
        line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in format % args)
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it, or it is closed
            when = self.log_date_time_string()
            sys.stderr.write(f"{self.address_string()} [{when}] {line}\n")

    def log_error(self, format: str, *args: object) -> None:
        """Says nothing: answers are logged as such, and kept connections end in silence."""
