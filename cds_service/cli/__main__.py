"""``python -m cds_service.cli``: the same as ``scanhook``."""

from cds_service.cli import main

if __name__ == "__main__":
    main()
