"""The client of record, unchanged, against a served model: http and grpc, binary and JSON.

  triton.py ADDRESS VERSION

One input 'input' of FP32 [-1, 1, 28, 28], one output 'output' of FP32 [-1, 10].
"""
import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

address, version = sys.argv[1:]
name = "secret-name"
rng = np.random.default_rng(0)


def requests(module, batch, **how):
    tensor = module.InferInput("input", list(batch.shape), "FP32")
    tensor.set_data_from_numpy(batch, **how)
    return [tensor]


def refused(call, *args, **how):
    try:
        call(*args, **how)
    except InferenceServerException as error:
        return str(error)
    raise SystemExit(f"not refused: {args} {how}")


h = http.InferenceServerClient(address, concurrency=4)
g = grpc.InferenceServerClient(address)
for client in (h, g):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(name) and client.is_model_ready(name, version)
    assert client.get_server_metadata() and client.get_model_repository_index()
assert h.get_model_metadata(name)["inputs"][0]["shape"] == [-1, 1, 28, 28]
assert list(g.get_model_metadata(name).outputs[0].shape) == [-1, 10]
assert h.get_model_metadata(name)["versions"][-1] == version

for samples in (1, 5, 32):
    batch = rng.standard_normal((samples, 1, 28, 28), dtype=np.float32)
    answers = [
        h.infer(name, requests(http, batch, binary_data=binary_in), outputs=[http.InferRequestedOutput("output", binary_data=binary_out)])
        for binary_in in (True, False)
        for binary_out in (True, False)
    ]
    answers.append(h.infer(name, requests(http, batch), model_version=version, request_id="r", request_compression_algorithm="gzip", response_compression_algorithm="deflate"))
    answers.append(g.infer(name, requests(grpc, batch), outputs=[grpc.InferRequestedOutput("output")]))
    answers.append(g.infer(name, requests(grpc, batch), model_version=version, compression_algorithm="gzip"))
    arrays = [a.as_numpy("output") for a in answers]
    assert all(a.shape == (samples, 10) and a.dtype == np.float32 for a in arrays)
    assert all(np.array_equal(arrays[0], a) for a in arrays), "the ways do not agree"
    assert answers[4].get_response()["id"] == "r"

batch = rng.standard_normal((1, 1, 28, 28), dtype=np.float32)
expected = h.infer(name, requests(http, batch)).as_numpy("output")
waiting = [h.async_infer(name, requests(http, batch)) for _ in range(20)]
assert all(np.array_equal(w.get_result().as_numpy("output"), expected) for w in waiting)

wrong = rng.standard_normal((1, 28, 28), dtype=np.float32)
assert "[-1, 1, 28, 28]" in refused(h.infer, name, requests(http, wrong))
assert "[-1, 1, 28, 28]" in refused(g.infer, name, requests(grpc, wrong))
assert "secret-name" in refused(h.infer, "other", requests(http, batch))
assert "not finite" in refused(g.infer, name, requests(grpc, np.full_like(batch, np.nan)))
assert refused(h.infer, name, requests(http, batch), model_version="999")
print("triton: ok")
