"""The floor: what the framework itself costs when the function only returns the body that it got."""

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response


@functions_framework.aio.http
async def predict(request: Request) -> Response:
    """Answer with the request's own body."""
    return Response(await request.body(), media_type="application/json")
