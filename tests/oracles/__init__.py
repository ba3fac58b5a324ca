"""References in plain NumPy, float64, written from the papers' equations alone.

Nothing here imports the project. One sentence at a time, no padding, slow on purpose:
a line should be checkable against the paper by eye. Suffixes are the project's
letters (`t` query position, `s` key position, `d` width, `h` head, `k` head channel,
`f` feed-forward, `v` vocabulary), and `u` is the channel of a value, which the paper
lets differ from `k`.
"""
