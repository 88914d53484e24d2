"""`bisenetv2 recipes`: what can be trained by name, and what each recipe reproduces.

bisenetv2 recipes
bisenetv2 recipes cityscapes
bisenetv2 recipes --json
"""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from typing import Annotated

from tyro.conf import Positional

from bisenetv2.training.recipes import CATALOGUE, NamedRecipe, find_recipe


def recipes(name: Annotated[str, Positional] = "", *, json: bool = False) -> int:
    """List the recipes, or show one with all it sets and what is uncertain about it.

    Args:
        name: A recipe; all by default.
        json: Print JSON.
    """
    if json:
        chosen = {name: find_recipe(name)} if name else CATALOGUE
        content = {name: asdict(named) for name, named in chosen.items()}
        print(dumps(content, indent=2, ensure_ascii=False))
    elif name:
        _show(name, find_recipe(name))
    else:
        _list()
    return 0


def _list() -> None:
    print("bisenetv2 train RECIPE --data DIR; `bisenetv2 recipes RECIPE` shows one in full\n")
    for name, named in CATALOGUE.items():
        recipe = named.recipe
        settings = (
            f"data {recipe.dataset}, crop {_crop(named)}, {recipe.iterations:,} iterations, "
            f"batch {recipe.batch}, rate {recipe.rate:g}, decay {recipe.weight_decay:g}"
        )
        printed = f"; paper: {named.printed}" if named.printed else ""
        print(f"{name}: {named.about}\n    {settings}{printed}")


def _show(name: str, named: NamedRecipe) -> None:
    print(f"{name}: {named.about}")
    print(f"printed in the paper: {named.printed or 'nothing, a recipe of this product'}")
    if named.doubts:
        print(f"uncertain: {named.doubts}")
    print()
    for field, value in asdict(named.recipe).items():
        if field == "network":
            print("network:")
            for key, setting in value.items():
                print(f"  {key}: {setting}")
        else:
            print(f"{field}: {value}")


def _crop(named: NamedRecipe) -> str:
    """Width×height, and what the crop is scaled to."""
    (height, width), scale = named.recipe.crop, named.recipe.input_scale
    text = f"{width}×{height}"
    return text if scale == 1 else f"{text} → {width * scale:.0f}×{height * scale:.0f}"
