"""Goes on with another callflow of the account's, and does not come back."""

from kazoo_rec.callflow.flow import Flow


def run(flow: Flow, data):
    document = flow.directory.callflows(flow.account_id).get(data.get("id", ""))
    if document is None:
        flow.say(f"callflow: there is no {data.get('id', '')!r}")
        return "_"
    flow.say(f"callflow: {data['id']}")
    flow.document = document
    return document["flow"]
