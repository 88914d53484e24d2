"""Labels of other tools to index masks and back (numpy, OpenCV, Pillow; no torch).

In all coordinates, pixel (column j, row i) covers [j, j + 1] × [i, i + 1].
Every reader gives index masks, `uint8` H×W with 255 for ignored pixels; every writer takes them.
"""
