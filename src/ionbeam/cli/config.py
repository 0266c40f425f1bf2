"""`ionbeam config`: what is configured, and what is wrong with it."""

from typing import TYPE_CHECKING, Any

import typer

from ionbeam.cli.options import Json, Place, placed

if TYPE_CHECKING:
    from ionbeam.config import Loaded

app = typer.Typer(no_args_is_help=True, help="The configuration as Ionbeam reads it.")


@app.command()
@placed
def check(place: Place, as_json: Json = False) -> None:
    """Read the configuration as a start would; wrong values end with exit code 2, warnings do not."""
    from ionbeam.cli import rendering
    from ionbeam.config import load
    from ionbeam.config.loading import find
    from ionbeam.errors import ConfigInvalid

    try:
        loaded = load(place.config, place.data_dir)
        warnings = _warnings(loaded)
    except ConfigInvalid as error:
        if as_json:
            rendering.print_json(
                {"file": find(place.config), "valid": False, "errors": [str(error)], "warnings": []}
            )
        raise
    if as_json:
        rendering.print_json({"file": loaded.origin, "valid": True, "errors": [], "warnings": warnings})
        return
    origin = rendering.short_path(loaded.origin) if loaded.origin else "no file, defaults only"
    for warning in warnings:
        typer.echo(f"warning: {warning}")
    typer.echo(f"{origin}: valid, {len(warnings) or 'no'} warning{'' if len(warnings) == 1 else 's'}")


@app.command()
@placed
def show(place: Place, as_json: Json = False) -> None:
    """Every setting with its value, defaults included, as YAML; secrets are masked."""
    import yaml

    from ionbeam.cli import rendering
    from ionbeam.config import load

    form = _shown(load(place.config, place.data_dir))
    if as_json:
        rendering.print_json(form)
    else:
        typer.echo(yaml.safe_dump(form, sort_keys=False, allow_unicode=True).rstrip())


def _warnings(loaded: "Loaded") -> list[str]:
    """Everything there is to say, about the blocks of sources too; `ConfigInvalid` when one is wrong."""
    from ionbeam import sources, wiring
    from ionbeam.cli import session

    blocks = [sources.load(name) for name in loaded.settings.sources if name in sources.SOURCES]
    wiring.schedules(loaded.settings)
    return [
        *session.remarks(loaded),
        *(remark for kind in blocks for remark in loaded.source(kind.name, kind.settings_model)[1]),
    ]


def _shown(loaded: "Loaded") -> dict[str, Any]:
    from ionbeam import sources
    from ionbeam.config import shown
    from ionbeam.config.secrets import masked

    form = shown(loaded.settings)
    for name in sources.SOURCES:
        settings, _ = loaded.source(name, sources.load(name).settings_model)
        form["sources"][name] = masked(settings.model_dump(mode="json"))
    return form
