"""What CloudFormation would do with two templates, decided without a cloud."""

from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from infra.local.change_sets import _REPLACED, Action, ChangeSet, UpdateRefusedError, change_set, change_sets

TABLE = {"KeySchema": ["pk"], "StreamSpecification": {"StreamViewType": "NEW_IMAGE"}}
ROLE = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}}


def table(policy: str = "Delete", **properties: Any) -> dict[str, Any]:
    made = {"Type": "AWS::DynamoDB::Table", "Properties": TABLE | properties}
    return made | {"DeletionPolicy": policy, "UpdateReplacePolicy": policy}


def function(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::Lambda::Function", "Properties": {"Code": {}, "Handler": "a.b"} | properties}


def template(outputs: dict[str, Any] | None = None, **resources: Any) -> dict[str, Any]:
    exported = {name: {"Value": value, "Export": {"Name": name}} for name, value in (outputs or {}).items()}
    return {"Resources": resources, "Outputs": exported}


def between(old: dict[str, Any], new: dict[str, Any], **others: Any) -> ChangeSet:
    return change_set("One", new, {"One": old, **others})


def lines(changes: ChangeSet) -> list[str]:
    return [str(change) for change in changes.changes]


def test_the_same_template_changes_nothing() -> None:
    same = template(T=table(), F=function(Environment={"Ref": "T"}))
    assert between(same, same).changes == ()


def test_metadata_and_policies_of_deletion_touch_no_resource() -> None:
    assert between(template(T=table()), template(T=table("Retain") | {"Metadata": {"a": 1}})).changes == ()


def test_a_property_changes_in_place_or_replaces_as_its_type_says() -> None:
    old = template(T=table(), F=function())
    new = template(T=table(KeySchema=["other"], BillingMode="PROVISIONED"), F=function(Handler="c.d"))
    assert lines(between(old, new)) == [
        "replace T (AWS::DynamoDB::Table): KeySchema; the old one is deleted",
        "modify  F (AWS::Lambda::Function): Handler",
    ]


def test_what_says_retain_stays_outside_the_stack() -> None:
    replaced = between(template(T=table("Retain")), template(T=table(KeySchema=["other"])))
    assert lines(replaced) == ["replace T (AWS::DynamoDB::Table): KeySchema; the old one is kept outside the stack"]
    removed = between(template(T=table("Retain"), R=ROLE), template(R=ROLE))
    assert lines(removed) == ["remove  T (AWS::DynamoDB::Table); it is kept outside the stack"]


@pytest.mark.parametrize(
    "reference",
    [
        {"Ref": "T"},
        {"Fn::GetAtt": ["T", "Arn"]},
        {"Fn::GetAtt": "T.Arn"},
        {"Fn::Sub": "a-${T}"},
        {"Fn::Sub": ["${T.Arn}/${x}", {"x": "y"}]},
        {"Fn::Sub": ["${x}", {"x": {"Ref": "T"}}]},
        {"Fn::Join": ["", ["a", {"Ref": "T"}]]},
    ],
)
def test_what_refers_to_a_replaced_resource_changes_with_it(reference: Any) -> None:
    user = function(Environment={"Variables": {"TABLE": reference}})
    changes = between(template(T=table(), F=user), template(F=user, T=table(KeySchema=["other"])))
    assert [(change.action, change.logical_id) for change in changes.changes] == [
        (Action.REPLACE, "T"),
        (Action.MODIFY, "F"),
    ]


def test_replacements_go_on_through_properties_that_replace() -> None:
    mapping = {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {"EventSourceArn": {"Fn::GetAtt": ["T", "StreamArn"]}},
    }
    old = template(M=mapping, T=table(), F=function(Environment={"Fn::GetAtt": ["T", "Arn"]}))
    new = template(M=mapping, T=table(StreamSpecification={"StreamViewType": "KEYS_ONLY"}), F=old["Resources"]["F"])
    assert lines(between(old, new)) == [  # the stream has another ARN, the table has not
        "modify  T (AWS::DynamoDB::Table): StreamSpecification",
        "replace M (AWS::Lambda::EventSourceMapping): EventSourceArn; the old one is deleted",
    ]


def test_creations_come_after_what_they_need_and_removals_last_and_backwards() -> None:
    old = template(T=table(), F=function(Environment={"Ref": "T"}))
    new = template(G=function(Role={"Ref": "R"}) | {"DependsOn": ["S"]}, R=ROLE, S=ROLE)
    made = between(old, new).changes
    assert [change.logical_id for change in made] == ["S", "R", "G", "F", "T"]
    assert [change.action for change in made] == [Action.ADD] * 3 + [Action.REMOVE] * 2


def test_a_new_stack_is_only_created() -> None:
    assert lines(change_set("New", template(R=ROLE), {})) == ["add     R (AWS::IAM::Role)"]


def test_a_change_set_reads_as_text() -> None:
    assert str(between(template(), template(R=ROLE))) == "One: 1 change\n  add     R (AWS::IAM::Role)"


# --- refusals ---------------------------------------------------------------------------------------------------------

NEEDS_ANOTHER_NAME = (
    "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename named and update the "
    "stack again."
)
OF_ANOTHER_TYPE = (
    "Update of resource type is not permitted. The new template modifies resource type of the following resources: "
    r"\[T\]"
)
IMPORTS = template(F=function(Environment={"Fn::ImportValue": "table"}))


@pytest.mark.parametrize(
    ("new", "refusal"),
    [
        (template(T=table()), "Cannot delete export table as it is in use by Two."),
        (template({"table": "other"}, T=table()), "Cannot update export table as it is in use by Two."),
        (
            template({"table": {"Ref": "T"}}, T=table(KeySchema=["other"])),
            "Cannot update export table as it is in use by Two.",
        ),
    ],
)
def test_an_export_in_use_stays_as_it_is(new: dict[str, Any], refusal: str) -> None:
    old = template({"table": {"Ref": "T"}}, T=table())
    with pytest.raises(UpdateRefusedError, match=f"^stack One: {refusal}$"):
        between(old, new, Two=IMPORTS)
    between(old, new)  # nobody imports it


def test_an_export_is_in_use_until_its_importer_is_updated() -> None:
    """CDK deploys the exporting stack first: leaving an export takes two deployments."""
    deployed = {"One": template({"table": {"Ref": "T"}}, T=table()), "Two": IMPORTS}
    both = {"One": template(T=table()), "Two": template(F=function())}
    with pytest.raises(UpdateRefusedError, match="Cannot delete export table"):
        change_sets(both, deployed)
    change_sets(dict(reversed(both.items())), deployed)


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        (
            template(T=table(TableName="named")),
            template(T=table(TableName="named", KeySchema=["other"])),
            NEEDS_ANOTHER_NAME,
        ),
        (
            template(T=table(TableName="named")),
            template(Renamed=table(TableName="named")),
            "named already exists in stack One",
        ),
        (
            template(T=table()),
            template(T=ROLE),
            OF_ANOTHER_TYPE,
        ),
        (
            template(T=table(GlobalSecondaryIndexes=[{"IndexName": "a"}])),
            template(T=table(GlobalSecondaryIndexes=[{"IndexName": "b"}])),
            "Cannot perform more than one GSI creation or deletion in a single update",
        ),
    ],
)
def test_what_cloudformation_does_not_do_is_refused_in_its_words(
    old: dict[str, Any], new: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(UpdateRefusedError, match=f"^stack One: {refusal}$"):
        between(old, new)


def test_a_named_resource_is_replaced_under_another_name() -> None:
    changes = between(template(T=table(TableName="a")), template(T=table(TableName="b")))
    assert lines(changes) == ["replace T (AWS::DynamoDB::Table): TableName; the old one is deleted"]


def test_an_unknown_type_is_not_guessed() -> None:
    fish = {"Type": "AWS::GameLift::Fleet", "Properties": {"Name": "a"}}
    with pytest.raises(LookupError, match="AWS::GameLift::Fleet"):
        between(template(F=fish), template(F=fish | {"Properties": {"Name": "b"}}))


@pytest.mark.parametrize("kind", sorted(set(_REPLACED) - {"AWS::CDK::Metadata"}))
def test_what_replaces_is_what_the_registrys_schemas_say(kind: str) -> None:
    """But for parts of destinations and sources that no template here has."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    fixed = [*schema.get("createOnlyProperties", []), *schema.get("conditionalCreateOnlyProperties", [])]
    paths = {path.removeprefix("/properties/") for path in fixed if "VpcConfiguration" not in path}
    name, *others = _REPLACED[kind].split()
    assert {name, *others} - {"-"} == {each for each in paths if "CatalogConfiguration" not in each}
    assert name == "-" or name in schema["properties"]
