"""Update an endpoint while requests keep coming, and count what became of them."""

import os
from collections import Counter
from threading import Event, Thread

import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import EndpointCoreConfigInput, ServedEntityInput

workspace = WorkspaceClient()
url = f"{os.environ['DATABRICKS_HOST']}/serving-endpoints/greeter/invocations"
headers = {"Authorization": f"Bearer {os.environ['DATABRICKS_TOKEN']}"}
answers = Counter()
updated = Event()


def entity(version: str) -> ServedEntityInput:
    return ServedEntityInput(entity_name="greeter", entity_version=version, workload_size="Small")


def ask() -> None:
    while not updated.is_set():
        answer = requests.post(url, headers=headers, json={"inputs": ["Ada"]}, timeout=60)
        answers[answer.json()["predictions"][0] if answer.ok else f"failed: {answer.status_code}"] += 1


config = EndpointCoreConfigInput(name="greeter", served_entities=[entity("1")])
workspace.serving_endpoints.create_and_wait("greeter", config=config)
client = Thread(target=ask)
client.start()
workspace.serving_endpoints.update_config_and_wait("greeter", served_entities=[entity("2")])
updated.set()
client.join()
answer = requests.post(url, headers=headers, json={"inputs": ["Ada"]}, timeout=60)
print(f"now: {answer.json()['predictions'][0]}")
print(f"failed: {sum(count for what, count in answers.items() if what.startswith('failed'))}")
print(f"answered by the old version meanwhile: {answers['Hello, Ada!'] > 0}")
workspace.serving_endpoints.delete("greeter")
