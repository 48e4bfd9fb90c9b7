"""Why a captured prediction came out as it did."""

from http import HTTPStatus

from tidegate.control.call import Answer, At, Call
from tidegate.ml.scoring import load
from tidegate.steps.evaluation.explain import Explain


def explain(call: Call, at: At) -> Answer:
    explained = Explain(
        models=at.registry,
        catalog=at.catalog,
        runs=at.registry,
        versions=at.registry,
        routes=at.routes,
        rollouts=at.rollouts,
        artifacts=at.artifacts,
        captures=at.lookup,
        hours=at.hours,
        load=load,
        clock=at.clock,
    )
    return HTTPStatus.OK, explained.prediction(call.path["model"], call.path["prediction"])
