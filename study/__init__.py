"""The papers' claims, measured on checkpoints that were trained alike: trainings and runs in, one page out.

`write_page` does it all. Nothing here imports torch.
"""

from study.writing import write_page as write_page
