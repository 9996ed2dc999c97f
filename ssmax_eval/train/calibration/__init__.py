"""Fit the s and b of SSMax to a finished checkpoint, every other weight as it is.

`settings` says what is asked, `documents` what is read, `factors` what is learned; `fitting` learns it by gradient
steps (`gradient`), `closed_form` solves for it (`statistics`), and `table` is the file that comes out.
"""
