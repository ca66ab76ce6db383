"""Feedback to predictions, told after the fact."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from penstock.api.bodies import body_of_type, documented
from penstock.api.context import Caller, Context
from penstock.api.serving_endpoints import permitted
from penstock.domain.access import Level
from penstock.domain.catalog import feedback_table
from penstock.domain.errors import InvalidParameterValue
from penstock.wire.endpoint_settings import payload_of
from penstock.wire.feedback import AddFeedback, decode_feedback

router = APIRouter(prefix="/api/2.0/penstock", tags=["feedback"])


@router.post("/feedback", openapi_extra=documented(AddFeedback))
async def add_feedback(
    context: Context, caller: Caller, body: Annotated[AddFeedback, Depends(body_of_type(AddFeedback))]
) -> dict[str, Any]:
    """Tell what came of predictions of an endpoint. What is answered has been written."""
    endpoint = permitted(context, caller, body.endpoint, Level.CAN_QUERY)
    payload = payload_of(endpoint)
    if payload is None:
        raise InvalidParameterValue(
            f"endpoint: '{endpoint.name}' has no inference table, so that there is nothing to join feedback with; "
            "turn on its inference_table_config first."
        )
    items = decode_feedback(body)
    table = feedback_table(payload)
    await context.feedback.add(items, table, endpoint.name, caller)
    return {"table": str(table), "feedback_ids": [item.id for item in items]}
