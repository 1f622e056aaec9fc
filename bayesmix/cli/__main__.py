"""The command line as a module: ``python -m bayesmix.cli``."""

from bayesmix.cli.app import app

if __name__ == "__main__":
    app()
