"""``python -m art_plugins.cli`` is the command ``art-plugins``."""

from art_plugins.cli import main

if __name__ == "__main__":
    main()
