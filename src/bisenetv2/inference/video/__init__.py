"""From moving pictures to masks: video files, cameras, network streams, image sequences.

Read in this order: `frames` (what a source yields), `containers` (files and streams, by PyAV),
`live` (reconnection), `sources` (which source a name means), `planes` (the overlay, made in YUV),
`writers` (H.264 with sound, FFV1, PNG), `pipeline` (decode, segment and encode at the same time).
`containers`, `planes` and `writers` import PyAV; the others import them when it is needed.

Time is kept as a source tells it: integer ticks (`pts`) of a `time_base` in seconds. Nothing is
resampled to a constant frame rate.
"""
