"""A recipe with other values in places."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.architectures.spec import Recipe
from schemas.errors import UsageError


def changed_recipe(
    recipe: Recipe,
    values: Mapping[str, Any],
    augmentation: Mapping[str, Any],
    phases: Mapping[str, Sequence[tuple[str | None, Any]]],
    class_boosts: Mapping[str, float],
) -> Recipe:
    """The recipe with these values instead of its own.

    values, augmentation: by the field's name in Recipe and Augmentation. phases: by the field's name in
    Phase, pairs of a phase's name (None: every phase) and a value, later ones winning. class_boosts: by
    class, beside the recipe's own.

    A phase that is given fewer epochs than its warm-up warms up for half of them.

    Raises UsageError for a phase that the recipe does not have.
    """
    changed = recipe.phases
    for field, pairs in phases.items():
        for name, value in pairs:
            if name is not None and name not in [phase.name for phase in changed]:
                raise UsageError(
                    f"The recipe has no phase '{name}'; it has {', '.join(phase.name for phase in changed)}."
                )
            changed = tuple(
                replace(phase, **{field: value}) if name in (None, phase.name) else phase for phase in changed
            )
    if not phases.get("warmup_epochs"):
        changed = tuple(
            replace(phase, warmup_epochs=phase.epochs / 2) if phase.warmup_epochs >= phase.epochs else phase
            for phase in changed
        )
    return replace(
        recipe,
        phases=changed,
        augmentation=replace(recipe.augmentation, **augmentation),
        class_boosts={**recipe.class_boosts, **class_boosts},
        **values,
    )
