"""From a model file and a frame to a mask, without torch.

Read in this order: `model_file` (what a file says about itself), `engines` (what runs it),
`segmenter` (the road of a frame), `upsample` (from logits to the frame's own pixels), `overlay`
(the mask made visible). `torch_engine` is the only file here that imports torch, and nothing
imports it but `open_engine` when it is asked to.

Shapes in trailing comments: N frames, C classes, H and W a frame's sides, h and w the logits'.
"""
