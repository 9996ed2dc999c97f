"""The papers' claims, held against checkpoints trained alike: results and trainings in, one page with figures out.

`write_claims` does it all. Never imports torch.
"""

from study.page import write_claims as write_claims
