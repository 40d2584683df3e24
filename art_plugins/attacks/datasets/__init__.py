"""Labelled data sets with a train and a test split, from a dependency, from a recipe, or from a folder."""
