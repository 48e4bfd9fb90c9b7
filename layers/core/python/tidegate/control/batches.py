"""Predictions for files in S3."""

from http import HTTPStatus

from tidegate.control.call import Answer, At, Call, reads
from tidegate.steps.batch import batch
from tidegate.telemetry import logger


@reads(batch.StartBatch)
def start_batch(call: Call, at: At, request: batch.StartBatch) -> Answer:
    answer = batch.start_batch(
        call.path["model"],
        request,
        actor=call.actor,
        places=at.settings.places,
        models=at.registry,
        routes=at.registry,
        objects=at.batch_objects,
        batches=at.batch_runs,
        ledger=at.batch_ledger,
        clock=at.clock,
    )
    about = answer["batch"]
    logger("control").info("batch asked for", extra={"batch": about["batch_id"], "actor": call.actor})
    return HTTPStatus.OK if about["status"] == "succeeded" else HTTPStatus.ACCEPTED, answer


def show_batch(call: Call, at: At) -> Answer:
    model, output = call.path["model"], call.query.get("output")
    answer = batch.show_batch(
        model,
        output,
        actor=call.actor,
        places=at.settings.places,
        objects=at.batch_objects,
        batches=at.batch_runs,
        ledger=at.batch_ledger,
        clock=at.clock,
    )
    return HTTPStatus.OK, answer
