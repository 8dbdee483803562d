"""Change the target as another program would: one vector gets other values, one KV key is deleted.

The address, the account, the token and the namespace come from the variables that q2v reads.
"""

import json
import os
import urllib.parse
import urllib.request

VECTOR_INDEX = "handbook"
VECTOR_ID = "class_3"
KV_KEY = "file:import"
DIMENSIONS = 64


def main() -> None:
    """Write once to the vector index and once to the KV namespace."""
    values = [1.0] + [0.0] * (DIMENSIONS - 1)
    line = json.dumps({"id": VECTOR_ID, "values": values, "metadata": {"file_id": "class"}})
    ask("POST", f"vectorize/v2/indexes/{VECTOR_INDEX}/upsert", line.encode())
    print(f"changed vector {VECTOR_ID}")
    namespace = os.environ["Q2V_KV_NAMESPACE_ID"]
    key = urllib.parse.quote(KV_KEY, safe="")
    ask("DELETE", f"storage/kv/namespaces/{namespace}/values/{key}")
    print(f"deleted KV key {KV_KEY}")


def ask(method: str, path: str, body: bytes | None = None) -> None:
    """Send one request of the API; raise an HTTPError if it is refused."""
    base_url, account_id = (
        os.environ["CLOUDFLARE_API_BASE_URL"],
        os.environ["CLOUDFLARE_ACCOUNT_ID"],
    )
    request = urllib.request.Request(
        f"{base_url}/accounts/{account_id}/{path}",
        data=body,
        method=method,
        headers={
            "Authorization": f"Bearer {os.environ['CLOUDFLARE_API_TOKEN']}",
            "Content-Type": "application/x-ndjson",
        },
    )
    with urllib.request.urlopen(request) as answer:
        answer.read()


if __name__ == "__main__":
    main()
