"""The paper, one file a figure. Read in this order.

`config` (the choices), `blocks`, `detail` (Table 1), `stem` and `context` (Figure 4), `gather`
(Figure 5), `semantic` (Table 1), `aggregation` (Figure 6), `head` (Figure 7), `bisenetv2` (Figure
3), and beside them `frames` (normalisation), `cost` and `checkpoint`.

Shapes in trailing comments: B batch, C channels, H and W the input's height and width.
"""
