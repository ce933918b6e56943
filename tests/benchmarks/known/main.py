"""A contender whose numbers are known: it waits as long as its prediction records say that it predicted."""

import asyncio
import json

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

PREDICT_MS = 4.0


@functions_framework.aio.http
async def predict(request: Request) -> Response:
    """Answer after PREDICT_MS, or with status 500 where the body asks for it, as a broken model would."""
    if b"break" in await request.body():
        return JSONResponse({"error": "the model is broken"}, status_code=500)
    await asyncio.sleep(PREDICT_MS / 1000)
    print(json.dumps({"message": "a line without predict_ms is no prediction record"}))
    print(json.dumps({"predict_ms": PREDICT_MS}), flush=True)
    return JSONResponse({"predictions": [1]})
