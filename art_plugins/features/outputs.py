"""Check that a model gives one output for each class of the classifier."""

from __future__ import annotations

from typing import Any

from art_plugins.errors import InvalidInputError


def check_outputs(outputs: Any, nb_classes: int) -> None:
    """
    Check the shape of outputs. The largest output of a sample gives its class, so one output alone is not enough.

    :param outputs: Array or tensor, (n, K).
    :param nb_classes: Number of classes of the classifier, K.
    :raises InvalidInputError: For another shape.
    """
    shape = tuple(outputs.shape)
    if len(shape) == 2 and shape[1] == nb_classes:
        return
    remedy = f"give the classifier the nb_classes that the model has, or a model with {nb_classes} outputs."
    if nb_classes == 2 and shape[1:] in ((), (1,)):
        remedy = (
            "put a module behind it that gives both classes, torch.cat([torch.zeros_like(z), z], dim=1) for a logit z of "
            "shape (n, 1), or torch.cat([1 - p, p], dim=1) for a probability p."
        )
    raise InvalidInputError(
        f"The classifier has nb_classes={nb_classes}, but its model gives outputs of shape {('n', *shape[1:])} where "
        f"(n, {nb_classes}) are needed; {remedy}".replace("'n'", "n")
    )
