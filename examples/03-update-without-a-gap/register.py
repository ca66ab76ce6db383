"""Register two versions of the greeter."""

from pathlib import Path

import mlflow

mlflow.set_experiment("examples")
for greeting, load_s in (("Hello", 0.0), ("Good day", 3.0)):
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("greeter.py")),
            model_config={"greeting": greeting, "load_s": load_s},
            registered_model_name="greeter",
            pip_requirements=["mlflow"],
        )
    print(f"registered greeter version {info.registered_model_version}")
