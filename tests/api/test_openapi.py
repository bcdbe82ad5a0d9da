"""The description and what is described are one."""

from jsonschema import Draft202012Validator

from tests.api.test_access import METHODS, routes


def test_every_route_and_method_is_described_and_no_other(app, client):
    described = client()("GET", "/v2/openapi.json").json["paths"]
    said = {(path, method.upper()) for path, item in described.items() for method in item if method != "parameters"}
    served = {(template, method) for template, methods in routes(app) for method in methods}
    assert {one for one in said if one[1] in METHODS} == served


def test_its_schemas_are_schemas_and_every_reference_leads_somewhere(client):
    document = client()("GET", "/v2/openapi.json").json
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)

    def references(value):
        if isinstance(value, dict):
            yield from [value["$ref"]] if "$ref" in value else []
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    found = set(references(document))
    assert found
    for reference in found:
        at = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[int(step) if isinstance(at, list) else step]
