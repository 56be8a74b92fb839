"""The rows of the diffusion models say what their families take."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("diffusers")

from napari_superres.models.diffusion_rows import DIFFUSION_ROWS
from napari_superres.models.engine import load_family
from napari_superres.models.families.latent import Settings as LatentSettings
from napari_superres.models.families.latent import settings_from as latent_settings
from napari_superres.models.families.onestep import RECIPES
from napari_superres.models.families.onestep import Settings as OneStepSettings
from napari_superres.models.families.supir.settings import CHOICES, settings_from
from napari_superres.models.families.supir.settings import Settings as SupirSettings

if TYPE_CHECKING:
    from napari_superres.models.spec import ModelSpec

SETTINGS: dict[str, Any] = {
    "supir": SupirSettings,
    "latent": LatentSettings,
    "onestep": OneStepSettings,
}


@pytest.mark.parametrize("spec", DIFFUSION_ROWS, ids=lambda spec: spec.name)
def test_options_of_a_row_are_those_of_its_family(spec: ModelSpec) -> None:
    """An option would be refused by the family, or have another default than is shown."""
    known = {field.name: field.default for field in dataclasses.fields(SETTINGS[spec.family])}
    for option in spec.options:
        assert known[option.name] == option.default, option.name
        assert type(known[option.name]) is type(option.default)
    if spec.name != "ldm-sr-x4":  # it has no words
        assert {option.name for option in spec.options} == set(known)
    assert load_family(spec.family).ENGINES == ("torch",)


def test_choices_of_the_rows_are_those_of_the_families() -> None:
    """A menu would offer a word that is refused, or hide one."""
    supir = next(spec for spec in DIFFUSION_ROWS if spec.family == "supir")
    offered = {option.name: option.choices for option in supir.options if option.choices}
    assert offered == CHOICES
    defaults = tuple((option.name, option.default) for option in supir.options)
    assert settings_from(defaults) == SupirSettings()
    plain = next(spec for spec in DIFFUSION_ROWS if spec.name == "ldm-sr-x4")
    defaults = tuple((option.name, option.default) for option in plain.options)
    assert latent_settings(defaults, plain.name) == LatentSettings()


def test_licences_that_forbid_commercial_use_ask_for_consent() -> None:
    """A user would break a licence without having seen it."""
    for spec in DIFFUSION_ROWS:
        assert spec.commercial == ("non-commercial" not in spec.licence)
        assert spec.consent == (not spec.commercial)
        assert not spec.bundled
        assert "not for quantification" in spec.domain
        assert spec.citation
        assert spec.homepage.startswith("https://")


def test_every_one_step_row_has_a_recipe() -> None:
    """A row without one would fail only after its weights were fetched."""
    rows = {spec.name for spec in DIFFUSION_ROWS if spec.family == "onestep"}
    assert rows == set(RECIPES)
