"""Every figure and table of the three papers, read off the records of this package's own commands."""
