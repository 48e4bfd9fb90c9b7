"""The command that explains one prediction."""

import click

from tidegate.cli.tool import Command, Tool, pass_tool


@click.command(cls=Command, short_help="Explain one prediction.")
@click.argument("prediction_id")
@click.option("--model", metavar="MODEL", help="The model that made it. Default: all models are searched.")
@pass_tool
def explain(tool: Tool, prediction_id: str, model: str | None) -> None:
    """Why one prediction came out as it did: inputs, version, what that was trained on, gate, approvers, and what each
    input contributed to the score.

    PREDICTION_ID is the `id` that came with the answer. Contributions are Shapley values: what an input moves the score
    by on average, when it takes its value here instead of that of a training row. They say what the model did, not what
    causes what in the world. docs/explain.md has the method.

    \b
    Example:
      tidegate explain 019b8e3a-9a00-7000-8000-000000000001
      tidegate explain 019b8e3a-9a00-7000-8000-000000000001 --model flight-delay --json
    """
    from tidegate.cli.pages import explain

    found = tool.client.explain(prediction_id, model)
    tool.answer(found, lambda out: explain.page(out, found))
