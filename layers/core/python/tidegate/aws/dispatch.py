"""Work handed to a function without waiting for it."""

import json

from tidegate.aws.clients import answering, lambda_functions


class LambdaDispatcher:
    """ports.Dispatcher. Lambda delivers at least once; `functions/catalog` bears being called twice."""

    def __init__(self, catalog_function: str) -> None:
        self._catalog = catalog_function

    def register_dataset(self, dataset: str, version: str) -> None:
        """See ports.Dispatcher; the event is a `messages.RegisterDataset`."""
        payload = json.dumps({"dataset": dataset, "version": version}).encode()
        with answering("Lambda"):
            lambda_functions().invoke(FunctionName=self._catalog, InvocationType="Event", Payload=payload)
