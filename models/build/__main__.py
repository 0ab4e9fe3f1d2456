"""`python -m models.build` is `scanhook build`."""

from models.build.cli import build

if __name__ == "__main__":
    build()
