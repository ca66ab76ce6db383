"""What every request body has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class In(BaseModel):
    """Unknown fields are ignored; a number is not taken for a string, nor a string for a number."""

    model_config = ConfigDict(extra="ignore", strict=True)

    def document(self) -> dict[str, Any]:
        """The fields that were given, as JSON."""
        return self.model_dump(mode="json", exclude_none=True)
