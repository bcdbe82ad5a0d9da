"""The schemas of documents, for whoever writes a form for them."""

from importlib.resources import files

import orjson

from kazoo_rec.api.envelope import not_found, succeed

_NAMES = sorted(file.name.removesuffix(".json") for file in files("kazoo_rec.schemas").iterdir()
                if file.name.endswith(".json") and file.name != "config.json")


class Schemas:
    """Their names."""

    def on_get(self, request, response):
        succeed(request, response, _NAMES)


class Schema:
    """One of them."""

    def on_get(self, request, response, schema):
        if schema not in _NAMES:
            raise not_found(schema)
        succeed(request, response, orjson.loads((files("kazoo_rec.schemas") / f"{schema}.json").read_bytes()))
