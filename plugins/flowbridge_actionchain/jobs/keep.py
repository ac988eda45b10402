"""Starts a keeper: `python -I -S keep.py SOCKET LOG`. All of it stands in a module, which Python compiles only once."""

import os
import sys

if __name__ == "__main__":
    # A program's folder is no place to import from: `-I` leaves it out.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

    from flowbridge_actionchain.jobs.keeper import main

    main(sys.argv[1:])
