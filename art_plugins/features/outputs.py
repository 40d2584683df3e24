"""Whether a model's outputs are what the classifier says: one number for each class."""

from __future__ import annotations

from typing import Any

from art_plugins.errors import InvalidInputError


def check_outputs(outputs: Any, nb_classes: int) -> None:
    """
    The largest of a sample's outputs says its class, which one output alone cannot.

    :param outputs: Array or tensor, (n, K).
    :param nb_classes: K, as the classifier has it.
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
