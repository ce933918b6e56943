"""A raw ASGI callable around onnxruntime: what is left of a server without a framework, checks and records."""

import os
from typing import Any

import numpy as np
import onnxruntime
import orjson
import uvicorn

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL_FILE"], options, providers=["CPUExecutionProvider"])
kinds = {one.name: np.float32 if one.type == "tensor(float)" else object for one in session.get_inputs()}


def feed(instances: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return the session's inputs; a missing number is NaN."""
    if list(kinds) == ["numbers"]:
        return {"numbers": np.array([list(instance.values()) for instance in instances], np.float32)}
    return {
        name: np.array([[instance[name]] for instance in instances], kind)  # None becomes NaN among numbers
        for name, kind in kinds.items()
    }


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer every instance with its label and its probabilities."""
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    labels, chances = session.run(None, feed(orjson.loads(body)["instances"]))
    content = orjson.dumps({"predictions": labels.tolist(), "probabilities": chances.tolist()})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), lifespan="off", access_log=False, log_level="error")
