"""How far a finished checkpoint reaches with what can be changed at inference, and what that costs.

`candidates` says what is tried, `rungs` what is measured of it, `values` what that came to; `halving` keeps the better
ones, `calibrated` fits SSMax to the best, `budget` says when to stop, `verdict` what is recommended; `extend` puts them
together, `page` and `figure` show the outcome.
"""
