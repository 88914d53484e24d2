"""Sound on its way from container to container: packets pass, tracks are described anew."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import av
import av.error

from bisenetv2.inference.video.frames import Source
from bisenetv2.inference.video.sources import OVERLAY_SUFFIXES

if TYPE_CHECKING:
    from av.container import OutputContainer

LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""What libav takes 1, 2, … channels for where a file does not say which they are."""


def add_sound(container: OutputContainer, track: Any) -> Any:
    """Adds a track that takes the packets of another; `None` where the container cannot hold it."""
    if not _can_hold(container.format.name, track):
        return None
    added = _add_track(container, track)
    added.metadata.update(track.metadata)  # its language
    return added


def suffix_for_sound(source: Source, preferred: str) -> str:
    """Chooses the container, named by its file name ending, that holds all of a source's sound.

    Args:
        source: Where the sound comes from.
        preferred: Taken where it can be, and where none can.
    """
    for suffix in (preferred, *OVERLAY_SUFFIXES):
        form = {".mkv": "matroska"}.get(suffix, suffix[1:])
        if all(_can_hold(form, track) for track in source.sound_tracks):
            return suffix
    return preferred


def _can_hold(form: str, track: Any) -> bool:
    """Tells by a file without packets whether a format takes a track: headers refuse some."""
    try:
        with av.open(BytesIO(), "w", format=form) as trial:
            _add_track(trial, track)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _add_track(container: OutputContainer, track: Any) -> Any:
    added = container.add_stream_from_template(track)
    layout = track.codec_context.layout
    if layout.name.endswith("channels") and layout.nb_channels <= len(LAYOUTS):
        # AVI and Matroska only count them; MP4 finds at its very end that it wants them named.
        added.codec_context.layout = LAYOUTS[layout.nb_channels - 1]
    return added
