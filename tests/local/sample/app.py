"""A small CDK app with every kind of resource the local cloud makes; the tests of the cloud run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

HERE = Path(__file__).resolve().parent


class Storage(cdk.Stack):
    """What the other stack imports."""

    def __init__(self, scope: Construct) -> None:
        super().__init__(scope, "Storage")
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            lifecycle_rules=[s3.LifecycleRule(noncurrent_version_expiration=cdk.Duration.days(30))],
            removal_policy=cdk.RemovalPolicy.DESTROY,
            auto_delete_objects=True,
        )
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires",
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
        )


class Work(cdk.Stack):
    """Everything that moves."""

    def __init__(self, scope: Construct, storage: Storage) -> None:
        super().__init__(scope, "Work")
        layer = lambda_.LayerVersion(self, "Layer", code=lambda_.Code.from_asset(str(HERE / "layer")))
        self.failures = sqs.Queue(self, "Failures", queue_name="failures", enforce_ssl=True)
        self.seen = sqs.Queue(self, "Seen", queue_name="seen", enforce_ssl=True)
        lost = sqs.Queue(self, "Lost", queue_name="lost")
        self.function = lambda_.Function(
            self,
            "Work",
            function_name="work",
            runtime=lambda_.Runtime.PYTHON_3_13,
            handler="handler.handler",
            code=lambda_.Code.from_asset(str(HERE / "functions" / "work"), exclude=["**/__pycache__"]),
            layers=[layer],
            environment={"TABLE": storage.table.table_name},
            timeout=cdk.Duration.seconds(2),
            memory_size=256,
            retry_attempts=1,
            on_failure=destinations.SqsDestination(self.failures),
            log_group=logs.LogGroup(self, "Logs", log_group_name="/sample/work", retention=logs.RetentionDays.ONE_WEEK),
        )
        version = self.function.current_version
        live = lambda_.Alias(self, "Live", alias_name="live", version=version)
        self._deployment(live)
        self.function.add_to_role_policy(
            iam.PolicyStatement(actions=["dynamodb:GetItem", "dynamodb:PutItem"], resources=[storage.table.table_arn])
        )
        self.function.add_to_role_policy(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[storage.bucket.arn_for_objects("open/*")])
        )
        self._api()
        self._delivery(storage)
        self._machine()
        self._waiting_machine()
        self._timed_machine()
        self._listeners(storage)
        self._rules(lost)
        self._alarms()

    def _delivery(self, storage: Storage) -> None:
        """A stream that partitions by what a record says, as a role that may write to one prefix and the errors'."""
        role = iam.Role(self, "DeliveryRole", assumed_by=iam.ServicePrincipal("firehose.amazonaws.com"))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:PutObject"],
                resources=[storage.bucket.arn_for_objects("by-model/*"), storage.bucket.arn_for_objects("errors/*")],
            )
        )
        destination = firehose.S3Bucket(
            storage.bucket,
            role=role,
            data_output_prefix="by-model/model=!{partitionKeyFromQuery:model}/day=!{partitionKeyFromQuery:day}/",
            error_output_prefix="errors/!{firehose:error-output-type}/!{timestamp:yyyy-MM-dd}/",
            dynamic_partitioning=firehose.DynamicPartitioningProps(enabled=True),
            processors=[
                firehose.RecordDeAggregationProcessor.json(),
                firehose.MetadataExtractionProcessor.jq16({"model": ".about.model", "day": ".day"}),
                firehose.AppendDelimiterToRecordProcessor(),
            ],
            compression=firehose.Compression.GZIP,
            buffering_interval=cdk.Duration.seconds(60),
            buffering_size=cdk.Size.mebibytes(64),
        )
        firehose.DeliveryStream(self, "Delivery", delivery_stream_name="delivery", destination=destination)
        cdk.CfnOutput(self, "BucketName", value=storage.bucket.bucket_name)

    def _api(self) -> None:
        api = apigateway.HttpApi(self, "Api", api_name="sample", create_default_stage=False)
        api.add_routes(
            path="/models/{model}",
            methods=[apigateway.HttpMethod.GET],
            integration=integrations.HttpLambdaIntegration("Integration", self.function),
            authorizer=authorizers.HttpIamAuthorizer(),
        )
        apigateway.HttpStage(
            self,
            "Stage",
            http_api=api,
            stage_name="$default",
            auto_deploy=True,
            throttle=apigateway.ThrottleSettings(rate_limit=100, burst_limit=50),
        )
        ssm.StringParameter(self, "Url", parameter_name="/sample/url", string_value=api.api_endpoint)
        cdk.CfnOutput(self, "ApiUrl", value=api.api_endpoint)
        cdk.CfnOutput(self, "ApiId", value=api.api_id)

    def _machine(self) -> None:
        def invoke(name: str, **extra: Any) -> tasks.LambdaInvoke:
            return tasks.LambdaInvoke(
                self,
                name,
                lambda_function=self.function,
                payload_response_only=bool(extra.pop("payload_response_only", False)),
                retry_on_service_exceptions=False,
                result_path=str(extra.pop("result_path", "$.result")),
                **extra,
            )

        task = invoke("Task")
        task.add_retry(errors=["PassingError"], interval=cdk.Duration.seconds(1), max_attempts=1, backoff_rate=1)
        caught = sfn.Pass(self, "Caught", result_path="$.caught", result=sfn.Result.from_object({"yes": True}))
        task.add_catch(caught, errors=["SampleError", "Sandbox.Timedout"], result_path="$.failure")
        wait = sfn.Wait(self, "Wait", time=sfn.WaitTime.seconds_path("$.wait"))
        definition = sfn.Choice(self, "Waits").when(sfn.Condition.is_present("$.wait"), wait).otherwise(task)
        wait.next(task)
        machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name="sample",
            definition_body=sfn.DefinitionBody.from_chainable(definition),
            timeout=cdk.Duration.minutes(5),
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=logs.LogGroup(self, "MachineLogs", log_group_name="/aws/vendedlogs/states/sample"),
                level=sfn.LogLevel.ALL,
            ),
        )
        denied = sfn.StateMachine(
            self,
            "Denied",
            state_machine_name="denied",
            role=iam.Role(
                self, "NoRole", assumed_by=iam.ServicePrincipal("states.amazonaws.com")
            ).without_policy_updates(),
            definition_body=sfn.DefinitionBody.from_chainable(
                tasks.LambdaInvoke(self, "Refused", lambda_function=self.function, retry_on_service_exceptions=False)
            ),
        )
        short = sfn.StateMachine(
            self,
            "Short",
            state_machine_name="short",
            definition_body=sfn.DefinitionBody.from_chainable(
                sfn.Wait(self, "Long", time=sfn.WaitTime.duration(cdk.Duration.hours(1)))
            ),
            timeout=cdk.Duration.seconds(1),
        )
        cdk.CfnOutput(self, "ShortArn", value=short.state_machine_arn)
        cdk.CfnOutput(self, "MachineArn", value=machine.state_machine_arn)
        cdk.CfnOutput(self, "DeniedArn", value=denied.state_machine_arn)
        self.machine = machine

    def _waiting_machine(self) -> None:
        """Waits for a token's answer, at most as long as its input says."""
        held = tasks.LambdaInvoke(
            self,
            "Hold",
            lambda_function=self.function,
            integration_pattern=sfn.IntegrationPattern.WAIT_FOR_TASK_TOKEN,
            payload=sfn.TaskInput.from_object(
                {
                    "do": sfn.JsonPath.string_at("$.do"),
                    "token": sfn.JsonPath.task_token,
                    "entered": sfn.JsonPath.string_at("$$.State.EnteredTime"),
                    "started": sfn.JsonPath.string_at("$$.Execution.StartTime"),
                    "name": sfn.JsonPath.string_at("$$.Execution.Name"),
                }
            ),
            task_timeout=sfn.Timeout.at("$.limit"),
            result_path="$.answer",
            retry_on_service_exceptions=False,
        )
        held.add_retry(errors=["AgainError"], interval=cdk.Duration.hours(1), max_attempts=1)
        late = sfn.Pass(self, "Late", result_path="$.late", result=sfn.Result.from_object({"yes": True}))
        held.add_catch(late, errors=["States.Timeout"], result_path="$.failure")
        machine = sfn.StateMachine(
            self,
            "Waiting",
            state_machine_name="waiting",
            definition_body=sfn.DefinitionBody.from_chainable(held),
        )
        cdk.CfnOutput(self, "WaitingArn", value=machine.state_machine_arn)
        held_beat = sfn.CustomState(
            self,
            "Beat",
            state_json={
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
                "Parameters": {
                    "FunctionName": self.function.function_arn,
                    "Payload": {"do": "hold", "token.$": "$$.Task.Token", "name.$": "$$.Execution.Name"},
                },
                "TimeoutSeconds": 86400,
                "HeartbeatSeconds": 600,
            },
        )
        beating = sfn.StateMachine(
            self,
            "Beating",
            state_machine_name="beating",
            definition_body=sfn.DefinitionBody.from_chainable(held_beat),
        )
        self.function.grant_invoke(beating)
        cdk.CfnOutput(self, "BeatingArn", value=beating.state_machine_arn)

    def _timed_machine(self) -> None:
        """A function's ARN as a task, with a limit of its own."""
        direct = tasks.LambdaInvoke(
            self,
            "Direct",
            lambda_function=self.function,
            payload_response_only=True,
            retry_on_service_exceptions=False,
            task_timeout=sfn.Timeout.duration(cdk.Duration.seconds(1)),
        )
        machine = sfn.StateMachine(
            self, "Timed", state_machine_name="timed", definition_body=sfn.DefinitionBody.from_chainable(direct)
        )
        cdk.CfnOutput(self, "TimedArn", value=machine.state_machine_arn)

    def _deployment(self, alias: lambda_.Alias) -> None:
        """CodeDeploy shifts an alias on AWS; here it is only declared."""
        shift = codedeploy.LambdaDeploymentConfig(
            self,
            "Slowly",
            traffic_routing=codedeploy.TrafficRouting.time_based_canary(
                interval=cdk.Duration.minutes(5), percentage=10
            ),
        )
        codedeploy.LambdaDeploymentGroup(
            self,
            "Deployment",
            application=codedeploy.LambdaApplication(self, "Application"),
            alias=alias,
            deployment_config=shift,
        )

    def _listeners(self, storage: Storage) -> None:
        """Two functions on one stream: one reports failed items, one has failed batches split."""
        ways: dict[str, dict[str, Any]] = {
            "reporter": {"report_batch_item_failures": True, "batch_size": 3},
            "splitter": {"bisect_batch_on_error": True, "batch_size": 10},
        }
        for name, settings in ways.items():
            listener = lambda_.Function(
                self,
                name,
                function_name=name,
                runtime=lambda_.Runtime.PYTHON_3_13,
                handler="handler.handler",
                code=lambda_.Code.from_asset(str(HERE / "functions" / "listener"), exclude=["**/__pycache__"]),
                log_group=logs.LogGroup(self, f"{name}Logs", log_group_name=f"/sample/{name}"),
            )
            listener.add_event_source(
                sources.DynamoEventSource(
                    storage.table,
                    starting_position=lambda_.StartingPosition.TRIM_HORIZON,
                    max_batching_window=cdk.Duration.seconds(1),
                    retry_attempts=2,
                    on_failure=sources.SqsDlq(self.failures),
                    filters=[
                        lambda_.FilterCriteria.filter(
                            {
                                "eventName": ["INSERT", "MODIFY", "REMOVE"],
                                "dynamodb": {"Keys": {"pk": {"S": [{"prefix": f"{name}#"}]}}},
                            }
                        )
                    ],
                    **settings,
                )
            )

    def _rules(self, lost: sqs.Queue) -> None:
        events.Rule(
            self,
            "Finished",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"status": ["FAILED", "ABORTED", "TIMED_OUT"]},
            ),
            targets=[targets.SqsQueue(self.seen)],
        )
        events.Rule(
            self,
            "Orders",
            event_pattern=events.EventPattern(source=["sample.orders"], detail={"amount": [{"numeric": [">", 10]}]}),
            targets=[
                targets.LambdaFunction(
                    self.function,
                    event=events.RuleTargetInput.from_object(
                        {"do": "metric", "value": events.EventField.from_path("$.detail.amount")}
                    ),
                ),
                targets.SfnStateMachine(self.machine, input=events.RuleTargetInput.from_object({"from": "a rule"})),
            ],
        )
        scheduler.Schedule(
            self,
            "Nightly",
            schedule=scheduler.ScheduleExpression.cron(hour="3", minute="30", time_zone=cdk.TimeZone.EUROPE_BERLIN),
            target=scheduler_targets.SqsSendMessage(
                self.seen, input=scheduler.ScheduleTargetInput.from_text("the night has come")
            ),
        )
        events.Rule(
            self,
            "Hourly",
            schedule=events.Schedule.rate(cdk.Duration.hours(1)),
            targets=[targets.SqsQueue(self.seen, message=events.RuleTargetInput.from_text("the hour has come"))],
        )
        unreachable = events.CfnRule(
            self,
            "Unreachable",
            event_pattern={"source": ["sample.lost"]},
            targets=[
                events.CfnRule.TargetProperty(
                    id="a",
                    arn=f"arn:aws:lambda:{self.region}:{self.account}:function:nobody",
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=lost.queue_arn),
                )
            ],
        )
        lost.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                resources=[lost.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": unreachable.attr_arn}},
            )
        )

    def _alarms(self) -> None:
        key = kms.Key(self, "Key")
        key.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=["*"],
            )
        )
        topic = sns.Topic(self, "Alarms", topic_name="alarms", master_key=key)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=[topic.topic_arn],
            )
        )
        topic.add_subscription(subscriptions.SqsSubscription(self.seen, raw_message_delivery=True))
        topic.add_subscription(subscriptions.LambdaSubscription(self.function))
        refused = cloudwatch.Alarm(
            self,
            "RefusedAlarm",
            alarm_name="refused",
            metric=cloudwatch.Metric(
                namespace="Sample",
                metric_name="Refused",
                dimensions_map={"model": "late"},
                statistic="Sum",
                period=cdk.Duration.minutes(1),
            ),
            threshold=5,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        refused.add_alarm_action(actions.SnsAction(topic))
        errors = self.function.metric_errors(period=cdk.Duration.minutes(1), statistic="Sum")
        invocations = self.function.metric_invocations(period=cdk.Duration.minutes(1), statistic="Sum")
        cloudwatch.Alarm(
            self,
            "ErrorRate",
            alarm_name="error-rate",
            metric=cloudwatch.MathExpression(
                expression="IF(i > 0, 100 * e / i, 0)",
                using_metrics={"e": errors, "i": invocations},
                period=cdk.Duration.minutes(1),
            ),
            threshold=50,
            evaluation_periods=1,
        )
        dashboard = cloudwatch.Dashboard(self, "Dashboard", dashboard_name="sample")
        dashboard.add_widgets(cloudwatch.GraphWidget(left=[errors]))


def synthesize(folder: Path) -> Path:
    """Writes the assembly into `folder`; assets are used in place."""
    app = cdk.App(
        outdir=str(folder),
        context={"aws:cdk:disable-asset-staging": True, "@aws-cdk/aws-iam:minimizePolicies": True},
    )
    Work(app, Storage(app))
    return Path(app.synth().directory)
