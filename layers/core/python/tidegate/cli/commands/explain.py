"""The command that explains one prediction."""

import click

from tidegate.cli.tool import Command, Tool, pass_tool


@click.command(cls=Command, short_help="Explain one prediction.")
@click.argument("model")
@click.argument("prediction_id")
@pass_tool
def explain(tool: Tool, model: str, prediction_id: str) -> None:
    """Explain how one prediction came about: inputs and their contributions to the score, version, training data, gate
    and approvers.

    PREDICTION_ID is the `id` in the answer. Contributions are Shapley values: how far each input moves the score from
    that of the training rows. They describe the model, not causes in the world. docs/explain.md has the method.

    \b
    Example:
      tidegate explain flight-delay 019b8e3a-9a00-7000-8000-000000000001
    """
    from tidegate.cli.pages import explain

    found = tool.client.explain(model, prediction_id)
    tool.answer(found, lambda out: explain.page(out, found))
