"""Serve both aliases 80 to 20, then give the challenger everything."""

import os
import time
from collections import Counter

import requests
from mlflow.deployments import get_deploy_client
from sklearn.datasets import load_wine

ROW = load_wine(as_frame=True).data.head(1).to_dict(orient="records")
HOST, TOKEN = os.environ["DATABRICKS_HOST"], os.environ["DATABRICKS_TOKEN"]


def config(champion: int, challenger: int) -> dict:
    shares = {"champion": champion, "challenger": challenger}
    return {
        "served_entities": [{"name": a, "entity_name": "wine", "entity_version": f"@{a}"} for a in shares],
        "traffic_config": {
            "routes": [{"served_entity_name": a, "traffic_percentage": share} for a, share in shares.items()]
        },
    }


def wait(client) -> None:
    while (state := client.get_endpoint("wine")["state"])["config_update"] == "IN_PROGRESS":
        time.sleep(0.2)
    assert state["ready"] == "READY", state


def count(requests_to_send: int) -> dict[str, int]:
    served = Counter()
    for _ in range(requests_to_send):
        answer = requests.post(
            f"{HOST}/serving-endpoints/wine/invocations",
            headers={"Authorization": f"Bearer {TOKEN}"},
            json={"dataframe_records": ROW},
            timeout=60,
        )
        answer.raise_for_status()
        served[answer.headers["served-model-name"]] += 1
    return dict(sorted(served.items()))


client = get_deploy_client("databricks")
client.create_endpoint(name="wine", config={"name": "wine", "config": config(80, 20)})
wait(client)
print(f"80/20: {count(100)}")
client.update_endpoint_config("wine", config=config(0, 100))
wait(client)
print(f"0/100: {count(20)}")
client.delete_endpoint("wine")
