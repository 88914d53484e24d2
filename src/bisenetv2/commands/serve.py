"""`bisenetv2 serve`: segmentation over HTTP.

bisenetv2 serve
bisenetv2 serve -m runs/camvid/best.onnx --host 0.0.0.0 --port 80
curl --data-binary @street.jpg http://127.0.0.1:8080/mask -o mask.png
curl --data-binary @street.jpg http://127.0.0.1:8080/overlay -o overlay.jpg
curl --data-binary @street.jpg http://127.0.0.1:8080/shares
"""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Annotated

from tyro.conf import arg

from bisenetv2.inference.engines import EngineName


def serve(
    *,
    model: Annotated[Path | None, arg(aliases=["-m"])] = None,
    host: str = "127.0.0.1",
    port: int = 8080,
    engine: EngineName = "auto",
    threads: int | None = None,
    scale: float | None = None,
) -> int:
    """Segment images that come over HTTP, until Ctrl-C.

    POST an image file to /mask (PNG of class indices), /color (PNG), /overlay (JPEG) or /shares
    (JSON); GET /model tells the classes, and / is a page to try it in a browser. There is no
    encryption and no password: on an open network, put it behind a server that has them.

    Args:
        model: Model file, checkpoint, or embedded model: camvid (INT8, default) or camvid-fp32.
        host: Address to listen on; 0.0.0.0 answers other machines too.
        port: Port to listen on; 0 takes a free one.
        engine: What runs the network.
        threads: CPU threads; by default one for each physical core.
        scale: Side of the network's input over the frame's; by default as the model's card says.
    """
    from bisenetv2.commands.signals import stop_on_signal
    from bisenetv2.inference.segmenter import Segmenter
    from bisenetv2.inference.server import SegmentationServer

    segmenter = Segmenter(model, engine, threads=threads, scale=scale)
    with SegmentationServer(segmenter, host, port) as server, stop_on_signal() as stop:
        server.listen()
        Thread(target=server.serve_forever, daemon=True).start()
        print(f"listening on {server.url}, Ctrl-C ends it", flush=True)
        while not stop.wait(0.5):  # without a limit Windows would not see Ctrl-C
            pass
        server.shutdown()
        server.finish_requests(5.0)
    return 0
