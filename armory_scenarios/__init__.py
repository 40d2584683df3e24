"""Every evaluation of art-plugins as a config that ``armory run`` takes; see ``python -m armory_scenarios --help``."""
