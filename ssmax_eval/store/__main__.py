"""`python -m ssmax_eval.store pack RESULTS...`: put the cells of finished runs into one compact file each."""

import sys

from ssmax_eval.errors import UserError
from ssmax_eval.store.packing import pack
from ssmax_eval.store.reading import run_folders


def main(arguments: list[str]) -> None:
    """Pack the runs below the given folders. UserError for other arguments."""
    if len(arguments) < 2 or arguments[0] != "pack":
        raise UserError("usage: python -m ssmax_eval.store pack RESULTS...")
    for folder in run_folders(arguments[1:]):
        print(f"{folder.name}: {pack(folder).stat().st_size:,} bytes")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"Error: {error}")
