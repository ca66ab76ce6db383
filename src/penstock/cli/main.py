"""The command line: `penstock` and its commands, one file per noun."""

import typer

from penstock.cli import (
    apply,
    autoscaler,
    backup,
    batch,
    bench,
    endpoints,
    faults,
    feedback,
    history,
    jobs,
    login,
    models,
    principals,
    quickstart,
    secrets,
    stack,
    tables,
    tokens,
)

app = typer.Typer(
    name="penstock",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="The open serving layer for MLflow, speaking Databricks Model Serving's own API.",
)
app.command()(stack.up)
app.command()(quickstart.quickstart)
app.command()(stack.stop)
app.command()(stack.status)
app.command()(stack.ps)
app.command()(stack.env)
app.command()(login.login)
app.command()(stack.doctor)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(bench.bench)
app.command("version")(stack.show_version)
app.command()(apply.apply)
app.command()(apply.export)
app.add_typer(endpoints.app, name="endpoints")
endpoints.app.add_typer(history.app)
app.add_typer(models.app, name="models")
app.add_typer(tokens.app, name="tokens")
app.add_typer(principals.app, name="principals")
app.add_typer(secrets.app, name="secrets")
app.add_typer(tables.app, name="tables")
app.add_typer(batch.app, name="batch")
app.add_typer(jobs.app, name="jobs")
app.add_typer(feedback.app, name="feedback")
app.add_typer(autoscaler.app, name="autoscaler")
app.add_typer(faults.app, name="faults")


def main() -> None:
    """Entry point of the `penstock` script."""
    app()
