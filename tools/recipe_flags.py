"""The flag that takes a recipe: values of other flags, out of a file."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from mobilenas_tf.training.recipe import open_recipe

flags.disclaim_key_flags()  # so that --help shows them as flags of the binary


def define_recipe() -> None:
    """Defines --recipe."""
    flags.DEFINE_string(
        "recipe",
        None,
        "A recipe.json, or the run folder of a joint search: values of flags, where "
        "they are not given.",
    )


def take_recipe(*, leave_out: Sequence[str] = ()) -> None:
    """Gives the flags that were not given the recipe's values; says what it took.

    Args:
        leave_out: Settings that the binary has no use for.
    """
    if flags.FLAGS.recipe is None:
        return
    recipe = open_recipe(flags.FLAGS.recipe)
    taken = {
        name: value
        for name, value in recipe.settings(flags.FLAGS).items()
        if not flags.FLAGS[name].present and name not in leave_out
    }
    for name, value in taken.items():
        flags.FLAGS[name].value = value
    print(
        f"From {flags.FLAGS.recipe}: "
        + ", ".join(f"{name} {value}" for name, value in taken.items())
    )
