"""The kubeconfig that `litefleet up` leaves for the person who started it. Pure; the caller writes the file."""

import base64

import yaml

CONTEXT = "litefleet"


def kubeconfig(server: str, ca_pem: str, user: str, token: str, namespace: str = "default") -> str:
    """A kubeconfig for kubectl and litefleet. `server` is the URL, the CA pins its certificate."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": CONTEXT,
            "contexts": [
                {"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user, "namespace": namespace}},
            ],
            "clusters": [
                {
                    "name": CONTEXT,
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": base64.b64encode(ca_pem.encode()).decode(),
                    },
                }
            ],
            "users": [{"name": user, "user": {"token": token}}],
        },
        sort_keys=False,
    )


def token_in(text: str) -> str:
    """The token of a kubeconfig that `kubeconfig` made; empty when it is another file, or damaged."""
    try:
        users = yaml.safe_load(text)["users"]
        token = users[0]["user"]["token"]
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        return ""
    return token if isinstance(token, str) else ""
