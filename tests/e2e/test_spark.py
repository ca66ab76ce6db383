"""Spark, local and real, with the registry and the endpoints of a running stack. One session for all."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import penstock.sql
from support.stack import Stack, registry_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*transition_model_version_stage:FutureWarning", "ignore:PySpark does not yet fully support pandas"
)
SALES = pd.DataFrame({"feature1": [1, 2, 3, 10], "feature2": [2, 1, 4, 20]})
PREDICTIONS = pytest.approx([3, 3, 7, 30])


@pytest.fixture(scope="module")
def sales_model(stack: Stack) -> Iterator[str]:
    """The tutorials' model, in stage Production and with an alias; MLflow points at the stack."""
    with registry_of(stack):
        mlflow.set_experiment("tutorial")
        with mlflow.start_run():
            fitted = LinearRegression().fit(SALES, SALES.sum(axis=1))
            mlflow.sklearn.log_model(
                fitted,
                artifact_path="model",
                registered_model_name="spark_sales_model",
                pip_requirements=["scikit-learn"],
            )
        client = mlflow.MlflowClient()
        client.transition_model_version_stage("spark_sales_model", "1", "Production")
        client.set_registered_model_alias("spark_sales_model", "champion", "1")
        yield "spark_sales_model"


@pytest.mark.parametrize("chosen", ["/Production", "@champion"])
def test_p6_1_the_tutorials_pandas_snippet(sales_model: str, chosen: str, tmp_path: Path) -> None:
    """Line by line as it is printed, but for the names of the model and of the file."""
    SALES.to_csv(tmp_path / "sales.csv", index=False)

    model_uri = f"models:/{sales_model}{chosen}"
    model = mlflow.pyfunc.load_model(model_uri)

    df = pd.read_csv(tmp_path / "sales.csv")
    predictions = model.predict(df)

    df["prediction"] = predictions
    assert df["prediction"].tolist() == PREDICTIONS


@pytest.mark.parametrize("chosen", ["/Production", "@champion"])
def test_p6_4_the_tutorials_spark_snippet_on_parquet(
    spark: "SparkSession", sales_model: str, chosen: str, tmp_path: Path
) -> None:
    from pyspark.sql.functions import struct

    SALES.to_parquet(tmp_path / "incoming_sales.parquet")

    model_uri = f"models:/{sales_model}{chosen}"
    model = mlflow.pyfunc.spark_udf(spark, model_uri)

    df = spark.read.parquet(str(tmp_path / "incoming_sales.parquet"))
    scored = df.withColumn(
        "prediction",
        model(struct(*df.columns)),
    )

    scored.write.parquet(str(tmp_path / "scored"))
    written = pd.read_parquet(tmp_path / "scored").sort_values("feature1")
    assert list(written.columns) == ["feature1", "feature2", "prediction"]
    assert written["prediction"].tolist() == PREDICTIONS


@pytest.mark.usefixtures("databricks_environment")
def test_p6_6_ai_query_in_spark(spark: "SparkSession", live: str) -> None:
    """In SQL and on DataFrames; a row that fails has its reason, and fails the job where that is wanted."""
    from pyspark.errors import PythonException
    from pyspark.sql.functions import lit, struct

    penstock.sql.register(spark, batch_rows=50)
    rows = spark.range(0, 200, 1, 1).selectExpr(
        "id", "id + 0.5D AS x", "id AS n", "CASE WHEN id = 150 THEN 'mlflow-raise' ELSE concat('row ', id) END AS s"
    )
    rows.createOrReplaceTempView("asked")
    asked = f"try_ai_query('{live}', named_struct('x', x, 'n', n, 's', s))"
    found = spark.sql(
        f"SELECT id, a.result AS result, a.errorMessage AS error FROM (SELECT id, {asked} AS a FROM asked) ORDER BY id"
    ).collect()
    bad = found.pop(150)
    assert bad.result is None
    assert "the model refuses this" in bad.error
    assert all(f'"s":"row {row.id}"' in row.result and row.error is None for row in found)

    typed = penstock.sql.ai_query(
        live,
        struct("x", "n", "s"),
        return_type="struct<n bigint, temp double>",
        model_parameters=struct(lit(2.5).alias("temp")),
    )
    good = rows.where("id < 3").select(typed.alias("answer")).collect()
    assert [(row.answer.n, row.answer.temp) for row in good] == [(0, 2.5), (1, 2.5), (2, 2.5)]
    with pytest.raises(PythonException, match=rf"ai_query\('{live}'\): row 1 of 1, "):
        rows.where("id = 150").select(penstock.sql.ai_query(live, struct("x", "n", "s"))).collect()
    nothing: Any = spark.sql(f"SELECT ai_query('{live}', NULL) AS answer").first()
    assert nothing.answer is None
